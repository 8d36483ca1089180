"""Sources of a recipe to rows: found, recognised, parsed, checked, one at a time, every one accounted for."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tuneloop.core.errors import DataError
from tuneloop.core.store import canonical_json
from tuneloop.data.config import FileSpec
from tuneloop.data.content import Example
from tuneloop.data.formats.registry import check_columns, parse_example, require_format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.hub_rows import fetch_hub_rows
from tuneloop.data.quality.personal import find_personal, mask_row
from tuneloop.data.read.files import SourceFile, find_files
from tuneloop.data.read.fingerprint import hash_source
from tuneloop.data.read.found import Found
from tuneloop.data.read.parse import parse_found
from tuneloop.data.read.values import read_values
from tuneloop.data.render import to_row
from tuneloop.data.schema import Message, Origin, Problem, Row, RowError

_ROWS_TO_LOOK_AT = 32
_HUB = "hf:"


@dataclass(frozen=True)
class Source:
    """One file that a recipe names, ready to be read."""

    spec: FileSpec
    file: SourceFile
    name: str
    """As it stands in ledgers: the file, and the rendering where the recipe names one."""
    format: str
    """As given or recognised; `auto` where no row of the file could be read."""
    sha256: str
    personal: Literal["keep", "mask", "drop"] = "keep"


def open_sources(
    specs: tuple[FileSpec, ...],
    folder: Path,
    *,
    cache: Path,
    personal: Literal["keep", "mask", "drop"] = "keep",
) -> list[Source]:
    """Find the files that specs name, and the format of each. Hub data sets are fetched into `cache` first.

    Raises:
        DataError: a file is missing, cannot be read, is named twice, or has no known format.
    """
    sources = []
    for spec in specs:
        files = [fetch_hub_rows(spec, cache)] if spec.path.startswith(_HUB) else find_files(spec.path, folder)
        for file in files:
            name = file.name if spec.render == "auto" else f"{file.name} ({spec.render})"
            format_name = _decide_format(spec, file)
            sources.append(Source(spec, file, name, format_name, hash_source(file), personal))
    seen: set[tuple[Path, str]] = set()
    for source in sources:
        place = (source.file.path.resolve(), source.spec.render)
        if place in seen:
            raise DataError(
                f"data: the same file is named twice: {source.name}. Name it once; `epochs` says how "
                "often its rows come, `weight` how much they count."
            )
        seen.add(place)
    return sources


def _decide_format(spec: FileSpec, file: SourceFile) -> str:
    objects = []
    looked_at = 0
    for found in read_values(file):
        looked_at += 1
        if isinstance(found, Found):
            try:
                objects.append(parse_found(found))
            except RowError:
                continue
        if objects and looked_at >= _ROWS_TO_LOOK_AT:
            break
    named = [_with_names(value, spec) for value in objects]
    format_name = require_format(spec.format, named, file.name) if objects else spec.format
    if format_name != "auto":
        check_columns(format_name, spec.columns, file.name)
    return format_name


def _with_names(value: object, spec: FileSpec) -> object:
    """A row with the format's names for what `columns` maps, so that the format can be told."""
    if not isinstance(value, dict) or not spec.columns:
        return value
    named = {field: value[column] for field, column in spec.columns.items() if column in value}
    return named if spec.only_columns else value | named


def iter_examples(source: Source) -> Iterator[tuple[Origin, Example] | Problem]:
    """What each row of a file is, in the order of the file."""
    shape = Shape(source.spec.columns, source.spec.only_columns, source.spec.roles)
    for found in read_values(source.file):
        if isinstance(found, Problem):
            yield replace(found, origin=replace(found.origin, file=source.name))
            continue
        origin = Origin(source.name, found.line)
        try:
            yield origin, parse_example(source.format, parse_found(found), shape)
        except RowError as error:
            yield Problem(origin, error.code, error.reason)


def iter_rows(source: Source) -> Iterator[Row | Problem]:
    """What is learned from each row of a file, in the order of the file."""
    for found in iter_examples(source):
        if isinstance(found, Problem):
            yield found
            continue
        origin, example = found
        try:
            row = to_row(example, source.spec.render, origin)
            yield _treat_personal(row, source.personal)
        except RowError as error:
            yield Problem(origin, error.code, error.reason)


def _treat_personal(row: Row, policy: Literal["keep", "mask", "drop"]) -> Row:
    """Texts of turns and arguments of calls; tools are definitions, not data."""
    if policy == "keep":
        return row
    texts = [text for message in row.messages for text in _texts_of(message)]
    if policy == "drop":
        refuse_personal(texts)
        return row
    masked = iter(mask_row(texts)[0])
    messages = []
    for message in row.messages:
        content = next(masked)
        calls = tuple(replace(call, arguments=next(masked)) for call in message.tool_calls)
        messages.append(replace(message, content=content, tool_calls=calls))
    return replace(row, messages=tuple(messages))


def refuse_personal(texts: Iterable[str]) -> None:
    """What `personal: drop` does.

    Raises:
        RowError: one of the texts holds personal data or a secret.
    """
    kinds = sorted({found.kind for text in texts for found in find_personal(text)})
    if kinds:
        raise RowError("personal", f"holds personal data or secrets: {', '.join(kinds)}")


def _texts_of(message: Message) -> list[str]:
    return [message.content, *(call.arguments for call in message.tool_calls)]


def read_lines(source: Source, lines: set[int]) -> dict[int, Row]:
    """The good rows that begin on some lines of a file."""
    wanted = max(lines, default=0)
    rows = itertools.takewhile(lambda row: row.origin.line <= wanted, iter_rows(source))
    return {row.origin.line: row for row in rows if isinstance(row, Row) and row.origin.line in lines}


def row_key(row: Row) -> bytes:
    """A hash of what a row says, whatever file it stands in; 16 bytes."""
    said: list[Any] = [
        [message.role, message.content, *((call.name, call.arguments) for call in message.tool_calls)]
        for message in row.messages
    ]
    return hashlib.blake2b(canonical_json([said, row.tools] if row.tools else said), digest_size=16).digest()
