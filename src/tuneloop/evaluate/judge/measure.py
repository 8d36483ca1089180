"""A judge's verdicts as a metric, so that they get the intervals that every other score has."""

from collections.abc import Sequence

import numpy as np

import tuneloop
from tuneloop.evaluate.metrics.metric import mean, mean_statistics
from tuneloop.evaluate.records import Score
from tuneloop.evaluate.stats import score_set


class VerdictMean:
    """The mean of numbers that a judge gave; a prediction is such a number, written out.

    By hand: a win, a tie and two losses are 1, 0.5, 0, 0, so 0.375.
    """

    def __init__(self, name: str, details: str, *, is_proportion: bool, higher_is_better: bool = True) -> None:
        self.name = name
        self.higher_is_better = higher_is_better
        self.is_proportion = is_proportion
        self._details = details

    def signature(self) -> str:
        """Judge, instructions, version."""
        return f"{self._details}|version:tuneloop-{tuneloop.__version__}"

    def statistics(self, prediction: str, references: Sequence[str] = ()) -> np.ndarray:  # noqa: ARG002 - as every metric
        """[the number; 1]."""
        return mean_statistics(float(prediction))

    def combine(self, totals_K: np.ndarray) -> float:
        """The mean."""
        return mean(totals_K)

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """The number."""
        return mean(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:  # noqa: ARG002 - as every metric
        """None."""
        return {}


def score_verdicts(metric: VerdictMean, values: Sequence[float], *, seed: int, resamples: int) -> Score:
    """The mean with its interval over rows (one row at least)."""
    statistics_NK = np.array([metric.statistics(repr(value)) for value in values])
    return score_set(metric, statistics_NK, seed=seed, resamples=resamples)
