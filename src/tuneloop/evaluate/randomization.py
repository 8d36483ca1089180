"""How surprising a difference between two runs would be if each sample's two answers could as well be swapped."""

from collections.abc import Iterator

import numpy as np

from tuneloop.core.seeds import derive_seed
from tuneloop.evaluate.metrics.metric import Metric

# Shapes: N samples, K statistics of a metric, B shuffles (b of them at a time).

_CHUNK_CELLS = 1 << 21
"""Cells of a chunk of swaps: 16 MiB of floats."""

_ROUNDING = 1e-10
"""Differences this close, relative to the values, are equal: sums in another order differ in their last digits."""


def randomization_p_value(
    metric: Metric, before_NK: np.ndarray, after_NK: np.ndarray, *, seed: int, shuffles: int
) -> float:
    """The two-sided p-value of a paired difference, by approximate randomization.

        p = (1 + shuffles whose |difference| reaches the observed one) / (1 + shuffles)

    A shuffle swaps the two sides of each sample with chance 1/2, all K statistics together, and combines each side
    anew. Samples whose sides are equal cannot matter and are left out.

    The rows are taken in the order given: the caller sorts them where order must not matter.

    Source: Noreen 1989; Riezler and Maxwell 2005, "On Some Pitfalls in Automatic Evaluation and Significance
    Testing for MT". By hand: equal sides give 1; 10 rows of 10 that turn right give about 2 / 2^10 = 0.002.
    """
    changed_N = (before_NK != after_NK).any(axis=1)
    before_K, after_K = before_NK.sum(axis=0), after_NK.sum(axis=0)
    change_NK = (after_NK - before_NK)[changed_N]
    before, after = metric.combine(before_K), metric.combine(after_K)
    least = abs(after - before) - _ROUNDING * max(abs(before), abs(after))
    hits = sum(
        abs(metric.combine(after_K - moved_K) - metric.combine(before_K + moved_K)) >= least
        for swapped_bN in _draw_swaps(len(change_NK), seed=seed, shuffles=shuffles)
        for moved_K in swapped_bN @ change_NK
    )
    return (1 + hits) / (1 + shuffles)


def _draw_swaps(num_samples: int, *, seed: int, shuffles: int) -> Iterator[np.ndarray]:
    """Which samples are swapped, ones and zeros as float64 chunks of shape [b, N]."""
    rng = np.random.default_rng(derive_seed(seed, "randomization"))
    num_bytes = -(-num_samples // 8)
    chunk = max(1, _CHUNK_CELLS // max(1, num_samples))
    for start in range(0, shuffles, chunk):
        rows = min(chunk, shuffles - start)
        packed = rng.integers(0, 256, size=(rows, num_bytes), dtype=np.uint8)
        yield np.unpackbits(packed, axis=1, count=num_samples).astype(np.float64)
