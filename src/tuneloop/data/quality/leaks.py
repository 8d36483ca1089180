"""Finds training rows that give away a held-out row: the same text, nearly the same, or a large part word for word."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tuneloop.core.errors import ConfigError
from tuneloop.data.quality.minhash import Banding, band_keys, banding_for, estimates, least_estimate, signatures
from tuneloop.data.quality.near import check_threshold, jaccard, shingle_sets
from tuneloop.data.quality.ngrams import SharedRuns
from tuneloop.data.quality.shingles import normalise
from tuneloop.data.quality.texts import BATCH_CHARACTERS, batched, ranges, split_by_size

_NEIGHBOURS = 16
"""A training row is compared with at most this many held-out rows: the nearest of a bucket, the nearest of all."""
_PAIRS_AT_ONCE = 1 << 14
_CHARACTERS_AT_ONCE = 1 << 22
_KINDS: tuple[Literal["exact", "near", "ngram"], ...] = ("exact", "near", "ngram")
_FOUND = np.dtype([("train", np.int64), ("eval", np.int64), ("kind", np.int8), ("similarity", np.float64)])


@dataclass(frozen=True, slots=True)
class LeakRules:
    """What counts as a leak."""

    threshold: float = 0.8
    """near: the least Jaccard similarity of the shingles."""
    words: int = 13
    """ngram: words of a run (Brown et al. 2020, arXiv:2005.14165, appendix C)."""
    characters: int = 20
    """ngram: Chinese characters of a run. A Chinese word has about 1.6 of them, so this is about 13 words."""
    min_share: float = 0.5
    """ngram: the least share of a held-out row's runs that stand in one training row."""
    boilerplate_rows: int = 100
    """ngram: a run in more training rows than this, or in more held-out rows, is boilerplate and does not count
    (appendix C has 10; instruction data repeats a leaked row more often than that)."""

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        if min(self.words, self.characters, self.boilerplate_rows) < 1 or not 0 < self.min_share <= 1:
            raise ConfigError(f"leaks: {self} needs counts of at least 1 and a min_share in (0, 1].")


@dataclass(frozen=True, slots=True)
class Leak:
    """A training row that gives away a held-out row; both are counted from 0."""

    train: int
    eval: int
    kind: Literal["exact", "near", "ngram"]
    similarity: float
    """exact: 1.0; near: the Jaccard similarity; ngram: the share of the held-out row's runs of words."""


def find_leaks(
    train_texts: Iterable[str], eval_texts: Iterable[str], rules: LeakRules = LeakRules(), *, seed: int = 0
) -> list[Leak]:
    """Find every training row that leaks, and every held-out row that is leaked.

    Each leaking training row is named with the held-out row that it is most like (exact before near before
    ngram), and each leaked held-out row with the training row most like it; not all pairs are listed.

    Give prompts on both sides to find the same question with any answer. Give whole texts to find a held-out
    row told inside a longer one. Empty texts leak nothing.

    Held-out rows are indexed and held in memory; training rows are read once, in batches.
    """
    texts, copies = _distinct_texts(eval_texts)
    if not texts:
        return []
    exact = {text: number for number, text in enumerate(texts)}
    index = _NearIndex.build(texts, rules.threshold, seed)
    runs = SharedRuns(texts, words=rules.words, characters=rules.characters, boilerplate_rows=rules.boilerplate_rows)
    found, num_train = [], 0
    for batch in batched(train_texts):
        same = np.array([exact.get(text, -1) for text in batch])
        rows = np.flatnonzero(same >= 0)
        found.append(_findings(rows + num_train, same[rows], "exact", np.ones(len(rows))))
        rows, numbers, similarity = index.search(batch)
        found.append(_findings(rows + num_train, numbers, "near", similarity))
        runs.add(batch, num_train)
        num_train += len(batch)
    rows, numbers, share = runs.pairs(rules.min_share)
    found.append(_findings(rows, numbers, "ngram", share))
    return _named(np.concatenate(found), copies)


def _distinct_texts(eval_texts: Iterable[str]) -> tuple[list[str], list[list[int]]]:
    """The different normalised texts that are not empty, and the rows of each."""
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(eval_texts):
        if normal := normalise(text):
            rows.setdefault(normal, []).append(row)
    return list(rows), list(rows.values())


