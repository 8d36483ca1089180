"""A JSON object that holds rows: under one key as a list, or each under a key of its own."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from tuneloop.core.errors import DataError
from tuneloop.data.read.array import STRING, ArrayReader, Window
from tuneloop.data.read.found import Found, Limits, RawJson
from tuneloop.data.read.lines import read_jsonl
from tuneloop.data.read.parse import parse_json
from tuneloop.data.schema import Origin, Problem, RowError

ROW_FIELDS = frozenset(
    "messages conversations conversation dialog dialogue turns segments history tools chosen rejected prompt completion "
    "instruction input output question answer response query text content".split()
)
"""An object with one of these keys is itself a row, whatever else it holds."""
_KEY = re.compile(rb"\s*(" + STRING + rb")\s*:\s*", re.DOTALL)
_LIST_OF_ROWS = re.compile(rb"\[\s*[{\]]")


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    text: bytes
    line: int
    column: int


def read_object(chunks: Iterator[bytes], name: str, limits: Limits) -> Iterator[Found | Problem]:
    """The rows of a file that begins with an object: its members, a list in it, or lines after all.

    Raises:
        DataError: it is larger than `max_object_bytes`, or holds several lists of rows.
    """
    text, damage = _read_whole(chunks, name, limits)
    window = Window(iter(()), text)
    walker = ArrayReader(window, name, Limits(max_line_bytes=limits.max_object_bytes), at=text.index(b"{") + 1, closer=b"}")
    members, problems = [], []
    for item in walker.read():
        if isinstance(item, Problem):
            problems.append(item)
        else:
            members.append(item)
    yield from ()


def _read_whole(chunks: Iterator[bytes], name: str, limits: Limits) -> tuple[bytes, RowError | None]:
    parts, num_bytes = [], 0
    try:
        for chunk in chunks:
            num_bytes += len(chunk)
            if num_bytes > limits.max_object_bytes:
                raise DataError(
                    f"{name}: is one JSON object of more than {limits.max_object_bytes >> 20} MiB. Save its rows as "
                    "JSONL, one a line, or as a JSON array."
                )
            parts.append(chunk)
    except RowError as error:
        return b"".join(parts), error
    return b"".join(parts), None
