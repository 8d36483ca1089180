"""One file of rows to a store of token ids, as a stream: reading, rendering and encoding side by side."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from tuneloop.core.errors import DataError
from tuneloop.core.stop import Stop
from tuneloop.core.store import hash_json, own_folder
from tuneloop.data.encoding import Pieces
from tuneloop.data.prompt import Renderer
from tuneloop.data.rows import Source, iter_rows, row_key
from tuneloop.data.schema import Origin, Problem, Row, RowError
from tuneloop.data.tokens.block import SplitRows, TokenBlock, assemble
from tuneloop.data.tokens.overlong import LengthPolicy, make_fit
from tuneloop.data.tokens.shards import Shard, StoreManifest, StoreWriter, TokenStore

_STORE_VERSION = 2
_CHUNK_ROWS = 1024
_CHUNK_CHARACTERS = 2 << 20
_AHEAD = 2
"""Chunks that are encoded while the next ones are rendered."""


def store_key(source: Source, renderer: Renderer, policy: LengthPolicy) -> dict[str, Any]:
    """Everything that decides the ids of a file's rows: equal keys, equal stores."""
    return {
        "version": _STORE_VERSION,
        "tokenizers": tokenizers.__version__,
        "file": source.sha256,
        "format": source.format,
        "shape": source.spec.model_dump(mode="json", include={"columns", "only_columns", "roles", "render"}),
        "personal": source.personal,
        "contract": renderer.contract.hash,
        "overlong": [policy.kind, policy.longest] if policy.rewrites else None,
    }


@dataclass(frozen=True)
class BuildOptions:
    """How a store is made; nothing here changes what comes out."""

    stop: Stop = field(default_factory=Stop)
    strict: bool = False
    """Stop at the first bad row."""
    on_shard: Callable[[Shard], None] | None = None
    """Hears of each shard as soon as it can be read."""


def open_store(
    source: Source,
    renderer: Renderer,
    policy: LengthPolicy,
    *,
    cache: Path,
    build: BuildOptions,
) -> TokenStore:
    """The encoded rows of a file: from the cache, or made now.

    Raises:
        DataError: the file cannot be read, or `strict` is on and a row is bad.
        StoppedError: an end was asked for.
    """
    key = store_key(source, renderer, policy)
    folder = cache / hash_json(key)[:32]
    with own_folder(folder, wait=True):
        if not (folder / "manifest.json").exists():
            _Build(source, renderer, policy, folder, build).run(key)
            return TokenStore(folder)
        store = TokenStore(folder)
    if build.on_shard is not None:
        for shard in store.shards:
            build.on_shard(shard)
    if build.strict:
        for problem in store.problems(source.name):
            raise refuse(problem)
    return store


def refuse(problem: Problem) -> DataError:
    """What `strict` says of a bad row."""
    return DataError(f"{problem}. (data.strict is on; without it the row is left out and counted.)")


@dataclass
class _Chunk:
    """Rows on their way: rendered, their ids not there yet."""

    rows: list[Row]
    split: SplitRows
    ids: "Future[Pieces]"


@dataclass
class _Build:
    source: Source
    renderer: Renderer
    policy: LengthPolicy
    folder: Path
    options: BuildOptions
    problems: list[Problem] = field(default_factory=list)
    read: int = 0
    added: int = 0
    truncated: int = 0

    def run(self, key: dict[str, Any]) -> None:
        writer = StoreWriter(self.folder, on_shard=self.options.on_shard)
        for rows, block in self._blocks():
            self.options.stop.check()
            places = [(row.origin.line, row.origin.part) for row in rows]
            scores = [float("nan") if row.score is None else row.score for row in rows]
            writer.add(block, places, [row_key(row) for row in rows], scores)
        writer.flush()
        codes = Counter(problem.code for problem in self.problems)
        manifest = StoreManifest(
            version=_STORE_VERSION,
            key=key,
            read=self.read,
            added=self.added,
            truncated=self.truncated,
            shards=tuple(writer.shards),
            problems=dict(sorted(codes.items())),
        )
        writer.close(manifest, iter(sorted(self.problems, key=lambda problem: problem.origin.line)))

    def _blocks(self) -> Iterator[tuple[list[Row], TokenBlock]]:
        """Blocks in the order of the file. One thread encodes (on all cores) what this one has rendered."""
        waiting: deque[_Chunk] = deque()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode") as pool:
            try:
                for rows in self._chunks():
                    split = self.renderer.split_rows(rows)
                    encode = self.renderer.encoder.encode
                    waiting.append(_Chunk(rows, split, pool.submit(encode, split.pieces, is_first=split.is_first)))
                    if len(waiting) > _AHEAD:
                        yield from self._finish(waiting.popleft())
                while waiting:
                    yield from self._finish(waiting.popleft())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _chunks(self) -> Iterator[list[Row]]:
        rows: list[Row] = []
        characters = 0
        for found in iter_rows(self.source):
            self.options.stop.check()
            self.read += 1
            if isinstance(found, Problem):
                self._leave_out(found)
                continue
            rows.append(found)
            characters += sum(len(message.content) for message in found.messages)
            if len(rows) >= _CHUNK_ROWS or characters >= _CHUNK_CHARACTERS:
                yield rows
                rows, characters = [], 0
        if rows:
            yield rows

    def _finish(self, chunk: _Chunk) -> Iterator[tuple[list[Row], TokenBlock]]:
        block = assemble(chunk.split, chunk.ids.result(), self.renderer.contract.end_of_turn)
        for place, error in sorted(chunk.split.errors.items()):
            self._leave_out(Problem(chunk.rows[place].origin, error.code, error.reason))
        rows = [chunk.rows[place] for place in block.rows.tolist()]
        if self.policy.rewrites and rows and int(np.diff(block.bounds).max()) > self.policy.longest:
            rows, block = self._rewrite(rows, block)
        if rows:
            yield rows, block

    def _rewrite(self, rows: list[Row], block: TokenBlock) -> tuple[list[Row], TokenBlock]:
        """Encode a block once more, its long rows made to fit."""
        fitting: list[Row] = []
        for row, length in zip(rows, np.diff(block.bounds).tolist(), strict=True):
            if length <= self.policy.longest:
                fitting.append(row)
                continue
            try:
                parts = make_fit(row, self.renderer, self.policy)
            except RowError as error:
                self._leave_out(Problem(row.origin, error.code, f"{length} tokens: {error.reason}"))
                continue
            self.truncated += self.policy.kind == "truncate_prompt"
            self.added += len(parts) - 1
            fitting += [_as_part(part, number if len(parts) > 1 else 0) for number, part in enumerate(parts, start=1)]
        again, errors = self.renderer.encode_rows(fitting)
        assert not errors, "a part of a good row is good"
        return fitting, again

    def _leave_out(self, problem: Problem) -> None:
        if self.options.strict:
            raise refuse(problem)
        self.problems.append(problem)


def _as_part(row: Row, part: int) -> Row:
    return Row(
        row.messages, Origin(row.origin.file, row.origin.line, part), row.weight, row.tools, row.is_text, row.score
    )
