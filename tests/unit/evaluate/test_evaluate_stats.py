"""Intervals: against formulas, against known corners, and against what a resample really is."""

from collections.abc import Sequence

import numpy as np
import pytest

from tuneloop.core.errors import DataError
from tuneloop.evaluate import stats
from tuneloop.evaluate.metrics.exact import ExactMatch
from tuneloop.evaluate.metrics.metric import mean, mean_statistics
from tuneloop.evaluate.records import Interval
from tuneloop.evaluate.stats import compare, score_set, wilson_interval


class Mean:
    """A plain mean, of anything."""

    name = "mean"
    is_proportion = False

    def __init__(self, *, higher_is_better: bool = True) -> None:
        self.higher_is_better = higher_is_better

    def signature(self) -> str:
        return "mean"

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        return mean_statistics(float(prediction == references[0]))

    def combine(self, totals_K: np.ndarray) -> float:
        return mean(totals_K)

    def sample_value(self, statistics_K: np.ndarray) -> float:
        return mean(statistics_K)


def rows(scores: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.array([mean_statistics(float(score)) for score in scores])


def ends(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # z = 1.959964; the first by hand: (0.2 + 0.038415) / 1.076829 -+ 1.820125 * sqrt(0.0032 + 0.000384)
        (10, 50, 0.112438, 0.330371),
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (1, 2, 0.094531, 0.905469),
    ],
)
def test_wilson(successes: int, trials: int, low: float, high: float) -> None:
    assert ends(wilson_interval(successes, trials)) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


def test_wilson_ends_solve_its_equation() -> None:
    """The ends are the shares q at which the observed share lies z standard errors of q away."""
    for successes, trials in [(3, 17), (99, 100), (1, 1000)]:
        for q in ends(wilson_interval(successes, trials, level=0.9)):
            distance = abs(successes / trials - q) / np.sqrt(q * (1 - q) / trials)
            assert distance == pytest.approx(1.6448536269514722)


def test_wilson_stays_between_zero_and_one() -> None:
    # Without the clamps, rounding carries the ends of 0 of 2 and of 9 of 9 outside.
    assert wilson_interval(0, 2).low == 0
    assert wilson_interval(9, 9).high == 1
    assert wilson_interval(9, 9, level=0.8).level == 0.8


def test_the_order_of_samples_does_not_change_the_last_digit() -> None:
    scores = np.random.default_rng(6).random(1000)
    # A plain running sum does depend on the order here.
    assert sum(scores.tolist()) != sum(scores[::-1].tolist())
    value = score_set(Mean(), rows(scores), seed=0, resamples=1).value
    assert score_set(Mean(), rows(scores[::-1]), seed=0, resamples=1).value == value


def test_proportions_get_wilson_and_others_the_bootstrap() -> None:
    statistics_NK = rows([0] * 20)
    assert ends(score_set(ExactMatch(), statistics_NK, seed=1).interval) == (0, pytest.approx(0.161125, abs=1e-6))
    assert ends(score_set(Mean(), statistics_NK, seed=1).interval) == (0, 0)


def test_score_carries_its_facts() -> None:
    score = score_set(Mean(higher_is_better=False), rows([1, 0, 0, 0]), seed=1, level=0.5)
    assert (score.metric, score.value, score.n, score.signature) == ("mean", 0.25, 4, "mean")
    assert not score.higher_is_better
    assert score.interval is not None
    assert score.interval.level == 0.5


def test_the_bootstrap_of_200_draws_is_near_the_normal_interval() -> None:
    draws = np.random.default_rng(7).random(200) < 0.3
    low, high = ends(score_set(Mean(), rows(draws), seed=7).interval)
    share = draws.mean()
    reach = 1.959964 * np.sqrt(share * (1 - share) / 200)
    # 2000 resamples place an end to about 0.003; shares lie on a grid of 0.005.
    assert low == pytest.approx(share - reach, abs=0.011)
    assert high == pytest.approx(share + reach, abs=0.011)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for repeat in range(200):
        low, high = ends(score_set(Mean(), rows(rng.exponential(size=60)), seed=repeat, resamples=400).interval)
        covered += low <= 1 <= high
    # 95 % promised, about 93 % due to 60 skewed draws; 200 repeats scatter by 1.7 points.
    assert 0.87 <= covered / 200 <= 0.985


