"""Perplexity as a metric, from what a model says of texts."""

import math
from collections.abc import Sequence

import numpy as np

from tuneloop.evaluate.metrics.metric import mean

_MOST_NATS = 700.0
"""e to more is no float any longer."""


class Perplexity:
    """e to the mean negative log-likelihood of a token; lower is better.

        perplexity = exp(sum of nll over all tokens / number of tokens)

    The first token of a text has nothing before it and is not counted, unless the model's tokenizer puts a token in
    front. Perplexities compare only between models of one tokenizer.

    By hand: a model that gives each of V tokens the same chance has perplexity V.
    """

    name = "perplexity"
    higher_is_better = False
    is_proportion = False

    def __init__(self, tokenizer_sha256: str) -> None:
        self._tokenizer = tokenizer_sha256[:12]

    def signature(self) -> str:
        """What is counted, under which tokenizer."""
        return f"mean:token|unit:exp-nats|template:none|tokenizer:{self._tokenizer}"

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """Not defined: texts alone have no perplexity. The statistics [nll, tokens] come from a model."""
        del prediction, references
        raise AssertionError("perplexity is measured by a model, not from texts")

    def combine(self, totals_K: np.ndarray) -> float:
        """From [nll in nats, tokens]."""
        return math.exp(min(mean(totals_K), _MOST_NATS))

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """Of one text."""
        return self.combine(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """`nats_per_token`, `tokens`."""
        return {"nats_per_token": mean(totals_K), "tokens": float(totals_K[1])}
