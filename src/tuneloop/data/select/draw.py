"""Drawing rows by chance: a hash for each row, a sample, and shares that add up."""

import numpy as np

from tuneloop.core.seeds import derive_seed, keyed_permutation

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def keyed_hash(values: np.ndarray, seed: int, *names: object) -> np.ndarray:
    """A 64-bit number for each value, uint64 like `values` in shape: whoever has the lowest is drawn first.

    splitmix64(key + value) is a bijection, so that different values never tie. `keyed_permutation(n, seed, name)`
    is the order of `keyed_hash(arange(n), seed, name)`.

    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
    """
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) * _GOLDEN + np.uint64(derive_seed(seed, *names))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z


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
