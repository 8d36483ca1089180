"""Finds rows that say almost the same: exact copies, and pairs whose texts share most of their shingles."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tuneloop.core.errors import ConfigError
from tuneloop.data.quality.minhash import (
    NUM_HASHES,
    Banding,
    band_keys,
    banding_for,
    estimates,
    least_estimate,
    signatures,
)
from tuneloop.data.quality.shingles import shingle_hashes
from tuneloop.data.quality.texts import BATCH_CHARACTERS, TextStore, duplicate_groups, split_by_size

NEIGHBOURS = 16
"""In a bucket of more rows than this, each is compared with that many next ones, not with all."""
CROWD = 32
"""A pair of rows that both have this many candidates already is not looked at again: work stays linear."""
_PAIRS_AT_ONCE = 1 << 15
_SHINGLES_AT_ONCE = 1 << 25


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Pairs of rows whose texts are the same or nearly so."""

    num_rows: int
    pairs: np.ndarray
    """int64 [P, 2]: a < b, in order. Of exact copies, each is paired with the first, which stands for all of them.
    In a crowd (more than 17 rows alike) not every pair is listed, but `clusters` joins the crowd."""
    similarity: np.ndarray
    """float64 [P]: the Jaccard similarity of the shingles; 1.0 for an exact copy."""

    def clusters(self) -> np.ndarray:
        """For each row, the smallest row that it is joined with by pairs, int32 [N]; a lone row names itself."""
        parent = np.arange(self.num_rows, dtype=np.int32)
        left, right = self.pairs[:, 0], self.pairs[:, 1]
        while True:
            low, high = np.minimum(parent[left], parent[right]), np.maximum(parent[left], parent[right])
            if np.array_equal(low, high):
                return parent
            np.minimum.at(parent, high, low)
            while not np.array_equal(parent, parent[parent]):
                parent = parent[parent]


def near_duplicates(texts: Iterable[str], *, threshold: float = 0.8, seed: int = 0) -> NearDuplicates:
    """Find the pairs of rows with a similarity of at least `threshold`.

    Similarity is the Jaccard of the sets of shingles (`shingle_hashes`) of the normalised texts. Exact copies are
    taken together first. Candidates come from MinHash bands, and each is checked by its exact similarity, so what
    is reported is true; at the threshold about 1 pair in 200 is missed, fewer above it.

    Args:
        texts: read once; of rows of 180 characters about 550 bytes each are held at the peak.
        threshold: in (0, 1].
        seed: of the hash functions; the same seed and texts give the same result.

    Raises:
        ConfigError: a threshold outside (0, 1].
    """
    check_threshold(threshold)
    store = TextStore(texts)
    first = duplicate_groups(store.keys)
    is_copy = first != np.arange(len(store))
    copies = np.flatnonzero(is_copy)
    unique = np.flatnonzero(~is_copy)
    found, similarity = np.empty((0, 2), dtype=np.int64), np.empty(0)
    if unique.size > 1 and threshold < 1:
        candidates = _candidates(_all_signatures(store, unique, seed), threshold)
        found = np.stack([unique[candidates >> 32], unique[candidates & 0xFFFFFFFF]], axis=1)
        similarity = _similarities(store, found)
        reached = similarity >= threshold
        found, similarity = found[reached], similarity[reached]
    pairs = np.concatenate([np.stack([first[copies], copies], axis=1), found])
    similarity = np.concatenate([np.ones(len(copies)), similarity])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return NearDuplicates(len(store), pairs[order], similarity[order])


