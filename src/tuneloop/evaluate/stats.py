"""How sure a score is: confidence intervals of one set, and of the difference between two runs over it."""

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np

from tuneloop.core.errors import DataError
from tuneloop.core.seeds import derive_seed
from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.proportions import tango_interval, wilson_interval
from tuneloop.evaluate.randomization import randomization_p_value
from tuneloop.evaluate.records import Comparison, Interval, Score

# Shapes: N samples, K statistics of a metric, B resamples (b of them at a time).

_CHUNK_CELLS = 1 << 21
"""Cells of a chunk of draws: 16 MiB of integers, and as much again of counts."""


def score_set(
    metric: Metric, statistics_NK: np.ndarray, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Score:
    """The value of a set of samples, with its interval (None for a single sample).

    Proportions get Wilson's interval, everything else the calibrated percentile bootstrap over samples (see
    `calibrated_interval`). The interval holds the chance that lies in the choice of samples, not in training. The
    order of the samples does not matter.

    Raises:
        DataError: there is no sample.
    """
    num_samples = _count(metric, statistics_NK)
    totals_K = _sum(statistics_NK)
    if num_samples == 1:
        interval = None
    elif metric.is_proportion:
        interval = wilson_interval(totals_K[0], num_samples, level=level)
    else:
        (sorted_NK,) = sort_samples(statistics_NK)
        interval = calibrated_interval(metric.combine, [sorted_NK], seed=seed, resamples=resamples, level=level)
    return Score(
        metric=metric.name,
        value=metric.combine(totals_K),
        interval=interval,
        n=num_samples,
        signature=metric.signature(),
        higher_is_better=metric.higher_is_better,
        parts=metric.parts(totals_K),
    )


def compare(
    metric: Metric,
    before_NK: np.ndarray,
    after_NK: np.ndarray,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Comparison:
    """The difference after - before over the same samples in the same order, with its paired interval and p-value.

    Differences of proportions get Tango's interval, everything else the calibrated percentile bootstrap: each
    resample is drawn once and used for both sides, so that what is hard about a sample cancels. Equal sides give
    exactly [0, 0]. The p-value is that of approximate randomization with `resamples` shuffles: another question,
    asked in another way, so that close to its limit it can disagree with the interval.

    The order of the samples does not matter. Swapping two sides of different value mirrors the interval.

    Source: Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation"; Tango 1998; Riezler
    and Maxwell 2005.

    Raises:
        DataError: there is no sample, or the two sides hold different numbers of samples.
    """
    num_samples = _count(metric, before_NK)
    if len(after_NK) != num_samples:
        raise DataError(
            f"{metric.name}: {num_samples} samples before and {len(after_NK)} after. Compare runs over the same rows."
        )
    before = metric.combine(_sum(before_NK))
    after = metric.combine(_sum(after_NK))
    interval, p_value = None, None
    if num_samples > 1:
        # The side that is higher always comes second, so that the same draws serve both ways round.
        falls = after < before
        sides = sort_samples(after_NK, before_NK) if falls else sort_samples(before_NK, after_NK)
        rise = _rise_interval(metric, sides, seed=seed, resamples=resamples, level=level)
        interval = Interval(low=0.0 - rise.high, high=0.0 - rise.low, level=level) if falls else rise
        p_value = randomization_p_value(metric, *sides, seed=seed, shuffles=resamples)
    return Comparison(
        metric=metric.name,
        before=before,
        after=after,
        difference=after - before,
        interval=interval,
        p_value=p_value,
        higher_is_better=metric.higher_is_better,
    )


def calibrated_interval(
    value_of: Callable[..., float], sides: Sequence[np.ndarray], *, seed: int, resamples: int, level: float
) -> Interval:
    """The bootstrap percentile interval of `value_of(totals_K of each side)`, as wide as a bootstrap t says.

        t* = |v* - v| / s*                 v, v*: value of the samples, of a resample of them
        s*² = var(u*) / (N - 1)            u: what each sample adds to v, by leaving it out (jackknife)
        c = the `level` quantile of t*     tail = Phi(-c * sqrt(N / (N - 1)))
        interval = quantiles tail and 1 - tail of v*

    The plain percentile interval takes tail = 2.5 %, which is too narrow for few samples: it neither knows that the
    spread is itself estimated nor that the bootstrap's is sqrt((N - 1) / N) too small. Hesterberg's expanded
    percentile interval puts Student's quantile for c; here the samples say how far t reaches, which differs from
    Student's where scores are skewed. The ends stay values of resamples, so that none leaves the metric's range.

    Source: Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 4.3, and the symmetric
    bootstrap t of Hall 1988, "On Symmetric Bootstrap Confidence Intervals". That they are put together is our own;
    how often it holds the truth is measured in docs/methods/intervals.md.
    By hand: with many samples c is near 1.96 and tail near 2.5 %; equal samples give [v, v].
    """
    num_samples = len(sides[0])
    totals = [_sum(side_NK) for side_NK in sides]
    value = value_of(*totals)
    left_out = zip(*(total_K - side_NK for total_K, side_NK in zip(totals, sides, strict=True)), strict=True)
    without_N = np.array([value_of(*rest) for rest in left_out])
    influence_N = (num_samples - 1) * (without_N.mean() - without_N)
    moments_N2 = np.stack([influence_N, influence_N**2], axis=1)
    values: list[float] = []
    variances: list[np.ndarray] = []
    for counts_bN in _draw_counts(num_samples, seed=seed, resamples=resamples):
        values += [value_of(*drawn) for drawn in zip(*(counts_bN @ side_NK for side_NK in sides), strict=True)]
        mean_b, square_b = (counts_bN @ moments_N2).T / num_samples
        variances.append(np.maximum(square_b - mean_b**2, 0) / (num_samples - 1))
    errors_B = np.sqrt(np.concatenate(variances))
    return calibrate(np.array(values), errors_B, value=value, num_samples=num_samples, level=level)


def calibrate(values_B: np.ndarray, errors_B: np.ndarray, *, value: float, num_samples: int, level: float) -> Interval:
    """The last step of `calibrated_interval`: from values of resamples and their standard errors to the interval."""
    distance_B = np.abs(values_B - value)
    # Without spread any distance is infinitely many errors, and no distance is none.
    t_B = np.where(distance_B > 0, np.inf, 0.0)
    np.divide(distance_B, errors_B, out=t_B, where=errors_B > 0)
    critical = float(np.sort(t_B)[math.ceil(level * len(t_B)) - 1])
    tail = NormalDist().cdf(-critical * math.sqrt(num_samples / (num_samples - 1)))
    low, high = np.quantile(values_B, [tail, 1 - tail])
    return Interval(low=min(float(low), value), high=max(float(high), value), level=level)


def sort_samples(*sides: np.ndarray) -> list[np.ndarray]:
    """The samples of all sides in one order that depends on nothing but their statistics."""
    order_N = np.lexsort(np.hstack(sides).T)
    return [side_NK[order_N] for side_NK in sides]


def _rise_interval(metric: Metric, sides: Sequence[np.ndarray], *, seed: int, resamples: int, level: float) -> Interval:
    """The interval of the second side's value minus the first's."""
    before_NK, after_NK = sides
    if metric.is_proportion:
        gained = int((after_NK[:, 0] > before_NK[:, 0]).sum())
        lost = int((after_NK[:, 0] < before_NK[:, 0]).sum())
        if gained or lost:
            return tango_interval(gained, lost, len(before_NK), level=level)
        return Interval(low=0.0, high=0.0, level=level)

    def rise(before_K: np.ndarray, after_K: np.ndarray) -> float:
        return metric.combine(after_K) - metric.combine(before_K)

    return calibrated_interval(rise, sides, seed=seed, resamples=resamples, level=level)


def _count(metric: Metric, statistics_NK: np.ndarray) -> int:
    if len(statistics_NK) == 0:
        raise DataError(f"{metric.name}: there is no sample to score. Hold out at least one row.")
    return len(statistics_NK)


def _sum(statistics_NK: np.ndarray) -> np.ndarray:
    """Column sums, shape [K], rounded once: the order of samples cannot change the last digit."""
    return np.array([math.fsum(column_N) for column_N in statistics_NK.T.tolist()])


def _draw_counts(num_samples: int, *, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each sample is drawn, float64 chunks of shape [b, N]; a row is one resample and sums to N.

    Rows are multinomial with equal chances. Counting uniform draws costs O(N) a row, as numpy's multinomial
    does, is four times faster for long rows, and draws the resamples that scipy.stats.bootstrap draws.
    """
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    chunk = max(1, _CHUNK_CELLS // num_samples)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn_bN = rng.integers(0, num_samples, size=(rows, num_samples))
        drawn_bN += np.arange(rows)[:, None] * num_samples
        counts = np.bincount(drawn_bN.ravel(), minlength=rows * num_samples)
        yield counts.reshape(rows, num_samples).astype(np.float64)
