"""All rows of a recipe while it is being decided which of them are used: arrays, and a reason for each that is not."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import overload

import numpy as np

from tuneloop.data.records import FileLedger
from tuneloop.data.rows import Source
from tuneloop.data.schema import Origin, Problem
from tuneloop.data.tokens.build import refuse
from tuneloop.data.tokens.selected import StoredFile, TokenRows
from tuneloop.data.tokens.shards import TokenStore


@dataclass(frozen=True)
class _Reason:
    code: str
    explain: Callable[[int], str]


@dataclass
class Candidates:
    """N rows of F files. A row is alive until a reason is noted."""

    sources: Sequence[Source]
    stores: Sequence[TokenStore]
    strict: bool = False
    _reasons: list[_Reason] = field(default_factory=list)

    def __post_init__(self) -> None:
        sizes = [len(store) for store in self.stores]
        self.file_of = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        """int32 [N]"""
        self.places = np.concatenate([np.arange(size) for size in sizes]) if sizes else np.zeros(0, dtype=np.int64)
        """int64 [N]: the row's place in its store."""
        self._why = np.zeros(len(self.file_of), dtype=np.uint16)

    def __len__(self) -> int:
        return len(self.file_of)

    @cached_property
    def lengths(self) -> np.ndarray:
        """int32 [N]: tokens."""
        return self.column("lengths")

    @cached_property
    def _lines(self) -> np.ndarray:
        return self.column("lines")

    @cached_property
    def _parts(self) -> np.ndarray:
        return self.column("parts")

    def column(self, name: str) -> np.ndarray:
        """One value a row, from the stores."""
        if not self.stores:
            return np.zeros((0, 2) if name == "keys" else 0, dtype=np.uint64 if name == "keys" else np.int64)
        return np.concatenate([store.column(name) for store in self.stores])

    def alive(self, among: np.ndarray | None = None) -> np.ndarray:
        """Indices of the rows without a reason, in order; `among` is a mask."""
        alive = self._why == 0
        return np.flatnonzero(alive if among is None else alive & among)

    def leave_out(self, rows: np.ndarray, code: str, explain: Callable[[int], str], *, is_fault: bool = True) -> None:
        """Note why rows are not used.

        Raises:
            DataError: `strict` is on and the reason is a fault.
        """
        if not len(rows):
            return
        if self.strict and is_fault:
            first = int(rows[0])
            raise refuse(Problem(self.origin(first), code, explain(first)))
        self._reasons.append(_Reason(code, explain))
        self._why[rows] = len(self._reasons)

    def origin(self, row: int) -> Origin:
        """Where a row stands."""
        return Origin(self.sources[self.file_of[row]].name, int(self._lines[row]), int(self._parts[row]))

    def rows(self, chosen: np.ndarray) -> TokenRows:
        """Some of the rows, in the given order."""
        files = [
            StoredFile(source.name, store, source.spec.weight)
            for source, store in zip(self.sources, self.stores, strict=True)
        ]
        return TokenRows(files, self.file_of[chosen], self.places[chosen])

    def close(self) -> tuple[FileLedger, ...]:
        """The ledger of each file; checks that it adds up."""
        ledgers = []
        for number, (source, store) in enumerate(zip(self.sources, self.stores, strict=True)):
            why = self._why[self.file_of == number]
            problems = Counter(store.manifest.problems)
            for reason, count in enumerate(np.bincount(why, minlength=len(self._reasons) + 1).tolist()):
                if reason and count:
                    problems[self._reasons[reason - 1].code] += count
            kept = int((why == 0).sum())
            manifest = store.manifest
            assert manifest.read + manifest.added == kept + problems.total(), f"the ledger of {source.name}"
            ledgers.append(
                FileLedger(
                    path=source.name,
                    sha256=source.sha256,
                    format=source.format,
                    read=manifest.read,
                    added=manifest.added,
                    truncated=manifest.truncated,
                    kept=kept,
                    problems=dict(sorted(problems.items())),
                )
            )
        return tuple(ledgers)

    def problems(self) -> "Problems":
        """Every row that is left out, with its reason, read when asked for."""
        faults = sum(sum(store.manifest.problems.values()) for store in self.stores)
        return Problems(self._iter_problems, faults + int((self._why > 0).sum()))

    def _iter_problems(self) -> Iterator[Problem]:
        for number, (source, store) in enumerate(zip(self.sources, self.stores, strict=True)):
            yield from store.problems(source.name)
            for row in np.flatnonzero((self._why > 0) & (self.file_of == number)).tolist():
                reason = self._reasons[self._why[row] - 1]
                yield Problem(self.origin(row), reason.code, reason.explain(row))


class Problems(Sequence[Problem]):
    """The rows that are left out, file by file; made one at a time, so that millions need no memory."""

    def __init__(self, make: Callable[[], Iterator[Problem]], size: int) -> None:
        self._make = make
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Problem]:
        return self._make()

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> list[Problem]: ...
    def __getitem__(self, index: int | slice) -> Problem | list[Problem]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return list(islice(self, start, stop, step))
        return next(islice(self, range(len(self))[index], None))
