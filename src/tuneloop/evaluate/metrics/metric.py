"""What every metric can do, so that one bootstrap, one comparison and one report serve them all."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

# Shapes: N samples, K statistics of a metric.


class Metric(Protocol):
    """A number about answers that is a function of sums over samples.

        value of a set = combine(sum over its samples of statistics(sample))

    A mean has the statistics [score, 1]. BLEU has its n-gram counts: the BLEU of a set is not the mean of its
    sentences' BLEUs, but a function of their summed counts. A resample of the set is then a weighted sum of
    rows, and needs no text.
    """

    @property
    def name(self) -> str:
        """As a recipe writes it."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Which way is good."""
        ...

    @property
    def is_proportion(self) -> bool:
        """Whether a sample scores 0 or 1 and nothing between: the interval is then Wilson's."""
        ...

    def signature(self) -> str:
        """What exactly is computed: settings, tokeniser, library and its version, as `key:value|key:value`."""
        ...

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """The additive statistics of one sample, float64 of shape [K].

        `references` holds at least one text; any of them is a right answer.
        """
        ...

    def combine(self, totals_K: np.ndarray) -> float:
        """The value of a set, from statistics that were summed over its samples (one sample at least)."""
        ...

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """The value of one sample alone, to be shown beside it; in the unit of `combine`."""
        ...

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """What the value of a set is made of, or what stands beside it, by name; empty where there is nothing."""
        ...


def mean_statistics(score: float) -> np.ndarray:
    """The statistics of a metric that is a mean over samples, shape [2]: [score, 1]."""
    return np.array([score, 1.0])


def mean(totals_K: np.ndarray) -> float:
    """The mean that belongs to summed `mean_statistics`: sum of scores / number of samples."""
    return float(totals_K[0] / totals_K[1])
