"""Encoded rows on disk: shards named by their own hash, a manifest last, each row read by its place."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
from safetensors.numpy import save_file

from tuneloop.core.config import Config
from tuneloop.core.errors import IntegrityError
from tuneloop.core.store import check_blob, hash_file, hash_json, put_blob, read_jsonl, write_json, write_jsonl
from tuneloop.data.schema import Origin, Problem
from tuneloop.data.tokens.block import TokenBlock

ROWS_A_SHARD = 8192
_SUFFIX = ".safetensors"
_SMALL = 1 << 16


class ShardInfo(Config):
    """One shard, as the manifest lists it."""

    name: str
    rows: int
    tokens: int


class StoreManifest(Config):
    """What a folder of shards holds. Written last: without it there is no store."""

    version: int = 1
    key: dict[str, Any]
    """Everything that the ids depend on."""
    read: int
    """Rows of the file, good and bad."""
    added: int
    """Rows that came of dividing longer ones, beyond the first part of each."""
    truncated: int
    shards: tuple[ShardInfo, ...]
    problems: dict[str, int]
    """Code -> number; problems.jsonl has them one by one."""

    @property
    def content_hash(self) -> str:
        """SHA-256 over what the shards hold."""
        return hash_json([shard.name for shard in self.shards])


@dataclass
class ShardBuffer:
    """Blocks on their way into a shard."""

    blocks: list[TokenBlock]
    lines: list[int]
    parts: list[int]
    keys: list[bytes]
    scores: list[float]

    def tensors(self) -> dict[str, np.ndarray]:
        """The shard's columns."""
        ids = np.concatenate([block.ids for block in self.blocks])
        is_small = not len(ids) or int(ids.max()) < _SMALL
        return {
            "ids": ids.astype(np.uint16 if is_small else np.int32),
            "lengths": np.concatenate([np.diff(block.bounds) for block in self.blocks]).astype(np.int32),
            "targets": np.concatenate([block.targets for block in self.blocks]).astype(np.int32),
            "num_runs": np.concatenate([np.diff(block.run_bounds) for block in self.blocks]).astype(np.int32),
            "run_spans": np.concatenate([block.run_spans for block in self.blocks]),
            "run_weights": np.concatenate([block.run_weights for block in self.blocks]),
            "lines": np.array(self.lines, dtype=np.int64),
            "parts": np.array(self.parts, dtype=np.int32),
            "keys": np.frombuffer(b"".join(self.keys), dtype=np.uint64).reshape(-1, 2),
            "scores": np.array(self.scores, dtype=np.float32),
        }


