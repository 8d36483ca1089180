"""One JSON text to a value, with nothing lost on the way: no doubled key, no rounded number, no guessed letter."""

import json
import re
from typing import Any

import orjson

from tuneloop.data.read.found import Found, RawJson
from tuneloop.data.schema import RowError

MAX_DEPTH = 254
"""Nesting that orjson can write again (it reads 1024 levels): a deeper row could be read but never saved."""
_BIGGEST = 2.0**63
_TWO_HIGH_BYTES = re.compile(rb"[\x80-\xff]{2}")


class _DoubtError(Exception):
    """The quick way cannot tell."""


def parse_found(found: Found) -> object:
    """The value, parsed if that was put off.

    Raises:
        RowError: it is not UTF-8 or not JSON, too deep, names a key twice, or holds a number that would be rounded.
    """
    if isinstance(found.value, RawJson):
        return parse_json(found.value.text, line=found.line, column=found.value.column)
    return found.value


def parse_json(text: bytes, *, line: int = 1, column: int = 1) -> object:
    """One JSON value whose text begins at `line` and `column` of its file.

    Raises:
        RowError: as `parse_found`.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _refusal(text.rstrip(), error, line, column) from error
    try:
        # Every string has two quotes. What is left over stands inside strings, or in a member that was dropped.
        num_quotes = text.count(b'"') - 2 * _count_strings(value, 1)
        if num_quotes:
            # Escapes stand in pairs from left to right: without the pairs of backslashes, a backslash before a quote
            # belongs to it.
            escapes = text.replace(b"\\\\", b"") if b'\\\\"' in text else text
            num_quotes -= escapes.count(b'\\"')
        if num_quotes == 0:
            return value
    except _DoubtError:
        pass
    except RecursionError as error:
        raise _too_deep() from error
    return _look_closer(text)


def _refusal(text: bytes, error: orjson.JSONDecodeError, line: int, column: int) -> RowError:
    try:
        text.decode()
    except UnicodeDecodeError as encoding_error:
        return not_utf8(encoding_error, line=line, column=column)
    if error.msg.startswith("depth limit"):
        return _too_deep()
    # The end of the line belongs to the text: an error found behind it is an error at the end of the value.
    at_row, at_column = min(
        (error.lineno, error.colno), (text.count(b"\n") + 1, len(text.decode().rpartition("\n")[2]) + 1)
    )
    if at_row > 1:
        return RowError("not_json", f"not JSON: {error.msg} at line {line + at_row - 1}, column {at_column}")
    return RowError("not_json", f"not JSON: {error.msg} at column {column + at_column - 1}")


def _count_strings(value: Any, depth: int) -> int:
    """How many strings, keys among them, a value holds.

    orjson keeps the last of two equal keys and drops the other without a word: then there are fewer than in the text.

    Raises:
        RowError: it is too deep.
        _DoubtError: a number may have lost digits, because orjson makes a float of a whole number beyond 64 bits.
    """
    if depth > MAX_DEPTH:
        raise _too_deep()
    kind = type(value)
    if kind is dict:
        num_strings = len(value)
        items = value.values()
    elif kind is list:
        num_strings, items = 0, value
    else:
        num_strings, items = 0, (value,)
    for item in items:
        kind = type(item)
        if kind is str:
            num_strings += 1
        elif kind is dict or kind is list:
            num_strings += _count_strings(item, depth + 1)
        elif kind is float and not -_BIGGEST < item < _BIGGEST:
            raise _DoubtError
    return num_strings


def _too_deep() -> RowError:
    return RowError("too_deep", f"nested deeper than {MAX_DEPTH} levels")


def _look_closer(text: bytes) -> object:
    """Parse slowly, every member and every digit in sight."""
    try:
        return json.loads(text, object_pairs_hook=_members, parse_int=_whole_number)
    except RecursionError as error:
        raise _too_deep() from error


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise RowError("duplicate_key", f"the key {json.dumps(twice, ensure_ascii=False)} stands twice in one object")
    return members


def _whole_number(digits: str) -> int:
    # 64 bits have at most 20 digits; more are not even converted, because that takes quadratic time.
    if len(digits) <= len("-9223372036854775808") and -(1 << 63) <= int(digits) < 1 << 64:
        return int(digits)
    raise RowError(
        "big_number", f"the whole number {digits[:24]} does not fit 64 bits and would be rounded: put it in quotes"
    )


def not_utf8(error: UnicodeDecodeError, *, line: int = 1, column: int = 1) -> RowError:
    """The problem of a text that begins at `line` and `column`, with the likely encoding."""
    text = error.object
    num_lines = text.count(b"\n", 0, error.start)
    if num_lines:
        column = error.start - text.rfind(b"\n", 0, error.start)
        where = f"line {line + num_lines}, column {column}"
    else:
        where = f"column {column + error.start}"
    return RowError("not_utf8", f"not UTF-8: byte 0x{text[error.start]:02x} at {where}{guess_encoding(error)}")


def guess_encoding(error: UnicodeDecodeError) -> str:
    """What bytes that are not UTF-8 may be, in brackets, with the command that converts the file; "" if unknown."""
    if error.reason == "unexpected end of data":
        return " (cut off in the middle of a character)"
    text = error.object
    # Chinese letters are pairs of bytes, most of both bytes above 127; a Western text has its accents one by one.
    encoding = "GB18030" if _TWO_HIGH_BYTES.search(text) else "WINDOWS-1252"
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return ""
    return f" (it reads as {encoding}: convert the file with iconv -f {encoding} -t UTF-8)"