def test_a_higher_level_is_wider_and_a_larger_set_is_narrower() -> None:
    scores = np.random.default_rng(5).random(400)

    def width(statistics_NK: np.ndarray, level: float) -> float:
        low, high = ends(score_set(Mean(), statistics_NK, seed=0, level=level).interval)
        return high - low

    assert width(rows(scores), 0.99) > width(rows(scores), 0.95) > width(rows(scores), 0.5) > 0
    assert width(rows(scores), 0.95) == pytest.approx(width(rows(scores[:100]), 0.95) / 2, rel=0.25)


def test_same_seed_same_interval_and_another_seed_another() -> None:
    statistics_NK = rows(np.random.default_rng(5).random(50))
    first = score_set(Mean(), statistics_NK, seed=1)
    assert score_set(Mean(), statistics_NK, seed=1) == first
    assert score_set(Mean(), statistics_NK, seed=2).interval != first.interval


def test_a_resample_draws_n_samples() -> None:
    (counts_BN,) = stats._draw_counts(30, seed=4, resamples=500)
    assert counts_BN.shape == (500, 30)
    assert (counts_BN.sum(axis=1) == 30).all()
    # Each count is binomial(30, 1/30): mean 1, variance 29/30; 15,000 of them.
    assert counts_BN.var() == pytest.approx(29 / 30, abs=0.05)
    assert np.abs(counts_BN.mean(axis=0) - 1).max() < 0.2
    assert len(np.unique(counts_BN, axis=0)) == 500


def test_chunks_do_not_change_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole_BN,) = stats._draw_counts(7, seed=4, resamples=20)
    monkeypatch.setattr(stats, "_CHUNK_CELLS", 21)
    chunks = list(stats._draw_counts(7, seed=4, resamples=20))
    assert [len(chunk) for chunk in chunks] == [3, 3, 3, 3, 3, 3, 2]
    assert np.array_equal(np.concatenate(chunks), whole_BN)


def test_one_sample_has_no_interval_and_none_is_an_error() -> None:
    one, none = rows([1]), np.empty((0, 2))
    assert score_set(Mean(), one, seed=0).interval is None
    assert score_set(ExactMatch(), one, seed=0).interval is None
    assert compare(Mean(), one, one, seed=0).interval is None
    with pytest.raises(DataError, match="mean: there is no sample"):
        score_set(Mean(), none, seed=0)
    with pytest.raises(DataError, match="mean: there is no sample"):
        compare(Mean(), none, none, seed=0)


def test_sides_of_different_length_are_an_error() -> None:
    with pytest.raises(DataError, match="3 samples before and 2 after"):
        compare(Mean(), rows([1, 0, 1]), rows([1, 0]), seed=0)


def test_equal_sides_differ_by_exactly_nothing() -> None:
    statistics_NK = rows(np.random.default_rng(1).random(101))
    result = compare(Mean(), statistics_NK, statistics_NK.copy(), seed=3)
    assert result.difference == 0
    assert ends(result.interval) == (0, 0)
    assert not result.is_better
    assert not result.is_worse


def test_pairing_cancels_what_is_hard_about_a_sample() -> None:
    rng = np.random.default_rng(2)
    difficulty = rng.normal(scale=10, size=80)
    before, after = rows(difficulty), rows(difficulty + 0.5 + rng.normal(scale=0.1, size=80))
    result = compare(Mean(), before, after, seed=0)
    low, high = ends(result.interval)
    assert low < result.difference < high
    assert high - low < 0.06  # 2 * 1.96 * 0.1 / sqrt(80) = 0.044; unpaired it would be 6
    assert result.is_better
    lower_is_better = compare(Mean(higher_is_better=False), before, after, seed=0)
    assert lower_is_better.is_worse
    assert not lower_is_better.is_better


def test_swapping_the_sides_mirrors_the_interval() -> None:
    rng = np.random.default_rng(8)
    one, other = rows(rng.random(40)), rows(rng.random(40))
    low, high = ends(compare(Mean(), one, other, seed=5).interval)
    assert ends(compare(Mean(), other, one, seed=5).interval) == (pytest.approx(-high), pytest.approx(-low))