@dataclass(frozen=True, slots=True)
class _Bucket:
    """One band of the held-out texts, in order of its key and then of the next band's key."""

    keys: np.ndarray
    """uint64: the different keys, sorted."""
    places: np.ndarray
    """uint64 [E]: the number of the key, and 40 bits of the next band's key."""
    order: np.ndarray

    @staticmethod
    def build(signatures_EH: np.ndarray, plan: Banding, band: int) -> "_Bucket":
        keys, number = np.unique(band_keys(signatures_EH, plan, band), return_inverse=True)
        places = _place(number, band_keys(signatures_EH, plan, band + 1))
        order = np.argsort(places)
        return _Bucket(keys, places[order], order)

    def neighbours(self, keys: np.ndarray, next_keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of a training text and a held-out text in the same bucket, the most similar ones of a crowd."""
        number = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        rows = np.flatnonzero(self.keys[number] == keys)
        number = number[rows]
        first = np.searchsorted(self.places, _place(number, np.zeros(len(rows), dtype=np.uint64)))
        last = np.searchsorted(self.places, _place(number + 1, np.zeros(len(rows), dtype=np.uint64)))
        near = np.searchsorted(self.places, _place(number, next_keys[rows]))
        start = np.maximum(first, np.minimum(near, last - _NEIGHBOURS))
        counts = np.minimum(last - start, _NEIGHBOURS)
        return np.repeat(rows, counts), self.order[ranges(start, counts)]


def _place(number: np.ndarray, next_keys: np.ndarray) -> np.ndarray:
    return (number.astype(np.uint64) << np.uint64(40)) | (next_keys >> np.uint64(24))


@dataclass(frozen=True, slots=True)
class _NearIndex:
    """Finds the held-out texts that are near a training text."""

    texts: list[str]
    signatures_EH: np.ndarray
    plan: Banding
    buckets: list[_Bucket]
    threshold: float
    seed: int

    @staticmethod
    def build(texts: list[str], threshold: float, seed: int) -> "_NearIndex":
        parts = split_by_size(np.array([len(text) for text in texts]), BATCH_CHARACTERS)
        signatures_EH = np.concatenate([signatures(texts[part], seed) for part in parts])
        plan = banding_for(threshold)
        buckets = [_Bucket.build(signatures_EH, plan, band) for band in range(plan.bands)]
        return _NearIndex(texts, signatures_EH, plan, buckets, threshold, seed)

    def search(self, normal: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The pairs that reach the threshold: places in `normal`, held-out texts, similarity."""
        pairs = self._candidates(normal)
        similarity = np.empty(len(pairs))
        sizes = np.array([len(normal[a]) + len(self.texts[b]) for a, b in pairs.tolist()], dtype=np.int64)
        for part in split_by_size(sizes, _CHARACTERS_AT_ONCE, _PAIRS_AT_ONCE):
            ours, place = np.unique(pairs[part, 0], return_inverse=True)
            theirs, other = np.unique(pairs[part, 1], return_inverse=True)
            sets = shingle_sets([normal[i] for i in ours.tolist()] + [self.texts[i] for i in theirs.tolist()])
            similarity[part] = jaccard(sets, np.stack([place, len(ours) + other], axis=1))
        reached = similarity >= self.threshold
        return pairs[reached, 0], pairs[reached, 1], similarity[reached]

    def _candidates(self, normal: list[str]) -> np.ndarray:
        signatures_NH = signatures(normal, self.seed)
        keys = band_keys(signatures_NH, self.plan, 0)
        found = [np.empty(0, dtype=np.int64)]
        for band, bucket in enumerate(self.buckets):
            next_keys = band_keys(signatures_NH, self.plan, band + 1)
            rows, numbers = bucket.neighbours(keys, next_keys)
            found.append(rows << 32 | numbers)
            keys = next_keys
        pairs = np.unique(np.concatenate(found))
        rows, numbers = pairs >> 32, pairs & 0xFFFFFFFF
        estimate = np.empty(len(pairs))
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            estimate[part] = estimates(signatures_NH[rows[part]], self.signatures_EH[numbers[part]])
        order = np.lexsort((-estimate, rows))
        order = order[estimate[order] >= least_estimate(self.threshold)]
        rows, numbers = rows[order], numbers[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        best = rank < _NEIGHBOURS
        return np.stack([rows[best], numbers[best]], axis=1)


def _findings(train: np.ndarray, numbers: np.ndarray, kind: str, similarity: np.ndarray) -> np.ndarray:
    found = np.empty(len(train), dtype=_FOUND)
    found["train"], found["eval"], found["kind"], found["similarity"] = train, numbers, _KINDS.index(kind), similarity
    return found


def _named(found: np.ndarray, copies: list[list[int]]) -> list[Leak]:
    """The best finding of each training row and of each held-out text, with every copy of a held-out row named."""
    worst_last = np.lexsort((found["eval"], found["train"], -found["similarity"], found["kind"]))
    found = found[worst_last]
    best_of_train = np.unique(found["train"], return_index=True)[1]
    best_of_eval = np.unique(found["eval"], return_index=True)[1]
    leaks = {
        (int(item["train"]), copies[item["eval"]][0]): _leak(item, copies[item["eval"]][0])
        for item in found[np.union1d(best_of_train, best_of_eval)]
    }
    for item in found[best_of_eval]:
        for row in copies[item["eval"]][1:]:
            leaks[int(item["train"]), row] = _leak(item, row)
    return [leaks[key] for key in sorted(leaks)]


def _leak(item: np.void, row: int) -> Leak:
    return Leak(int(item["train"]), row, _KINDS[item["kind"]], float(item["similarity"]))
