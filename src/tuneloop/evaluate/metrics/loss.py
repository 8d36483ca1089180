"""The held-out loss as a metric, so that it has an interval and a comparison like every other."""

import math
from collections.abc import Sequence

import numpy as np

from tuneloop.evaluate.metrics.metric import mean
from tuneloop.evaluate.records import Sample

_MOST_NATS = 700.0
"""e to more is no float any longer."""


class TokenLoss:
    """Mean negative log-likelihood of the references' tokens, in nats.

        loss = sum over samples of (nll of all its target tokens) / number of target tokens

    The one metric that comes from the model and not from texts.
    """

    name = "loss"
    higher_is_better = False
    is_proportion = False

    def signature(self) -> str:
        """What is computed."""
        return "mean:token|unit:nats|on:targets"

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """Not defined: texts alone have no loss. See `of_sample`."""
        del prediction, references
        raise AssertionError("the loss is measured by the model, not from texts")

    def of_sample(self, sample: Sample) -> np.ndarray:
        """[nll in nats, target tokens]."""
        return np.array([sample.loss * sample.target_tokens, float(sample.target_tokens)])

    def combine(self, totals_K: np.ndarray) -> float:
        """Nats a token."""
        return mean(totals_K)

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """Nats a token of one sample."""
        return mean(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """`perplexity`: e to the loss."""
        return {"perplexity": math.exp(min(mean(totals_K), _MOST_NATS))}
