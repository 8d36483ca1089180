"""Rows that are trained on while their file is still being read: the first step waits for one window, not for all."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from tuneloop.core.stop import Stop
from tuneloop.data.schema import Origin
from tuneloop.data.select.order import WindowedOrder
from tuneloop.data.tokens.block import TokenRow
from tuneloop.data.tokens.shards import Shard, StoreManifest

_POLL_S = 0.2


@dataclass(frozen=True)
class StreamFilter:
    """Which rows a stream passes on."""

    longest: int
    """Tokens."""
    held_out: np.ndarray
    """uint64 [E, 2], sorted by the first column: the keys of rows that must not be trained on."""
    drop_duplicates: bool = True


@dataclass(frozen=True)
class StreamedFile:
    """What the recipe says of a file."""

    name: str
    weight: float


@dataclass
class StreamCounts:
    """The ledger of a stream: read + added = kept + every named reason, once all is read."""

    kept: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the files that were read to their end: rows read and added, and those that could not be used."""

    def add_file(self, name: str, manifest: StoreManifest) -> None:
        """A file was read to its end."""
        self.files[name] = {"read": manifest.read, "added": manifest.added, "problems": manifest.problems}

    def as_json(self, *, is_complete: bool) -> dict[str, Any]:
        """The ledger as far as it goes; checks that it adds up."""
        problems = Counter(self.problems)
        for file in self.files.values():
            problems.update(file["problems"])
        total = sum(file["read"] + file["added"] for file in self.files.values())
        assert not is_complete or total == self.kept + problems.total(), "the ledger of the stream does not add up"
        return {
            "complete": is_complete,
            "read": sum(file["read"] for file in self.files.values()) if is_complete else None,
            "kept": self.kept,
            "problems": {code: number for code, number in sorted(problems.items()) if number},
            "files": self.files,
        }


class StreamedRows(Sequence[TokenRow]):
    """A list that grows: whoever asks for a row waits until it is there."""

    def __init__(self, chosen: StreamFilter, stop: Stop) -> None:
        self.counts = StreamCounts()
        self._chosen = chosen
        self._stop = stop
        self._seen = np.zeros(0, dtype=np.uint64)
        self._shards: list[tuple[StreamedFile, Shard, np.ndarray]] = []
        self._firsts = [0]
        self._changed = threading.Condition()
        self._finished = False
        self._failure: BaseException | None = None

    def fill(self, make: Callable[["StreamedRows"], None]) -> None:
        """Let `make` add shards in a thread of its own; what it raises is raised where a row is waited for."""

        def run() -> None:
            try:
                make(self)
            except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
                self._failure = error
            finally:
                with self._changed:
                    self._finished = True
                    self._changed.notify_all()

        threading.Thread(target=run, name="stream", daemon=True).start()

    def add(self, file: StreamedFile, shard: Shard) -> None:
        """Pass on the good rows of one more shard."""
        places = self._choose(shard)
        with self._changed:
            self._shards.append((file, shard, places))
            self._firsts.append(self._firsts[-1] + len(places))
            self._changed.notify_all()

    def _choose(self, shard: Shard) -> np.ndarray:
        chosen, counts = self._chosen, self.counts
        keys = shard.column("keys")
        fits = shard.column("lengths") <= chosen.longest
        counts.problems["overlong"] += int((~fits).sum())
        leaks = fits & np.isin(keys[:, 0], chosen.held_out[:, 0])
        counts.problems["leak"] += int(leaks.sum())
        good = fits & ~leaks
        if chosen.drop_duplicates:
            # Half of the key: two of a billion rows meet by chance with odds of 1 in 36.
            first = np.zeros(len(keys), dtype=bool)
            candidates = np.flatnonzero(good)
            first[candidates[np.unique(keys[candidates, 0], return_index=True)[1]]] = True
            new = first & ~np.isin(keys[:, 0], self._seen)
            counts.problems["duplicate"] += int((good & ~new).sum())
            good = new
            added = np.sort(keys[good, 0])
            self._seen = np.insert(self._seen, np.searchsorted(self._seen, added), added)
        counts.kept += int(good.sum())
        return np.flatnonzero(good)

    def wait_for(self, number: int) -> int:
        """Wait until so many rows are there, or all; return how many are.

        Raises:
            StoppedError: an end was asked for.
        """
        with self._changed:
            while self._firsts[-1] < number and not self._finished:
                self._changed.wait(_POLL_S)
                self._stop.check()
            if self._failure is not None:
                raise self._failure
            return self._firsts[-1]

    @property
    def is_complete(self) -> bool:
        """Whether everything was read."""
        return self._finished and self._failure is None

    def __len__(self) -> int:
        """Rows that are there now."""
        return self._firsts[-1]

    @overload
    def __getitem__(self, index: int) -> TokenRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[TokenRow]: ...
    def __getitem__(self, index: int | slice) -> TokenRow | list[TokenRow]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if self.wait_for(index + 1) <= index:
            raise IndexError(index)
        number = int(np.searchsorted(self._firsts, index, side="right")) - 1
        file, shard, places = self._shards[number]
        place = int(places[index - self._firsts[number]])
        ids, weights = shard.row(place)
        origin = Origin(file.name, shard.value("lines", place), shard.value("parts", place))
        return TokenRow(ids, weights * np.float32(file.weight), str(origin))


@dataclass(frozen=True)
class StreamPlan:
    """Which rows come in which step, by windows: a function of the seed, the step, and the rows up to its window."""

    rows: StreamedRows
    window: int
    seed: int

    def steps_per_epoch(self, batch_size: int) -> int | None:
        """Not known before all is read."""
        del batch_size
        return None

    def rows_of_step(self, batch_size: int, step: int) -> list[int]:
        """The rows of one step, counted from 0; the epochs follow each other without a break."""
        chosen: list[int] = []
        position, end = step * batch_size, (step + 1) * batch_size
        while position < end:
            window_end = (position // self.window + 1) * self.window
            there = self.rows.wait_for(window_end)
            # Fewer than asked for are there only once all is read: then the epoch's end is known.
            epoch, within = divmod(position, there) if position >= there else (0, position)
            stop = min(window_end, there) if epoch == 0 else there
            places = np.arange(within, min(stop, within + end - position))
            chosen += WindowedOrder(there, self.window, self.seed, epoch).index_at(places).tolist()
            position += len(places)
        return chosen
