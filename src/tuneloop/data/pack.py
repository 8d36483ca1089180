"""How rows share micro-batches: whole conversations, up to a token budget."""

import itertools
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


def pack_rows(lengths: Sequence[int] | np.ndarray, budget: int) -> list[list[int]]:
    """Put rows into as few packs as best-fit decreasing finds, each at most `budget` tokens.

    Longest rows first, each into the fullest pack that still has room for it; rows of equal length in the order that
    they came in. A row longer than the budget has a pack of its own; an empty row takes the room of one token.
    Packs come in the order of their longest rows.

    Source: Johnson et al. 1974, "Worst-case performance bounds for simple one-dimensional packing algorithms" (best-
    and first-fit decreasing need at most 11/9 of the optimum, plus a constant).
    """
    order, pack_of = _best_fit(np.asarray(lengths, np.int64), budget)
    by_pack = np.argsort(_narrow(pack_of), kind="stable")
    bounds = np.flatnonzero(np.diff(pack_of[by_pack])) + 1
    flat = order[by_pack].tolist()
    starts = [0, *bounds.tolist(), len(flat)]
    return [flat[start:end] for start, end in itertools.pairwise(starts) if start < end]


def packing_waste(lengths: Sequence[int] | np.ndarray, packs: Sequence[Sequence[int]], budget: int) -> float:
    """The share of the packs' room that holds no token, 0 to 1.

    A row longer than the budget fills a pack of its own size. Ten tokens in two packs of eight: 6 / 16.
    """
    sizes = np.asarray(lengths, np.int64)
    used = [int(sizes[list(pack)].sum()) for pack in packs]
    room = sum(max(budget, tokens) for tokens in used)
    return 1 - sum(used) / room if room else 0.0


@dataclass(frozen=True)
class _OpenPacks:
    """Packs by the room that they have left. Packs of equal room are kept as runs of consecutive numbers."""

    rooms: list[int] = field(default_factory=list)
    """Ascending; those that some pack has."""
    runs: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Room -> (first pack, number of packs) of each run."""

    def put(self, room: int, first: int, number: int) -> None:
        if room not in self.runs:
            insort(self.rooms, room)
            self.runs[room] = []
        self.runs[room].append((first, number))

    def take(self, length: int) -> tuple[int, int, int] | None:
        """The room, first pack and number of packs of a run that is the tightest fit for `length`."""
        place = bisect_left(self.rooms, length)
        if place == len(self.rooms):
            return None
        room = self.rooms[place]
        first, number = self.runs[room].pop()
        if not self.runs[room]:
            del self.runs[room], self.rooms[place]
        return room, first, number


def _best_fit(lengths: np.ndarray, budget: int) -> tuple[np.ndarray, np.ndarray]:
    """Row indices, longest first, and the pack of each.

    All rows of one length are placed at once: the tightest pack stays the tightest until the length no longer fits
    it, so a run of equal packs takes `room // length` rows each. The work is sorting the rows, plus one step for
    each meeting of a length with a run.
    """
    if not len(lengths):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    sizes = np.maximum(lengths, 1)
    order = np.argsort(_narrow(sizes.max() - sizes), kind="stable")
    bounds = np.flatnonzero(np.diff(sizes[order], prepend=0))
    classes = sizes[order[bounds]].tolist()
    counts = np.diff(bounds, append=len(sizes)).tolist()
    packs = _OpenPacks()
    opened = 0
    fills: list[tuple[int, int, int]] = []
    for length, count in zip(classes, counts, strict=True):
        left = count
        while left:
            found = packs.take(length)
            if found is None:
                room = max(budget, length)
                first, number = opened, -(-left // (room // length))
                opened += number
            else:
                room, first, number = found
            each = room // length
            full = min(number, left // each)
            rest = left - full * each if full < number else 0
            for start, size, rows in ((first, full, each), (first + full, 1 if rest else 0, rest)):
                if size:
                    fills.append((start, size, rows))
                    packs.put(room - rows * length, start, size)
                    left -= size * rows
            untouched = number - full - (1 if rest else 0)
            if untouched:
                packs.put(room, first + number - untouched, untouched)
    firsts, numbers, rows_each = np.array(fills, np.int64).T
    rows_of_fill = numbers * rows_each
    within = np.arange(len(sizes)) - np.repeat(np.cumsum(rows_of_fill) - rows_of_fill, rows_of_fill)
    return order, np.repeat(firsts, rows_of_fill) + within // np.repeat(rows_each, rows_of_fill)


def _narrow(values: np.ndarray) -> np.ndarray:
    """The same values in the smallest type that holds them: numpy sorts 16 bits by radix, ten times faster."""
    return values.astype(np.min_scalar_type(int(values.max()))) if len(values) else values