class StoreWriter:
    """Fills a folder with shards."""

    def __init__(self, folder: Path, *, on_shard: Callable[["Shard"], None] | None = None) -> None:
        """`on_shard` hears of each shard once it is on disk."""
        self.folder = folder
        self.shards: list[ShardInfo] = []
        self._on_shard = on_shard
        self._buffer = ShardBuffer([], [], [], [], [])

    def add(self, block: TokenBlock, places: list[tuple[int, int]], keys: list[bytes], scores: list[float]) -> None:
        """Append a block; `places` are the (line, part) of its rows."""
        buffer = self._buffer
        buffer.blocks.append(block)
        buffer.lines += [line for line, _ in places]
        buffer.parts += [part for _, part in places]
        buffer.keys += keys
        buffer.scores += scores
        if len(buffer.lines) >= ROWS_A_SHARD:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one shard."""
        if not self._buffer.lines:
            return
        tensors = self._buffer.tensors()
        name = put_blob(self.folder, _SUFFIX, lambda part: save_file(tensors, part))
        self.shards.append(ShardInfo(name=name, rows=len(tensors["lengths"]), tokens=len(tensors["ids"])))
        self._buffer = ShardBuffer([], [], [], [], [])
        if self._on_shard:
            self._on_shard(Shard(self.folder / name))

    def close(self, manifest: StoreManifest, problems: Iterator[Problem]) -> None:
        """Publish the store."""
        write_jsonl(
            self.folder / "problems.jsonl",
            ({"line": problem.origin.line, "code": problem.code, "reason": problem.reason} for problem in problems),
        )
        values = manifest.model_dump(mode="json")
        hashes = {"problems": hash_file(self.folder / "problems.jsonl"), "manifest": hash_json(values)}
        write_json(self.folder / "manifest.json", {"manifest": values, "sha256": hashes})


def _read_manifest(folder: Path) -> StoreManifest:
    """The manifest, if it and the list of problems are as they were written."""
    values: object = None
    try:
        read = orjson.loads((folder / "manifest.json").read_bytes())
        values, hashes = read["manifest"], read["sha256"]
        is_whole = hash_json(values) == hashes["manifest"]
        is_whole = is_whole and hash_file(folder / "problems.jsonl") == hashes["problems"]
    except (OSError, ValueError, LookupError, TypeError):
        is_whole = False
    if not is_whole:
        raise IntegrityError(f"{folder}: its manifest is damaged. Delete the folder: the rows are encoded again.")
    return StoreManifest.model_validate(values)


class TokenStore:
    """A folder of shards, opened: small columns in memory, ids read row by row."""

    def __init__(self, folder: Path) -> None:
        """Open a store, and check every shard against its hash.

        Raises:
            IntegrityError: a shard is missing or damaged.
        """
        self.folder = folder
        self.manifest = _read_manifest(folder)
        self.shards = [Shard(check_blob(folder, info.name)) for info in self.manifest.shards]
        self._first_rows = np.cumsum([0, *(info.rows for info in self.manifest.shards)])

    def __len__(self) -> int:
        return int(self._first_rows[-1])

    def column(self, name: str) -> np.ndarray:
        """One value a row: lengths, targets, lines, parts, keys, scores."""
        if not self.shards:
            return np.zeros((0, 2) if name == "keys" else 0, dtype=_EMPTY[name])
        return np.concatenate([shard.column(name) for shard in self.shards])

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids, int32 [T], and weights, float32 [T], of one row."""
        shard = int(np.searchsorted(self._first_rows, index, side="right")) - 1
        return self.shards[shard].row(index - int(self._first_rows[shard]))

    def rows(self, indices: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids and weights of some rows, in ascending order; neighbours are read at once."""
        for number, shard in enumerate(self.shards):
            first, end = int(self._first_rows[number]), int(self._first_rows[number + 1])
            mine = indices[np.searchsorted(indices, first) : np.searchsorted(indices, end)] - first
            for run in np.split(mine, np.flatnonzero(np.diff(mine) > 1) + 1):
                if len(run):
                    yield from shard.rows(int(run[0]), int(run[-1]) + 1)

    def problems(self, name: str) -> Iterator[Problem]:
        """What was left out when the file was encoded; `name` is the file's."""
        for each in read_jsonl(self.folder / "problems.jsonl"):
            yield Problem(Origin(name, each["line"]), each["code"], each["reason"])


_EMPTY = {
    "lengths": np.int32,
    "targets": np.int32,
    "lines": np.int64,
    "parts": np.int32,
    "keys": np.uint64,
    "scores": np.float32,
}
_DTYPES = {"U16": np.uint16, "I32": np.int32, "I64": np.int64, "U64": np.uint64, "F32": np.float32}


class Shard:
    """One file. Its format is safetensors: a length, a JSON header, then the columns one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            self._header = json.loads(file.read(size))
        self._begin = 8 + size

    def column(self, name: str) -> np.ndarray:
        """One value a row, as `TokenStore.column`."""
        spec = self._header[name]
        shape = tuple(spec["shape"])
        offset = self._begin + spec["data_offsets"][0]
        return np.fromfile(self.path, _DTYPES[spec["dtype"]], math.prod(shape), offset=offset).reshape(shape)

    def rows(self, begin: int, end: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids and weights of consecutive rows, read at once."""
        bounds = (self._bounds[begin : end + 1] - self._bounds[begin]).tolist()
        run_bounds = (self._run_bounds[begin : end + 1] - self._run_bounds[begin]).tolist()
        with self.path.open("rb") as file:
            ids = self._read(file, "ids", *self._bounds[[begin, end]].tolist()).astype(np.int32)
            spans = self._read(file, "run_spans", *self._run_bounds[[begin, end]].tolist()).tolist()
            values = self._read(file, "run_weights", *self._run_bounds[[begin, end]].tolist()).tolist()
        all_weights = np.zeros(len(ids), dtype=np.float32)
        for (first, last), (first_run, last_run) in zip(pairwise(bounds), pairwise(run_bounds), strict=True):
            weights = all_weights[first:last]
            for run in range(first_run, last_run):
                weights[spans[run][0] : spans[run][1]] = values[run]
            yield ids[first:last], weights

    def value(self, name: str, row: int) -> int:
        """One row's value of a column of whole numbers."""
        with self.path.open("rb") as file:
            return int(self._read(file, name, row, row + 1)[0])

    @cached_property
    def _bounds(self) -> np.ndarray:
        return _bounds(self.column("lengths"))

    @cached_property
    def _run_bounds(self) -> np.ndarray:
        return _bounds(self.column("num_runs"))

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and weights of one row, as `TokenStore.row`."""
        with self.path.open("rb") as file:
            ids = self._read(file, "ids", *self._bounds[index : index + 2].tolist()).astype(np.int32)
            runs = self._run_bounds[index : index + 2].tolist()
            spans = self._read(file, "run_spans", *runs)
            values = self._read(file, "run_weights", *runs)
        weights = np.zeros(len(ids), dtype=np.float32)
        for (begin, end), value in zip(spans.tolist(), values.tolist(), strict=True):
            weights[begin:end] = value
        return ids, weights

    def _read(self, file: IO[bytes], name: str, begin: int, end: int) -> np.ndarray:
        spec = self._header[name]
        dtype = np.dtype(_DTYPES[spec["dtype"]])
        row_shape = tuple(spec["shape"][1:])
        row_bytes = dtype.itemsize * math.prod(row_shape)
        file.seek(self._begin + spec["data_offsets"][0] + begin * row_bytes)
        return np.frombuffer(file.read((end - begin) * row_bytes), dtype).reshape(-1, *row_shape)


def _bounds(lengths: np.ndarray) -> np.ndarray:
    """Where each row begins, int64 [R + 1]."""
    bounds = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return bounds
