"""Coefficients of agreement against nltk's, and against the definitions written out pair by pair."""

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from tuneloop.evaluate.alpha import Scale, build_alpha
from tuneloop.evaluate.kappa import cohen_kappa, fleiss_kappa, quadratic_weights
from tuneloop.evaluate.ratings import CodedRatings

RATERS, ITEMS = 4, 25


def random_ratings(seed: int, *, missing: float) -> CodedRatings:
    """Ratings that agree in part; some items keep one rating or none."""
    rng = np.random.default_rng(seed)
    numbers_V = np.array([1.0, 2.0, 3.5, 4.0, 7.0])
    truth_U = rng.integers(0, 5, size=ITEMS)
    codes_RU = np.where(rng.random((RATERS, ITEMS)) < 0.6, truth_U, rng.integers(0, 5, size=(RATERS, ITEMS)))
    codes_RU[rng.random((RATERS, ITEMS)) < missing] = -1
    names = tuple("ABCD")
    return CodedRatings(names, codes_RU, tuple(f"{number:g}" for number in numbers_V), numbers_V)


def triples(ratings: CodedRatings) -> list[tuple[str, int, float]]:
    return [
        (ratings.raters[rater], item, float(ratings.numbers_V[code]))
        for (rater, item), code in np.ndenumerate(ratings.codes_RU)
        if code >= 0
    ]


def distance_of(ratings: CodedRatings, scale: Scale) -> Callable[[float, float], float]:
    """As Krippendorff writes it: an ordinal distance is a sum of counts between two ranks."""
    per_item = Counter(item for _, item, _ in triples(ratings))
    counts = Counter(value for _, item, value in triples(ratings) if per_item[item] > 1)

    def ordinal(a: float, b: float) -> float:
        low, high = sorted([a, b])
        between = sum(count for value, count in counts.items() if low <= value <= high)
        return (between - (counts[a] + counts[b]) / 2) ** 2

    return {"nominal": lambda a, b: float(a != b), "ordinal": ordinal, "interval": lambda a, b: (a - b) ** 2}[scale]


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
def test_alpha_is_nltks(scale: Scale, missing: float) -> None:
    agreement = pytest.importorskip("nltk.metrics.agreement")
    for seed in range(5):
        ratings = random_ratings(seed, missing=missing)
        task = agreement.AnnotationTask(triples(ratings), distance=distance_of(ratings, scale))
        assert build_alpha(ratings, scale).value == pytest.approx(task.alpha(), abs=1e-12)


@pytest.mark.parametrize("missing", [0.0, 0.5])
@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
def test_alpha_is_its_definition(scale: Scale, missing: float) -> None:
    """Every pair of ratings, one by one."""
    for seed in range(5):
        ratings = random_ratings(100 + seed, missing=missing)
        distance = distance_of(ratings, scale)
        by_item = [[value for _, at, value in triples(ratings) if at == item] for item in range(ITEMS)]
        by_item = [values for values in by_item if len(values) > 1]
        pooled = [value for values in by_item for value in values]
        observed = sum(
            sum(distance(a, b) for a, b in itertools.permutations(values, 2)) / (len(values) - 1) for values in by_item
        ) / len(pooled)
        expected = sum(distance(a, b) for a, b in itertools.permutations(pooled, 2))
        expected /= len(pooled) * (len(pooled) - 1)
        assert build_alpha(ratings, scale).value == pytest.approx(1 - observed / expected, abs=1e-12)


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
def test_a_resample_of_sums_is_a_resample_of_items(scale: Scale) -> None:
    ratings = random_ratings(7, missing=0.3).pairable()
    measure = build_alpha(ratings, scale)
    drawn = np.random.default_rng(0).integers(0, ratings.codes_RU.shape[1], size=30)
    again = CodedRatings(ratings.raters, ratings.codes_RU[:, drawn], ratings.labels, ratings.numbers_V)
    assert measure.value_of(measure.statistics_NK[drawn].sum(axis=0)) == pytest.approx(build_alpha(again, scale).value)


def test_kappa_of_two_raters_is_nltks() -> None:
    agreement = pytest.importorskip("nltk.metrics.agreement")
    for seed in range(10):
        ratings = random_ratings(seed, missing=0.0)
        first, second = ratings.codes_RU[:2]
        pair = [triple for triple in triples(ratings) if triple[0] in "AB"]
        assert cohen_kappa(first, second, 1 - np.eye(5)) == pytest.approx(agreement.AnnotationTask(pair).kappa())
        # Distances of 1 at most: nltk divides one of its two sums by `max_distance` and not the other.
        task = agreement.AnnotationTask(pair, distance=lambda a, b: (a - b) ** 2 / 36)
        assert cohen_kappa(first, second, quadratic_weights(ratings.numbers_V)) == pytest.approx(task.weighted_kappa())


def test_fleiss_kappa_is_nltks_multi_pi() -> None:
    """Fleiss' kappa is Scott's pi of many raters (Artstein and Poesio 2008)."""
    agreement = pytest.importorskip("nltk.metrics.agreement")
    for seed in range(5):
        ratings = random_ratings(seed, missing=0.0)
        assert fleiss_kappa(ratings.counts()) == pytest.approx(agreement.AnnotationTask(triples(ratings)).pi())
