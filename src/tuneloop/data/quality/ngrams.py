"""Runs of words that two texts share word for word, and which held-out rows a training row shares many of."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tuneloop.data.quality.shingles import code_points, dense_table, mix
from tuneloop.data.quality.texts import ranges, split_by_size

_SEED_WORD, _SEED_RUN = np.uint64(0xD1342543DE82EF95), np.uint64(0x2545F4914F6CDD1D)
_FILTER = np.uint64((1 << 24) - 1)
_EXPANDED_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class Ngrams:
    """The runs of words of several texts, one after another."""

    hashes: np.ndarray
    """uint64 [G]"""
    row: np.ndarray
    """int64 [G]: the text that each stands in."""

    def distinct(self) -> "Ngrams":
        """Each run once a text, in order of the texts."""
        order = np.lexsort((self.hashes, self.row))
        hashes, row = self.hashes[order], self.row[order]
        is_new = np.ones(len(row), dtype=bool)
        is_new[1:] = (hashes[1:] != hashes[:-1]) | (row[1:] != row[:-1])
        return Ngrams(hashes[is_new], row[is_new])


def ngrams(normal: list[str], words: int, characters: int) -> Ngrams:
    """The runs of `words` words; a run that begins with a Chinese character has `characters` units.

    A unit is a word (letters and digits in a row), or one Chinese or Japanese character; marks and spaces only
    part them. A text with fewer units has none.
    """
    units, row = _unit_hashes(normal)
    num = len(units.hashes)
    ends = np.searchsorted(row, row, side="right")
    size = np.where(units.is_dense, characters, words)
    fits = np.arange(num) + size <= ends
    longest = max(words, characters)
    padded = np.concatenate([units.hashes, np.zeros(longest, dtype=np.uint64)])
    runs = np.zeros(num, dtype=np.uint64)
    for step in range(longest):
        piece = np.where(step < size, padded[step : step + num], np.uint64(0))
        runs = runs * _SEED_RUN + piece
    return Ngrams(mix(runs)[fits], row[fits])


@dataclass(frozen=True, slots=True)
class _Units:
    hashes: np.ndarray
    is_dense: np.ndarray


def _unit_hashes(normal: list[str]) -> tuple[_Units, np.ndarray]:
    """A hash of every word or Chinese character, and the row it stands in."""
    points, bounds = code_points(normal)
    row = np.repeat(np.arange(len(normal)), np.diff(bounds))
    is_dense = dense_table()[points]
    is_letter = _letter_table()[points]
    begins = is_letter.copy()
    begins[1:] &= ~is_letter[:-1] | is_dense[1:] | is_dense[:-1] | (row[1:] != row[:-1])
    starts = np.flatnonzero(begins)
    unit = np.cumsum(begins)[is_letter] - 1
    place = (np.flatnonzero(is_letter) - starts[unit]).astype(np.uint64)
    letters = mix(points[is_letter] + (place + np.uint64(1)) * _SEED_WORD)
    hashes = np.add.reduceat(letters, np.flatnonzero(begins[is_letter])) if starts.size else letters
    return _Units(hashes, is_dense[starts]), row[starts]


@lru_cache(maxsize=1)
def _letter_table() -> np.ndarray:
    """For every code point, whether it is a letter or a digit."""
    return np.array([chr(point).isalnum() for point in range(0x110000)])


class SharedRuns:
    """Counts, for held-out texts and a stream of training texts, the runs of words that two of them share."""

    def __init__(self, held_out: list[str], *, words: int, characters: int, boilerplate_rows: int) -> None:
        self._size = (words, characters)
        self._limit = boilerplate_rows
        runs = ngrams(held_out, words, characters).distinct()
        self._runs, run, counts = np.unique(runs.hashes, return_inverse=True, return_counts=True)
        order = np.argsort(run, kind="stable")
        self._holders = runs.row[order]
        """The held-out texts of each run; those of run i begin at `_bounds[i]`."""
        self._bounds = np.concatenate([[0], np.cumsum(counts)])
        self._num_held_out = len(held_out)
        # A run in many held-out rows counts as seen in too many training rows from the start.
        self._seen = np.where(counts > boilerplate_rows, boilerplate_rows + 1, 0)
        self._filter = np.zeros(int(_FILTER) + 1, dtype=bool)
        self._filter[self._runs & _FILTER] = True
        self._matches: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, normal: list[str], first_row: int) -> None:
        """Look through some training texts; the first of them has the number `first_row`."""
        if not len(self._runs):
            return
        found = ngrams(normal, *self._size)
        maybe = np.flatnonzero(self._filter[found.hashes & _FILTER])
        hits = Ngrams(found.hashes[maybe], found.row[maybe]).distinct()
        run = np.minimum(np.searchsorted(self._runs, hits.hashes), len(self._runs) - 1)
        is_hit = self._runs[run] == hits.hashes
        run, row = run[is_hit], hits.row[is_hit]
        self._seen += np.bincount(run, minlength=len(self._runs))
        keep = self._seen[run] <= self._limit
        if keep.any():
            self._matches.append((row[keep] + first_row, run[keep]))

    def pairs(self, min_share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The pairs that share enough: training rows, held-out texts, and the share of the held-out text's runs."""
        counts = np.diff(self._bounds)
        counted = self._seen <= self._limit
        total = np.bincount(self._holders[np.repeat(counted, counts)], minlength=self._num_held_out)
        train = np.concatenate([np.empty(0, dtype=np.int64), *(row for row, _ in self._matches)])
        run = np.concatenate([np.empty(0, dtype=np.int64), *(run for _, run in self._matches)])
        train, run = train[counted[run]], run[counted[run]]
        cuts = np.flatnonzero(np.diff(train, prepend=-1, append=-1)) if len(train) else np.zeros(1, dtype=np.int64)
        work = np.add.reduceat(counts[run], cuts[:-1]) if len(train) else np.empty(0, dtype=np.int64)
        parts = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))]
        for rows in split_by_size(work, _EXPANDED_AT_ONCE, len(work)):
            part = slice(cuts[rows.start], cuts[rows.stop])
            places = ranges(self._bounds[run[part]], counts[run[part]])
            key = np.repeat(train[part], counts[run[part]]) * self._num_held_out + self._holders[places]
            pair, shared = np.unique(key, return_counts=True)
            held_out = pair % self._num_held_out
            share = shared / total[held_out]
            enough = share >= min_share
            parts.append((pair[enough] // self._num_held_out, held_out[enough], share[enough]))
        columns = zip(*parts, strict=True)
        rows, held_out, share = (np.concatenate(column) for column in columns)
        return rows, held_out, share
