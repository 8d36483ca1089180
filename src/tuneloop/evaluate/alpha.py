"""Krippendorff's alpha: agreement beyond chance of any number of raters, with gaps, on three kinds of scales."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from tuneloop.core.errors import DataError
from tuneloop.evaluate.ratings import CodedRatings

# Shapes: N items with two ratings or more, V different values, K statistics of an item.

Scale = Literal["nominal", "ordinal", "interval"]

_MOST_LABELS = 1000
_MOST_RANKS = 50
"""The statistics of an item are one number a label, and one a pair of ranks."""

_ROUNDING = 1e-12
"""Expected disagreement this small, on a scale from 0 to 1, is none."""


@dataclass(frozen=True)
class Alpha:
    """Alpha as a function of sums over items.

        alpha = 1 - Do / De
        Do = 1/n * sum over items of (sum over ordered pairs of its ratings of d(a, b)) / (its ratings - 1)
        De = 1/(n (n - 1)) * sum over ordered pairs of all ratings of d(a, b)

        nominal   d = 1 if a and b differ, else 0
        interval  d = (a - b)²
        ordinal   d = (rank of a - rank of b)², ranks among all n ratings, ties at their middle

    n counts the ratings of items that have two or more; others cannot disagree and are left out. Alpha is 1 where
    all agree, 0 where they agree as if by chance, negative where they disagree more than that. Where all n ratings
    are equal it is 0/0: `value_of` then gives 1, as for a resample that happens to hold one value only.

    Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability". His sum of counts between two ranks
    less half of both ends is the difference of their middle ranks. By hand: his 4 raters of 12 items have 0.743
    (nominal), 0.815 (ordinal) and 0.849 (interval).
    """

    statistics_NK: np.ndarray
    """One row an item with two ratings or more."""
    value_of: Callable[[np.ndarray], float]
    """Alpha of statistics that were summed over items."""

    @property
    def value(self) -> float:
        """Alpha of all items."""
        return self.value_of(self.statistics_NK.sum(axis=0))


def build_alpha(ratings: CodedRatings, scale: Scale) -> Alpha:
    """The statistics of each item, and how their sums make alpha.

    Raises:
        DataError: more different values than the scale can have.
    """
    match scale:
        case "nominal":
            _check_size(ratings, _MOST_LABELS, "labels on a nominal scale; for numbers the scale is interval")
            counts_NV = ratings.pairable().counts().astype(np.float64)
            size_N = counts_NV.sum(axis=1)
            equal_N = (counts_NV * (counts_NV - 1)).sum(axis=1) / (size_N - 1)
            return Alpha(np.column_stack([equal_N, counts_NV]), _nominal)
        case "ordinal":
            _check_size(ratings, _MOST_RANKS, "ranks on an ordinal scale; for measurements the scale is interval")
            counts_NV = ratings.pairable().counts().astype(np.float64)
            pairs_NVV = counts_NV[:, :, None] * (counts_NV[:, None] - np.eye(len(ratings.labels)))
            pairs_NVV = pairs_NVV / (counts_NV.sum(axis=1) - 1)[:, None, None]
            return Alpha(pairs_NVV.reshape(len(counts_NV), -1), _ordinal)
        case "interval":
            return Alpha(_interval_statistics(ratings), _interval)
        case unreachable:
            assert_never(unreachable)


def _check_size(ratings: CodedRatings, most: int, of_what: str) -> None:
    if len(ratings.labels) > most:
        raise DataError(f"The ratings have {len(ratings.labels)} different values. At most {most} are {of_what}.")


def _nominal(totals_K: np.ndarray) -> float:
    """From [equal pairs, count of each label]."""
    counts_V = totals_K[1:]
    n = counts_V.sum()
    expected = 1 - (counts_V * (counts_V - 1)).sum() / (n * (n - 1))
    return _one_minus(1 - totals_K[0] / n, expected)


def _ordinal(totals_K: np.ndarray) -> float:
    """From the coincidences of each pair of ranks; their row sums are the counts."""
    size = round(len(totals_K) ** 0.5)
    pairs_VV = totals_K.reshape(size, size)
    counts_V = pairs_VV.sum(axis=1)
    n = counts_V.sum()
    # Divided by n, so that no rank is beyond 1 and rounding has one size.
    ranks_V = (np.cumsum(counts_V) - counts_V / 2) / n
    distance_VV = (ranks_V[:, None] - ranks_V) ** 2
    expected = (counts_V[:, None] * counts_V * distance_VV).sum() / (n * (n - 1))
    return _one_minus((pairs_VV * distance_VV).sum() / n, expected)


def _interval_statistics(ratings: CodedRatings) -> np.ndarray:
    """[ratings, their sum, sum of squares, squared differences of its pairs / (ratings - 1)], in units of the range."""
    codes_RN = ratings.pairable().codes_RU
    present_RN = codes_RN >= 0
    size_N = present_RN.sum(axis=0)
    numbers_RN = np.where(present_RN, _scaled(ratings.numbers_V)[codes_RN], 0.0)
    centred_RN = np.where(present_RN, numbers_RN - numbers_RN.sum(axis=0) / size_N, 0.0)
    apart_N = 2 * size_N * (centred_RN**2).sum(axis=0) / (size_N - 1)
    return np.column_stack([size_N, numbers_RN.sum(axis=0), (numbers_RN**2).sum(axis=0), apart_N])


def _scaled(numbers_V: np.ndarray) -> np.ndarray:
    """From 0 to 1: alpha does not depend on unit and origin, rounding does."""
    if len(numbers_V) < 2:  # noqa: PLR2004 - one value has no range
        return np.zeros_like(numbers_V)
    largest = np.abs(numbers_V).max()
    units_V = numbers_V / largest
    return (units_V - units_V[0]) / (units_V[-1] - units_V[0])


def _interval(totals_K: np.ndarray) -> float:
    n, total, squares, apart = totals_K
    return _one_minus(apart / n, 2 * (n * squares - total**2) / (n * (n - 1)))


def _one_minus(observed: float, expected: float) -> float:
    return float(1 - observed / expected) if expected > _ROUNDING else 1.0
