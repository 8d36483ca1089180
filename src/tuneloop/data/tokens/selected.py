"""The rows that a run uses, read from their stores one at a time."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np

from tuneloop.core.store import hash_json
from tuneloop.data.schema import Origin
from tuneloop.data.tokens.block import TokenRow
from tuneloop.data.tokens.shards import TokenStore


@dataclass(frozen=True)
class StoredFile:
    """One file's store with what the recipe says of the file."""

    name: str
    store: TokenStore
    weight: float


class TokenRows(Sequence[TokenRow]):
    """Chosen rows of several stores, in a given order; only their places and lengths are in memory."""

    def __init__(self, files: Sequence[StoredFile], file_of: np.ndarray, places: np.ndarray) -> None:
        """Row r is row `places[r]` of file `file_of[r]`."""
        self.files = tuple(files)
        self._file_of = file_of.astype(np.int32)
        self._places = places.astype(np.int64)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> TokenRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[TokenRow]: ...
    def __getitem__(self, index: int | slice) -> TokenRow | list[TokenRow]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        file = self.files[self._file_of[index]]
        ids, weights = file.store.row(int(self._places[index]))
        return TokenRow(ids, weights * np.float32(file.weight), str(self.origin(index)))

    def __iter__(self) -> Iterator[TokenRow]:
        return (self[index] for index in range(len(self)))

    def read(self, begin: int, end: int) -> Iterator[TokenRow]:
        """Consecutive rows, as fast as the disk gives them. They must stand in the order of the files."""
        file_of, places = self._file_of[begin:end], self._places[begin:end]
        index = begin
        for number, file in enumerate(self.files):
            for ids, weights in file.store.rows(places[file_of == number]):
                yield TokenRow(ids, weights * np.float32(file.weight), str(self.origin(index)))
                index += 1

    def origin(self, index: int) -> Origin:
        """Where a row stands."""
        number, place = int(self._file_of[index]), int(self._places[index])
        return Origin(self.files[number].name, int(self._lines[number][place]), int(self._parts[number][place]))

    @cached_property
    def _lines(self) -> list[np.ndarray]:
        return [file.store.column("lines") for file in self.files]

    @cached_property
    def _parts(self) -> list[np.ndarray]:
        return [file.store.column("parts") for file in self.files]

    @cached_property
    def lengths(self) -> np.ndarray:
        """int32 [R]: tokens of each row."""
        return self.column("lengths")

    @cached_property
    def targets(self) -> np.ndarray:
        """int32 [R]: tokens of each row that are trained on."""
        return self.column("targets")

    def column(self, name: str) -> np.ndarray:
        """One value a row, from the stores."""
        columns = [file.store.column(name) for file in self.files]
        found = np.zeros(len(self), dtype=columns[0].dtype if columns else np.int32)
        for number, column in enumerate(columns):
            mine = self._file_of == number
            found[mine] = column[self._places[mine]]
        return found

    @cached_property
    def sha256(self) -> str:
        """Over what the stores hold, which of their rows these are, their order and weights."""
        digest = hashlib.sha256()
        digest.update(hash_json([[file.store.manifest.content_hash, file.weight] for file in self.files]).encode())
        digest.update(self._file_of.astype("<i4").tobytes())
        digest.update(self._places.astype("<i8").tobytes())
        return digest.hexdigest()