def check_threshold(threshold: float) -> None:
    """Refuse a similarity that no pair, or every pair, would reach.

    Raises:
        ConfigError: it is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"near-duplicates: threshold {threshold} is not in (0, 1]. 0.8 is usual.")


def _all_signatures(store: TextStore, rows: np.ndarray, seed: int) -> np.ndarray:
    result = np.empty((len(rows), NUM_HASHES), dtype=np.uint16)
    for part in split_by_size(store.sizes(rows), BATCH_CHARACTERS):
        result[part] = signatures(store.take(rows[part]), seed)
    return result


def _candidates(signatures_NH: np.ndarray, threshold: float) -> np.ndarray:
    """Pairs that share a bucket and may reach the threshold, each as `a << 32 | b`, a < b, sorted, int64."""
    plan = banding_for(threshold)
    num = len(signatures_NH)
    found = np.empty(0, dtype=np.int64)
    for band in range(plan.bands):
        degree = np.bincount(found >> 32, minlength=num) + np.bincount(found & 0xFFFFFFFF, minlength=num)
        pairs = _bucket_pairs(signatures_NH, plan, band, degree >= CROWD)
        found = np.union1d(found, pairs[_may_reach(signatures_NH, pairs, threshold)])
    return found


def _bucket_pairs(signatures_NH: np.ndarray, plan: Banding, band: int, is_crowded: np.ndarray) -> np.ndarray:
    """The pairs that one band brings together, unchecked."""
    keys = band_keys(signatures_NH, plan, band)
    # Inside a bucket the next band orders the rows, so that in a crowd the most similar ones are neighbours.
    order = np.lexsort((band_keys(signatures_NH, plan, band + 1), keys))
    keys = keys[order]
    found = [np.empty(0, dtype=np.int64)]
    for distance in range(1, NEIGHBOURS + 1):
        places = np.flatnonzero(keys[distance:] == keys[:-distance])
        if not places.size:
            break
        left, right = order[places], order[places + distance]
        wanted = ~(is_crowded[left] & is_crowded[right])
        left, right = left[wanted], right[wanted]
        found.append(np.minimum(left, right) << 32 | np.maximum(left, right))
    return np.concatenate(found)


def _may_reach(signatures_NH: np.ndarray, pairs: np.ndarray, threshold: float) -> np.ndarray:
    result = np.empty(len(pairs), dtype=bool)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = pairs[start : start + _PAIRS_AT_ONCE]
        left, right = signatures_NH[part >> 32], signatures_NH[part & 0xFFFFFFFF]
        result[start : start + _PAIRS_AT_ONCE] = estimates(left, right) >= least_estimate(threshold)
    return result


def _similarities(store: TextStore, pairs: np.ndarray) -> np.ndarray:
    """The exact similarity of each pair [P], which come in order; the sets held at once are bounded."""
    result = np.empty(len(pairs))
    rows = np.unique(pairs)
    if store.sizes(rows).sum() <= _SHINGLES_AT_ONCE:
        parts = [slice(0, len(pairs))]
    else:
        sizes = store.sizes(pairs[:, 0]) + store.sizes(pairs[:, 1])
        parts = split_by_size(sizes, _SHINGLES_AT_ONCE, len(pairs))
    for part in parts:
        rows, places = np.unique(pairs[part], return_inverse=True)
        sets: list[np.ndarray] = []
        for batch in split_by_size(store.sizes(rows), BATCH_CHARACTERS):
            sets += shingle_sets(store.take(rows[batch]))
        result[part] = jaccard(sets, places.reshape(-1, 2))
    return result


def shingle_sets(normal: list[str]) -> list[np.ndarray]:
    """The different shingle hashes of each normalised text, sorted, uint64."""
    hashes, starts = shingle_hashes(normal)
    bounds = starts.tolist()
    return [np.unique(hashes[a:b]) for a, b in itertools.pairwise(bounds)]


def jaccard(sets: list[np.ndarray], pairs: np.ndarray) -> np.ndarray:
    """The Jaccard similarity of pairs of sets of hashes, float64 [P]; pairs [P, 2] with equal first ones together.

    Hashes have 64 bits, so that a figure is off by a shingle less than once in 10^14 pairs of 200 shingles.
    """
    result = np.empty(len(pairs))
    cuts = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1, append=-1)).tolist()
    for start, stop in itertools.pairwise(cuts):
        ours = sets[pairs[start, 0]]
        theirs = [sets[place] for place in pairs[start:stop, 1]]
        sizes = np.array([len(other) for other in theirs])
        elements = np.concatenate(theirs)
        places = np.minimum(np.searchsorted(ours, elements), len(ours) - 1)
        common = np.add.reduceat(ours[places] == elements, np.cumsum(sizes) - sizes, dtype=np.int64)
        result[start:stop] = common / (len(ours) + sizes - common)
    return result
