"""Which rows are held out for evaluation: by chance, by strata, and never a group on both sides."""

from dataclasses import dataclass

import numpy as np

from tuneloop.core.errors import DataError
from tuneloop.core.seeds import keyed_hash
from tuneloop.data.select.draw import apportion


@dataclass(frozen=True, eq=False)
class SplitBy:
    """What a split knows of the rows; each an array [num_rows], or None."""

    keys: np.ndarray | None = None
    """uint64, a hash of what a row says. The draw goes by it, not by the row's place: rows that are added, removed or
    moved leave nearly all others on their side."""
    strata: np.ndarray | None = None
    """A label of any type that sorts. Each stratum is held out in the same share."""
    groups: np.ndarray | None = None
    """A label of any type that sorts. Rows of equal label, such as near-duplicates, stay on one side."""


def eval_size(num_rows: int, fraction: float, limit: int | None) -> int:
    """Rows to hold out: a share of them, at least one and not all of them, and at most `limit`."""
    number = round(num_rows * fraction)
    if fraction > 0 and num_rows > 1:
        number = min(max(number, 1), num_rows - 1)
    return number if limit is None else min(number, limit)


def split_rows(
    num_rows: int, fraction: float, seed: int, *, by: SplitBy | None = None, limit: int | None = None
) -> np.ndarray:
    """Which rows are held out, bool [num_rows]: `eval_size` of them, drawn by the seed.

    With strata, each is held out in proportion (by largest remainder), and the number stays exact. A group counts to
    the stratum of its first row by key.

    With groups, whole groups are drawn, large and small alike; one that is larger than what is still wanted is
    passed over. A stratum (all rows, where there are none) so gets at most its number, and falls short of it by less
    than its smallest group that was passed over. Only if nothing at all fits, the smallest group is held out, and
    that may be more than `limit`.

    With neither and without keys, these are the first of `keyed_permutation(num_rows, seed, "split")`.

    Raises:
        DataError: all rows are one group, so none can be held out.
    """
    by = by or SplitBy()
    wanted = eval_size(num_rows, fraction, limit)
    if not wanted:
        return np.zeros(num_rows, np.bool_)
    units = _units(num_rows, seed, by)
    if by.groups is not None and len(units.sizes) == 1 and num_rows > 1:
        raise DataError(
            "data.split: all rows are in one group, so none can be held out without its likes in training. "
            "Name other rows under data.eval, or drop keep_together."
        )
    held_out = _draw(units, wanted)
    if not held_out.any():
        held_out[np.lexsort((units.hashes, units.sizes))[0]] = True
    return held_out[units.of_row]


@dataclass(frozen=True, eq=False)
class _Units:
    """What is drawn as one: a group, or a row where there are no groups."""

    of_row: np.ndarray
    sizes: np.ndarray
    hashes: np.ndarray
    strata: np.ndarray


def _units(num_rows: int, seed: int, by: SplitBy) -> _Units:
    keys = np.arange(num_rows, dtype=np.uint64) if by.keys is None else by.keys.astype(np.uint64)
    strata = np.zeros(num_rows, np.int64) if by.strata is None else np.unique(by.strata, return_inverse=True)[1]
    assert len(keys) == len(strata) == num_rows, "one key and one stratum a row"
    if by.groups is None:
        return _Units(np.arange(num_rows), np.ones(num_rows, np.int64), keyed_hash(keys, seed, "split"), strata)
    assert len(by.groups) == num_rows, "one group a row"
    _, of_row, sizes = np.unique(by.groups, return_inverse=True, return_counts=True)
    # A group is drawn by the lowest key in it, before hashing: by the lowest hash, large groups would come first.
    lowest = np.full(len(sizes), np.iinfo(np.uint64).max)
    np.minimum.at(lowest, of_row, keys)
    stratum = np.full(len(sizes), num_rows)
    is_lowest = keys == lowest[of_row]
    np.minimum.at(stratum, of_row[is_lowest], strata[is_lowest])
    return _Units(of_row, sizes, keyed_hash(lowest, seed, "split"), stratum)


def _draw(units: _Units, wanted: int) -> np.ndarray:
    """Which units are held out: in each stratum by rising hash, as long as they fit."""
    totals = np.bincount(units.strata, weights=units.sizes)
    left = apportion(wanted, totals)
    order = np.lexsort((units.hashes, units.strata))
    strata, sizes = units.strata[order], units.sizes[order]
    before = np.concatenate(([0], np.cumsum(totals)))[strata]
    is_taken = np.cumsum(sizes) - before <= left[strata]
    left -= np.bincount(strata[is_taken], weights=sizes[is_taken], minlength=len(left)).astype(np.int64)
    # What the first group too large has kept out may still fit: smaller ones behind it, one by one.
    for place in np.flatnonzero(~is_taken & (sizes <= left[strata])).tolist():
        if sizes[place] <= left[strata[place]]:
            is_taken[place] = True
            left[strata[place]] -= sizes[place]
    held_out = np.zeros(len(order), np.bool_)
    held_out[order[is_taken]] = True
    return held_out
