"""Finds rows that say almost the same: exact copies, and pairs whose texts share most of their shingles."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tuneloop.core.errors import ConfigError
from tuneloop.data.quality.minhash import NUM_HASHES, Banding, band_keys, banding_for, may_reach, signatures
from tuneloop.data.quality.shingles import shingle_hashes
from tuneloop.data.quality.texts import BATCH_CHARACTERS, TextStore, duplicate_groups, ranges, split_by_size

NEIGHBOURS = 16
"""In a bucket of more rows than this, each is compared with that many next ones, not with all."""
_NEIGHBOURS_IN_A_FLOOD = 2
_FLOOD = 16
"""Candidates a row, from which on further bands only look at the nearest neighbours: memory stays bounded."""
_PAIRS_AT_ONCE = 1 << 15
_SHINGLES_AT_ONCE = 1 << 22
_HASH_BITS = np.uint64(48)


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Pairs of rows whose texts are the same or nearly so."""

    num_rows: int
    pairs: np.ndarray
    """int64 [P, 2]: a < b, in order. Of exact copies, each is paired with the first, which stands for all of them.
    In a crowd (more than 17 rows in a bucket) not every pair is listed, but `clusters` joins the crowd."""
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
        texts: read once; about 600 bytes a row are held, plus the text.
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
    found = np.empty(0, dtype=np.int64)
    for band in range(plan.bands):
        neighbours = NEIGHBOURS if len(found) <= _FLOOD * len(signatures_NH) else _NEIGHBOURS_IN_A_FLOOD
        pairs = _bucket_pairs(signatures_NH, plan, band, neighbours)
        found = np.union1d(found, pairs[_may_reach(signatures_NH, pairs, threshold)])
    return found


def _bucket_pairs(signatures_NH: np.ndarray, plan: Banding, band: int, neighbours: int) -> np.ndarray:
    """The pairs that one band brings together, unchecked."""
    keys = band_keys(signatures_NH, plan, band)
    # Inside a bucket the next band orders the rows, so that in a crowd the most similar ones are neighbours.
    order = np.lexsort((band_keys(signatures_NH, plan, band + 1), keys))
    keys = keys[order]
    found = [np.empty(0, dtype=np.int64)]
    for distance in range(1, neighbours + 1):
        places = np.flatnonzero(keys[distance:] == keys[:-distance])
        if not places.size:
            break
        left, right = order[places], order[places + distance]
        found.append(np.minimum(left, right) << 32 | np.maximum(left, right))
    return np.concatenate(found)


def _may_reach(signatures_NH: np.ndarray, pairs: np.ndarray, threshold: float) -> np.ndarray:
    result = np.empty(len(pairs), dtype=bool)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = pairs[start : start + _PAIRS_AT_ONCE]
        left, right = signatures_NH[part >> 32], signatures_NH[part & 0xFFFFFFFF]
        result[start : start + _PAIRS_AT_ONCE] = may_reach(left, right, threshold)
    return result


def _similarities(store: TextStore, pairs: np.ndarray) -> np.ndarray:
    """The exact similarity of each pair [P], in batches of bounded memory."""
    result = np.empty(len(pairs))
    sizes = store.sizes(pairs[:, 0]) + store.sizes(pairs[:, 1])
    for part in split_by_size(sizes, _SHINGLES_AT_ONCE, _PAIRS_AT_ONCE):
        rows, places = np.unique(pairs[part], return_inverse=True)
        texts = store.take(rows)
        result[part] = jaccard(texts, places.reshape(-1, 2))
    return result


def jaccard(normal: list[str], pairs: np.ndarray) -> np.ndarray:
    """The Jaccard similarity of the shingles of pairs of normalised texts, float64 [P]; at most 32,768 pairs.

    Sets are compared by 48 bits of each hash: for two texts of 200 shingles one figure in 10^9 is off by one
    shingle.
    """
    hashes, starts = shingle_hashes(normal)
    row = np.repeat(np.arange(len(normal), dtype=np.uint64), np.diff(starts))
    elements = np.unique((row << _HASH_BITS) | (hashes >> np.uint64(16)))
    bounds = np.searchsorted(elements >> _HASH_BITS, np.arange(len(normal) + 1, dtype=np.uint64))
    sizes = np.diff(bounds)[pairs]
    members = np.sort(np.concatenate([_of_pairs(elements, bounds, pairs[:, side]) for side in (0, 1)]))
    shared = members[1:][members[1:] == members[:-1]] >> _HASH_BITS
    common = np.bincount(shared.astype(np.int64), minlength=len(pairs))
    return common / (sizes.sum(axis=1) - common)


def _of_pairs(elements: np.ndarray, bounds: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The elements of the row on one side of each pair, marked with the number of the pair."""
    counts = bounds[rows + 1] - bounds[rows]
    places = ranges(bounds[rows], counts)
    pair = np.repeat(np.arange(len(rows), dtype=np.uint64), counts)
    low_bits = (np.uint64(1) << _HASH_BITS) - np.uint64(1)
    return (pair << _HASH_BITS) | (elements[places] & low_bits)
