"""Intervals and p-values: against formulas, against known corners, and against what a resample really is."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import DataError
from tuneloop.evaluate import stats
from tuneloop.evaluate.metrics.exact import ExactMatch
from tuneloop.evaluate.metrics.metric import mean, mean_statistics
from tuneloop.evaluate.proportions import tango_interval
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

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        return {"sum": float(totals_K[0])}


class RootOfRatio(Mean):
    """A curved function of two sums, from 0 to 1."""

    name = "root_of_ratio"

    def combine(self, totals_K: np.ndarray) -> float:
        return math.sqrt(totals_K[0] / totals_K[1])


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
    assert score.parts == {"sum": 1}
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


def test_the_interval_is_that_of_its_definition() -> None:
    """Done anew with plain numbers: indices drawn, t of each resample, the tail as wide as t says, quantiles."""
    scores = np.random.default_rng(12).exponential(size=25)
    low, high = ends(score_set(Mean(), rows(scores), seed=3, resamples=500).interval)
    ordered = np.sort(scores)
    (counts_BN,) = stats._draw_counts(25, seed=3, resamples=500)
    drawn = [np.repeat(ordered, counts_N.astype(int)) for counts_N in counts_BN]
    means = [sample.mean() for sample in drawn]
    reach = sorted(abs(sample.mean() - scores.mean()) / (sample.std(ddof=1) / 5) for sample in drawn)[474]
    tail = 0.5 * math.erfc(reach * math.sqrt(25 / 24) / math.sqrt(2))
    assert tail < 0.0195  # narrower tails than the plain 2.5 %, and than Student's
    assert (low, high) == (pytest.approx(np.quantile(means, tail)), pytest.approx(np.quantile(means, 1 - tail)))


def test_with_many_samples_the_interval_is_the_plain_percentile_one() -> None:
    scores = np.random.default_rng(12).random(4000)
    low, high = ends(score_set(Mean(), rows(scores), seed=3).interval)
    (counts_BN,) = stats._draw_counts(4000, seed=3, resamples=500)
    plain = np.quantile(counts_BN @ np.sort(scores) / 4000, [0.025, 0.975])
    # Ends scatter by about 5 % of the width, which is 0.018, from one set of resamples to another.
    assert (low, high) == (pytest.approx(plain[0], abs=0.002), pytest.approx(plain[1], abs=0.002))


@pytest.mark.parametrize("metric", [Mean(), RootOfRatio()])
@given(data=st.data(), size=st.integers(2, 12))
@settings(deadline=None, max_examples=25)
def test_the_interval_holds_the_value_and_stays_in_range(metric: Mean, data: st.DataObject, size: int) -> None:
    scores = data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.3, 1.0]), min_size=size, max_size=size))
    others = data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.3, 1.0]), min_size=size, max_size=size))
    score = score_set(metric, rows(scores), seed=1, resamples=50)
    low, high = ends(score.interval)
    # A resample's value is a sum in another order: it may pass the edge by a last digit.
    assert 0 <= low <= score.value <= high <= 1 + 1e-12
    result = compare(metric, rows(scores), rows(others), seed=1, resamples=50)
    low, high = ends(result.interval)
    assert -1 - 1e-12 <= low <= result.difference <= high <= 1 + 1e-12


@pytest.mark.parametrize("metric", [Mean(), RootOfRatio(), ExactMatch()])
def test_the_order_of_samples_changes_nothing(metric: Mean | ExactMatch) -> None:
    rng = np.random.default_rng(21)
    before, after = rng.integers(0, 2, size=(2, 60)) if metric.is_proportion else rng.random((2, 60)).round(1)
    order = rng.permutation(60)
    assert score_set(metric, rows(before[order]), seed=2) == score_set(metric, rows(before), seed=2)
    shuffled = compare(metric, rows(before[order]), rows(after[order]), seed=2)
    assert shuffled == compare(metric, rows(before), rows(after), seed=2)


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


@pytest.mark.parametrize("metric", [Mean(), RootOfRatio(), ExactMatch()])
def test_equal_sides_differ_by_exactly_nothing(metric: Mean | ExactMatch) -> None:
    scores = np.random.default_rng(1).random(101)
    statistics_NK = rows(scores > 0.5 if metric.is_proportion else scores)
    result = compare(metric, statistics_NK, statistics_NK.copy(), seed=3)
    assert result.difference == 0
    assert ends(result.interval) == (0, 0)
    assert result.p_value == 1
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


@pytest.mark.parametrize("metric", [Mean(), RootOfRatio(), ExactMatch()])
def test_swapping_the_sides_mirrors_the_comparison(metric: Mean | ExactMatch) -> None:
    rng = np.random.default_rng(8)
    one, other = (rows(side > 0.6 if metric.is_proportion else side) for side in rng.random((2, 41)))
    there, back = compare(metric, one, other, seed=5), compare(metric, other, one, seed=5)
    low, high = ends(there.interval)
    assert low < there.difference < high
    assert ends(back.interval) == (-high, -low)
    assert back.p_value == there.p_value


def test_no_end_is_minus_zero() -> None:
    result = compare(Mean(), rows([1, 1, 1]), rows([1, 1, 0]), seed=0)
    assert math.copysign(1, ends(result.interval)[1]) == 1


@pytest.mark.parametrize(
    ("gained", "lost", "trials", "low", "high"),
    [
        # Airway hyper-responsiveness before and after transplantation (Fagerland, Lydersen and Laake 2014, table II).
        (1, 7, 21, -0.517, -0.026),
        # z²/(N + z²) with z² = 3.841459: 3.841459 / 23.841459
        (0, 0, 20, -0.161, 0.161),
        (20, 0, 20, 0.678, 1.0),
    ],
)
def test_tango(gained: int, lost: int, trials: int, low: float, high: float) -> None:
    expected = (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))
    assert ends(tango_interval(gained, lost, trials)) == expected
    assert ends(tango_interval(lost, gained, trials)) == (pytest.approx(-high, abs=5e-4), pytest.approx(-low, abs=5e-4))


@given(cells=st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60)))
@settings(deadline=None, max_examples=80)
def test_tango_leaves_out_zero_where_mcnemar_finds_a_difference(cells: tuple[int, int, int]) -> None:
    """At a difference of 0 its score is McNemar's (gained - lost) / sqrt(gained + lost)."""
    gained, lost, same = cells
    trials = gained + lost + same
    if trials == 0:
        return
    low, high = ends(tango_interval(gained, lost, trials))
    assert -1 <= low <= (gained - lost) / trials <= high <= 1
    score = (gained - lost) / math.sqrt(gained + lost) if gained + lost else 0.0
    assert (not low <= 0 <= high) == (abs(score) > 1.959963984540054)


