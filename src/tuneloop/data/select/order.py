"""In which order the rows of an epoch come, and which of them a step takes: nothing to save but the step."""

import math
from dataclasses import dataclass, field
from typing import Literal, assert_never

import numpy as np

from tuneloop.core.errors import ConfigError
from tuneloop.core.seeds import keyed_hash, keyed_permutation
from tuneloop.data.select.mixture import Mixture, epoch_rows, epoch_size, plain_mixture

OrderKind = Literal["shuffle", "file", "length", "score"]
"""`shuffle`: by chance, anew each epoch. `file`: as they stand. `length`, `score`: a curriculum, low values first."""

_CACHED_EPOCHS = 2
_BUCKETS = 100
_SMALLEST_BUCKET = 16


def epoch_order(rows: np.ndarray, kind: OrderKind, keys: np.ndarray | None, seed: int, epoch: int) -> np.ndarray:
    """The same rows in the order in which an epoch, counted from 0, visits them.

    `length` and `score` sort by `keys[row]`, rows of equal key by chance, and shuffle inside buckets of a hundredth
    of the rows (at least 16), so that no two epochs are alike and neighbours differ. Rows whose key is NaN come
    last, shuffled among themselves.

    Source: Bengio et al. 2009, "Curriculum learning", for easy before hard; the buckets are ours.
    """
    match kind:
        case "file":
            return rows
        case "shuffle":
            return rows[keyed_permutation(len(rows), seed, "order", epoch)]
        case "length" | "score":
            assert keys is not None, f"an order by {kind} needs a key for each row"
            return rows[_by_key(keys[rows], seed, epoch)]
        case unreachable:
            assert_never(unreachable)


def _by_key(keys: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    by_chance = keyed_permutation(len(keys), seed, "order", epoch, "ties")
    ascending = by_chance[np.argsort(keys[by_chance], kind="stable")]
    num_keyed = len(keys) - int(np.isnan(keys).sum())
    bucket = max(_SMALLEST_BUCKET, math.ceil(num_keyed / _BUCKETS))
    inside = WindowedOrder(num_keyed, bucket, seed, epoch).index_at(np.arange(num_keyed))
    # Those without a key all tie, so that they are shuffled already.
    return np.concatenate((ascending[inside], ascending[num_keyed:]))


@dataclass(frozen=True)
class WindowedOrder:
    """A shuffle inside consecutive windows: what comes at a place depends on the rows of its window alone.

    For rows that are streamed: whoever holds a window can order it. A window as large as the whole is the whole
    shuffle, `keyed_permutation(num_rows, seed, "order", epoch)`.
    """

    num_rows: int
    window: int
    """In rows; the last window may be smaller."""
    seed: int
    epoch: int

    def index_at(self, positions: np.ndarray) -> np.ndarray:
        """The rows that come at these positions, 0 to num_rows - 1; int64, like `positions` in shape.

        Costs a sort of each window that is touched.
        """
        assert self.window > 0, "a window has rows"
        window = min(self.window, max(1, self.num_rows))
        windows, of_position = np.unique(positions // window, return_inverse=True)
        rows = windows[:, None] * window + np.arange(window)
        hashes = keyed_hash(rows, self.seed, "order", self.epoch)
        # Beyond the end nothing may come forward; at equal hashes the stable sort keeps the real row first.
        hashes[rows >= self.num_rows] = np.iinfo(np.uint64).max
        inside = np.argsort(hashes, axis=1, kind="stable")
        return windows[of_position] * window + inside[of_position, positions % window]


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """What the training loop holds: which rows each step takes, for any number of epochs.

    A function of (mixture, kind, keys, seed, step), so that a run that goes on needs the number of its step only.
    """

    mixture: Mixture
    kind: OrderKind
    keys: np.ndarray | None
    """For `length` and `score`: a number for each row of all sources, [sum(mixture.sizes)]; NaN: it has none."""
    seed: int
    _orders: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    """The orders used last: a step that ends an epoch and one that begins the next are asked for in turns."""

    def __post_init__(self) -> None:
        if self.kind not in ("length", "score"):
            return
        if self.keys is None or np.isnan(self.keys).all():
            raise ConfigError(f"data.order is {self.kind!r}, but no row has a {self.kind}. Choose shuffle or file.")
        assert len(self.keys) == sum(self.mixture.sizes), "one key a row"

    def steps_per_epoch(self, batch_size: int) -> int:
        """Optimiser steps in one epoch; the last one may be smaller."""
        return -(-epoch_size(self.mixture) // batch_size)

    def rows_of_step(self, batch_size: int, step: int) -> list[int]:
        """The rows of one step, counted from 0 over all epochs, as indices over all sources."""
        epoch, within = divmod(step, self.steps_per_epoch(batch_size))
        return self.order_of(epoch)[within * batch_size : (within + 1) * batch_size].tolist()

    def order_of(self, epoch: int) -> np.ndarray:
        """All rows of an epoch in their order, int64 [epoch_size]; read-only."""
        order = self._orders.pop(epoch, None)
        if order is None:
            order = epoch_order(epoch_rows(self.mixture, self.seed, epoch), self.kind, self.keys, self.seed, epoch)
            order.flags.writeable = False
        self._orders[epoch] = order
        if len(self._orders) > _CACHED_EPOCHS:
            del self._orders[next(iter(self._orders))]
        return order


def plain_plan(num_rows: int, seed: int) -> EpochPlan:
    """Each row once an epoch, in an order of its own."""
    return EpochPlan(plain_mixture(num_rows), "shuffle", None, seed)
