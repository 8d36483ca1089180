"""Drawing rows by chance: a sample, and shares that add up."""

import numpy as np

from tuneloop.core.seeds import keyed_permutation


def sample_rows(num_rows: int, limit: int | None, seed: int, *purpose: object) -> np.ndarray:
    """At most `limit` of the rows, drawn by the seed, int64 in the order of the file. None: all of them.

    A larger limit keeps what a smaller one drew.
    """
    if limit is None or limit >= num_rows:
        return np.arange(num_rows)
    return np.sort(keyed_permutation(num_rows, seed, *purpose)[:limit])


def apportion(total: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers, int64, that add up to `total` and are in proportion to `weights` (by largest remainder).

    Each differs from its exact share by less than one. Equal remainders: the larger weight first, then the earlier.
    Ten for weights 5, 3, 3 are 4.55, 2.73, 2.73 exactly, and 4, 3, 3 in whole numbers.
    """
    exact = total * (weights / weights.sum())
    shares = np.floor(exact).astype(np.int64)
    # Floats may put an exact 3 at 2.9999999999999996; a remainder is then nearly one, and comes first.
    first = np.lexsort((-weights, -np.round(exact - shares, 9)))
    shares[first[: total - int(shares.sum())]] += 1
    return shares
