"""Which rows a step learns from, and how they share micro-batches: whole conversations up to a token budget."""

import functools
from collections.abc import Sequence

import numpy as np

from tuneloop.core.seeds import keyed_permutation


def steps_of_epoch(num_rows: int, batch_size: int) -> int:
    """Optimiser steps in one pass over the rows; the last one may be smaller."""
    return -(-num_rows // batch_size)


def rows_of_step(num_rows: int, batch_size: int, step: int, *, seed: int) -> list[int]:
    """The rows of one step, counted from 0: a pure function of (seed, step), so nothing about it is saved.

    Every epoch visits each row once, in an order of its own.
    """
    epoch, within = divmod(step, steps_of_epoch(num_rows, batch_size))
    order = _order_of_epoch(num_rows, seed, epoch)
    return order[within * batch_size : (within + 1) * batch_size].tolist()


@functools.lru_cache(maxsize=2)
def _order_of_epoch(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    return keyed_permutation(num_rows, seed, "order", epoch)


def pack_rows(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Put rows into as few packs as first-fit decreasing finds, each at most `budget` tokens.

    A row longer than the budget has a pack of its own. Source: Johnson 1973 (first-fit decreasing needs at most
    11/9 of the optimum, plus 6/9).
    """
    packs: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        for pack, free in enumerate(room):
            if lengths[index] <= free:
                packs[pack].append(index)
                room[pack] -= lengths[index]
                break
        else:
            packs.append([index])
            room.append(budget - lengths[index])
    return packs