def test_tango_is_wide_enough_to_be_near_the_bootstrap() -> None:
    rng = np.random.default_rng(4)
    before, after = rng.random((2, 400)) < [[0.5], [0.6]]
    exact = ends(compare(ExactMatch(), rows(before), rows(after), seed=0).interval)
    drawn = ends(compare(Mean(), rows(before), rows(after), seed=0).interval)
    # Both are near +-1.96 standard errors, 0.067 here; differences lie on a grid of 0.0025.
    assert exact == (pytest.approx(drawn[0], abs=0.008), pytest.approx(drawn[1], abs=0.008))


def exact_p_value(metric: Mean, before_NK: np.ndarray, after_NK: np.ndarray) -> float:
    """Over all 2^N ways to swap."""
    sides_SNK = np.stack([before_NK, after_NK])
    size = len(before_NK)
    distances = []
    for swaps in itertools.product([0, 1], repeat=size):
        first_NK, second_NK = sides_SNK[list(swaps), range(size)], sides_SNK[[1 - s for s in swaps], range(size)]
        distances.append(abs(metric.combine(second_NK.sum(axis=0)) - metric.combine(first_NK.sum(axis=0))))
    return float(np.mean([distance >= distances[0] - 1e-12 for distance in distances]))


@pytest.mark.parametrize("metric", [Mean(), RootOfRatio()])
def test_the_p_value_is_near_that_of_all_swaps(metric: Mean) -> None:
    rng = np.random.default_rng(31)
    for shift in (0.0, 0.1, 0.3):
        before, after = rows(rng.random(9)), rows(rng.random(9) + shift)
        # Rows that weigh differently, so that whole samples have to be swapped, not their scores.
        before[:, 1], after[:, 1] = rng.integers(1, 9, size=(2, 9))
        before[:, 0] *= before[:, 1]
        after[:, 0] *= after[:, 1]
        found = compare(metric, before, after, seed=1, resamples=10_000).p_value
        # 10,000 shuffles scatter by 0.005 at most.
        assert found == pytest.approx(exact_p_value(metric, before, after), abs=0.015)


@pytest.mark.parametrize(("gained", "lost"), [(3, 0), (9, 2), (12, 10), (20, 6)])
def test_the_p_value_of_right_and_wrong_is_mcnemars(gained: int, lost: int) -> None:
    """Swapping is a fair coin for each row that changed: the exact McNemar test is a binomial tail."""
    changed = gained + lost
    tail = sum(math.comb(changed, k) for k in range(min(gained, lost) + 1)) / 2**changed
    before = rows([0] * gained + [1] * lost + [1] * 7)
    after = rows([1] * gained + [0] * lost + [1] * 7)
    found = compare(ExactMatch(), before, after, seed=4, resamples=10_000).p_value
    assert found == pytest.approx(min(1.0, 2 * tail), abs=0.015)


def test_the_p_value_cannot_be_less_than_the_shuffles_can_tell() -> None:
    result = compare(Mean(), rows([0] * 60), rows([1] * 60), seed=4, resamples=99)
    assert result.p_value == 1 / 100
    assert compare(Mean(), rows([0]), rows([1]), seed=4).p_value is None


def test_equal_models_are_called_different_as_often_as_the_p_value_says() -> None:
    rng = np.random.default_rng(17)
    found = []
    for repeat in range(300):
        before, after = rng.gamma(0.5, size=(2, 15))
        found.append(compare(Mean(), rows(before), rows(after), seed=repeat, resamples=199).p_value)
    for limit in (0.05, 0.2, 0.5):
        share = np.mean([p is not None and p <= limit for p in found])
        # Exact but for the 300 repeats, which scatter by sqrt(limit (1 - limit) / 300): three of that.
        assert share == pytest.approx(limit, abs=3 * math.sqrt(limit * (1 - limit) / 300))


def test_the_p_value_has_a_seed() -> None:
    before, after = (rows(side) for side in np.random.default_rng(2).random((2, 30)))
    first, same, other = (compare(Mean(), before, after, seed=seed).p_value for seed in (1, 1, 2))
    assert first == same != other
