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
    {"messages", "conversations", "conversation", "dialog", "dialogue", "turns", "segments", "history", "tools"}
    | {"instruction", "input", "output", "prompt", "completion", "chosen", "rejected", "query", "response"}
    | {"question", "answer", "text", "content"}
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
    window = Window(_end(damage), text)
    begin = text.index(b"{")
    line, column = window.locate(begin)
    whole = Limits(max_line_bytes=limits.max_object_bytes)
    walker = ArrayReader(window, name, whole, begin + 1, closer=b"}", can_resume=False)
    items = list(walker.read())
    if walker.has_more or (not walker.is_closed and _second_line_is_a_row(text)):
        yield from read_jsonl(itertools.chain([text], _end(damage)), name, limits)
        return
    problems = [item for item in items if isinstance(item, Problem)]
    members = [_parse_member(item) for item in items if isinstance(item, Found)]
    if walker.broken_at is not None:
        member_line = problems[-1].origin.line
        members.append(_parse_member(Found(member_line, RawJson(text[walker.broken_at :]))))
    lists = [member for member in members if member and _LIST_OF_ROWS.match(member.text)]
    keys = {member.key for member in members if member}
    if (
        None in members
        or keys & ROW_FIELDS
        or not (lists or (members and all(m and m.text.startswith(b"{") for m in members)))
    ):
        yield from problems or [Found(line, RawJson(text[begin:].strip(), column))]
    elif len(lists) > 1:
        names = ", ".join(member.key for member in lists)
        raise DataError(f"{name}: holds rows under several names: {names}. Save each as a file of its own.")
    elif lists:
        (rows,) = lists
        is_cut = walker.broken_at is not None and rows is members[-1]
        window = Window(_end(damage), rows.text, line=rows.line, column_origin=1 - rows.column)
        yield from ArrayReader(window, name, limits, at=1).read()
        if not is_cut:
            yield from problems
    else:
        is_cut = walker.broken_at is not None
        for member in members[:-1] if is_cut else members:
            assert member is not None
            yield _with_id(member, name)
        yield from problems


def _end(damage: RowError | None) -> Iterator[bytes]:
    if damage is not None:
        raise damage
    yield from ()


def _second_line_is_a_row(text: bytes) -> bool:
    lines = (line for line in text.splitlines() if not line.isspace())
    second = next(itertools.islice(lines, 1, None), b"")
    try:
        return isinstance(orjson.loads(second), dict)
    except orjson.JSONDecodeError:
        return False


def _parse_member(item: Found) -> _Member | None:
    assert isinstance(item.value, RawJson)
    text = item.value.text
    match = _KEY.match(text)
    try:
        key = orjson.loads(match[1]) if match else None
    except orjson.JSONDecodeError:
        return None
    if match is None or not isinstance(key, str):
        return None
    num_lines = text.count(b"\n", 0, match.end())
    column = match.end() - text.rfind(b"\n", 0, match.end()) if num_lines else item.value.column + match.end()
    return _Member(key, text[match.end() :], item.line + num_lines, column)


def _with_id(member: _Member, name: str) -> Found | Problem:
    try:
        row = parse_json(member.text, line=member.line, column=member.column)
    except RowError as error:
        return Problem(Origin(name, member.line), error.code, error.reason)
    assert isinstance(row, dict)
    return Found(member.line, row if "id" in row else {"id": member.key} | row)


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
