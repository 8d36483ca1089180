"""How sure a score is: confidence intervals of one set, and of the difference between two runs over it."""

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from tuneloop.core.errors import DataError
from tuneloop.core.seeds import derive_seed
from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.records import Comparison, Interval, Score

# Shapes: N samples, K statistics of a metric, B resamples (b of them at a time).

_CHUNK_CELLS = 1 << 21
"""Cells of a chunk of draws: 16 MiB of integers, and as much again of counts."""


def score_set(
    metric: Metric, statistics_NK: np.ndarray, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Score:
    """The value of a set of samples, with its interval (None for a single sample).

    Proportions get Wilson's interval, everything else the percentile bootstrap over samples: draw N samples
    with replacement, compute the value of the draw, repeat, and take the middle `level` of the values.
    The interval holds the chance that lies in the choice of samples, not in training.

    Source: Efron and Tibshirani 1993, chapter 13.

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
        values = [
            metric.combine(resampled_K)
            for counts_bN in _draw_counts(num_samples, seed=seed, resamples=resamples)
            for resampled_K in counts_bN @ statistics_NK
        ]
        interval = _percentile_interval(values, level=level)
    return Score(
        metric=metric.name,
        value=metric.combine(totals_K),
        interval=interval,
        n=num_samples,
        signature=metric.signature(),
        higher_is_better=metric.higher_is_better,
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
    """The difference after - before over the same samples in the same order, with its paired interval.

    Each resample is drawn once and used for both sides, so that what is hard about a sample cancels. Equal
    statistics give exactly [0, 0].

    Source: Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation".

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
    interval = None
    if num_samples > 1:
        differences = [
            metric.combine(after_K) - metric.combine(before_K)
            for counts_bN in _draw_counts(num_samples, seed=seed, resamples=resamples)
            for before_K, after_K in zip(counts_bN @ before_NK, counts_bN @ after_NK, strict=True)
        ]
        interval = _percentile_interval(differences, level=level)
    return Comparison(
        metric=metric.name,
        before=before,
        after=after,
        difference=after - before,
        interval=interval,
        higher_is_better=metric.higher_is_better,
    )


def wilson_interval(successes: float, trials: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; useful even at 0 of N, where a bootstrap says [0, 0].

        (p + z²/2N ± z * sqrt(p (1 - p) / N + z²/4N²)) / (1 + z²/N),   p = successes / N

    Source: Wilson 1927. By hand: 10 of 50 is [0.112, 0.330]; 0 of 10 is [0, 0.278].
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / trials
    width = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / width
    reach = z / width * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return Interval(low=max(0.0, centre - reach), high=min(1.0, centre + reach), level=level)


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


def _percentile_interval(values: list[float], *, level: float) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high), level=level)
