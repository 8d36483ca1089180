"""Exact match: the share of answers that are the reference, letter by letter."""

import unicodedata
from collections.abc import Sequence

import numpy as np

import tuneloop
from tuneloop.evaluate.metrics.metric import mean, mean_statistics


class ExactMatch:
    """Share of answers equal to one of their references, 0 to 1.

    Equal means: the same characters after white space at both ends is taken away and both are in Unicode's
    composed form (NFC). Case, punctuation and inner white space count.

    By hand: " 答案 " is "答案"; "Paris." is not "Paris"; "e" + combining acute is "é".
    """

    name = "exact_match"
    higher_is_better = True
    is_proportion = True

    def signature(self) -> str:
        """Normalisation, treatment of references, version."""
        return f"norm:strip+NFC|case:mixed|refs:any|version:tuneloop-{tuneloop.__version__}"

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """[1 if right, else 0; 1]."""
        answer = _normalise(prediction)
        return mean_statistics(float(any(answer == _normalise(reference) for reference in references)))

    def combine(self, totals_K: np.ndarray) -> float:
        """The share of right answers."""
        return mean(totals_K)

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """1 or 0."""
        return mean(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:  # noqa: ARG002 - the interface
        """There are none."""
        return {}


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())
