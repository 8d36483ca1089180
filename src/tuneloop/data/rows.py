"""Files of a recipe to rows: read, recognised, checked, without exact doubles, every row in the ledger."""

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from tuneloop.core.errors import DataError
from tuneloop.core.store import canonical_json, hash_file
from tuneloop.data.config import FileSpec
from tuneloop.data.formats.registry import check_columns, parse_example, require_format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.render import to_row
from tuneloop.data.ledger import Ledger
from tuneloop.data.schema import Origin, Problem, Row, RowError
from tuneloop.data.sources import read_objects

_ROWS_TO_LOOK_AT = 32


def read_rows(spec: FileSpec, folder: Path, ledger: Ledger) -> Iterator[Row]:
    """The good rows of one file; the others go to the ledger.

    Raises:
        DataError: the file cannot be read at all, or no format fits.
    """
    path = folder / spec.path
    values = read_objects(path, name=spec.path)
    head = list(itertools.islice(values, _ROWS_TO_LOOK_AT))
    objects = [value[1] for value in head if not isinstance(value, Problem)]
    format_name = require_format(spec.format, objects, spec.path) if objects else spec.format
    sha256 = hash_file(path)
    ledger.open_file(spec.path, sha256=sha256, format_name=format_name)
    for value in itertools.chain(head, values):
        ledger.count(spec.path)
        if format_name == "auto" and not isinstance(value, Problem):
            format_name = require_format("auto", [value[1]], spec.path)
            ledger.open_file(spec.path, sha256=sha256, format_name=format_name)
        row = value if isinstance(value, Problem) else _to_row(format_name, *value, spec)
        if isinstance(row, Problem):
            ledger.leave_out(row)
        else:
            yield row


def _to_row(format_name: str, origin: Origin, value: object, spec: FileSpec) -> Row | Problem:
    try:
        shape = Shape(spec.columns, spec.only_columns, spec.roles)
        return to_row(parse_example(format_name, value, shape), spec.render, origin, weight=spec.weight)
    except RowError as error:
        return Problem(origin, error.code, error.reason)


def read_files(specs: tuple[FileSpec, ...], folder: Path, ledger: Ledger, *, keep_duplicates: bool) -> list[Row]:
    """All good rows of several files, exact doubles left out unless asked for.

    Raises:
        DataError: as `read_rows`, or a file is named twice.
    """
    if len({(folder / spec.path).resolve() for spec in specs}) < len(specs):
        raise DataError("data: the same file is named twice. Name it once, with a weight if it should count more.")
    rows = [row for spec in specs for row in read_rows(spec, folder, ledger)]
    if keep_duplicates:
        return rows
    first: dict[bytes, Origin] = {}
    unique = []
    for row in rows:
        seen = first.setdefault(row_key(row), row.origin)
        if seen is row.origin:
            unique.append(row)
        else:
            ledger.leave_out(Problem(row.origin, "duplicate", f"the same conversation as {seen}"))
    return unique


def row_key(row: Row) -> bytes:
    """A hash of what a conversation says, whatever file it stands in."""
    return hashlib.blake2b(
        canonical_json([[message.role, message.content] for message in row.messages]), digest_size=16
    ).digest()
