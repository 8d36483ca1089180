"""Rows that begin with the same tokens, such as a system prompt: the beginning is laid out, and computed, once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuneloop.data.pack import pack_rows
from tuneloop.data.tokens.block import TokenRow

SHORTEST = 32
"""Tokens; a shorter common beginning is not worth a piece of its own."""


@dataclass(frozen=True)
class Pack:
    """Rows of one micro-batch, by their place among the rows of the step."""

    rows: tuple[int, ...]
    prefix: int = 0
    """So many tokens at the beginning are the same in all of them."""


def pack_with_prefixes(rows: Sequence[TokenRow], budget: int, *, shortest: int = SHORTEST) -> list[Pack]:
    """Micro-batches of at most `budget` tokens (a longer row has one of its own), common beginnings counted once.

    Rows with a common beginning share a micro-batch with each other alone. No target is in a common beginning, nor
    right behind it: its last state would have to predict for all of them.
    """
    groups, others = _groups(rows, shortest)
    packs = []
    for prefix, members in groups:
        lengths = [len(rows[member].ids) - prefix for member in members]
        for pack in pack_rows(lengths, max(1, budget - prefix)):
            chosen = tuple(members[place] for place in pack)
            packs.append(Pack(chosen, prefix if len(chosen) > 1 else 0))
    alone = pack_rows([len(rows[other].ids) for other in others], budget)
    return packs + [Pack(tuple(others[place] for place in pack)) for pack in alone]


def _groups(rows: Sequence[TokenRow], shortest: int) -> tuple[list[tuple[int, list[int]]], list[int]]:
    """(length of the common beginning, rows) of each group of two or more, and the rows in none."""
    by_beginning: dict[bytes, list[int]] = defaultdict(list)
    room = [_room(row) for row in rows]
    for index, row in enumerate(rows):
        beginning = row.ids[:shortest].tobytes() if room[index] >= shortest else b""
        by_beginning[beginning].append(index)
    others = by_beginning.pop(b"", [])
    groups = []
    for members in by_beginning.values():
        if len(members) == 1:
            others += members
        else:
            groups.append((_common(rows, members, min(room[member] for member in members)), members))
    return groups, sorted(others)


def _room(row: TokenRow) -> int:
    """The longest beginning that may be shared: the token behind it is no target either."""
    targets = np.flatnonzero(row.weights)
    return int(targets[0]) - 1 if len(targets) else len(row.ids) - 1


def _common(rows: Sequence[TokenRow], members: Sequence[int], longest: int) -> int:
    first = rows[members[0]].ids[:longest]
    for member in members[1:]:
        differs = np.flatnonzero(rows[member].ids[: len(first)] != first)
        first = first[: differs[0]] if len(differs) else first
    return len(first)
