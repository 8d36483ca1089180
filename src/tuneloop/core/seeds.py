"""Chance as a function of (seed, names): nothing to save, nothing to restore."""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed of its own for each purpose: `derive_seed(7, "dropout", step)`."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def keyed_hash(values: np.ndarray, seed: int, *names: object) -> np.ndarray:
    """A 64-bit number for each value, uint64 like `values` in shape: whoever has the lowest is drawn first.

    splitmix64(key + value) is a bijection, so that different values never tie.
    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
    """
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) * _GOLDEN + np.uint64(derive_seed(seed, *names))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z


def keyed_permutation(size: int, seed: int, *names: object) -> np.ndarray:
    """The order of `size` items for a key, shape [size], the same on every machine and version."""
    return np.argsort(keyed_hash(np.arange(size), seed, *names), kind="stable")
