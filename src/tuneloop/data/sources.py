"""Files to parsed objects, one at a time, each with its line; what cannot be read is a Problem, not a crash."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path

import orjson

from tuneloop.core.errors import DataError
from tuneloop.data.schema import Origin, Problem, RowError

MAX_LINE_BYTES = 64 << 20
"""A longer line is a problem, not a row: memory stays bounded whatever the file holds."""

_FOREIGN_BOMS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_objects(path: Path, *, name: str) -> Iterator[tuple[Origin, object] | Problem]:
    """Every value of a JSONL file, or of a JSON file's array, in the order of the file.

    Raises:
        DataError: the file is not there, is empty, or is in another encoding.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            while head and not head.removeprefix(codecs.BOM_UTF8).strip():
                head = file.read(4096)
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}.") from error
    for bom, encoding in _FOREIGN_BOMS.items():
        if head.startswith(bom):
            raise DataError(f"{name}: is {encoding}. Save it as UTF-8: iconv -f {encoding} -t UTF-8 {name}")
    head = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if not head:
        raise DataError(f"{name}: has no rows.")
    if head.startswith(b"[") and (path.suffix.lower() != ".jsonl" or _ends_like_an_array(path)):
        yield from _read_array(path, name)
    else:
        yield from _read_lines(path, name)


def _ends_like_an_array(path: Path) -> bool:
    """In a file called JSONL a first bracket alone may also be a broken line."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        before, _, last_line = file.read().rstrip().rpartition(b"\n")
    return last_line.endswith(b"]") and not (before and last_line.lstrip().startswith(b"["))


def _read_lines(path: Path, name: str) -> Iterator[tuple[Origin, object] | Problem]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            origin = Origin(name, number)
            if len(line) > MAX_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)
                yield Problem(origin, "line_too_long", f"the line has more than {MAX_LINE_BYTES >> 20} MiB")
                continue
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if not line.strip():
                continue
            try:
                yield origin, parse_json(line)
            except RowError as error:
                yield Problem(origin, error.code, error.reason)


def parse_json(text: bytes) -> object:
    """One JSON value.

    Raises:
        RowError: it is not UTF-8 or not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        try:
            text.decode()
        except UnicodeDecodeError as encoding_error:
            byte = text[encoding_error.start]
            raise RowError(
                "not_utf8", f"not UTF-8: byte 0x{byte:02x} at column {encoding_error.start + 1}{_guess(text)}"
            ) from error
        raise RowError("not_json", f"not JSON: {error.msg} at column {error.colno}") from error


def _guess(text: bytes) -> str:
    try:
        text.decode("gb18030")
    except UnicodeDecodeError:
        return ""
    return " (it reads as GB18030: convert the file with iconv -f GB18030 -t UTF-8)"


def _read_array(path: Path, name: str) -> Iterator[tuple[Origin, object] | Problem]:
    raw = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = raw[error.start]
        raise DataError(f"{name}:{line}: not UTF-8: byte 0x{byte:02x}{_guess(raw)}.") from error
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    at = text.index("[") + 1
    line, counted = 1, 0
    while True:
        at = _skip(text, at, " \t\r\n,")
        if at >= len(text) or text[at] == "]":
            if at >= len(text):
                yield Problem(Origin(name, line), "not_json", "the array is not closed: the file is cut off")
            elif (rest := _skip(text, at + 1, " \t\r\n")) < len(text):
                line += text.count("\n", counted, rest)
                yield Problem(Origin(name, line), "not_json", "there is more after the array's end; it is not read")
            return
        line += text.count("\n", counted, at)
        counted = at
        origin = Origin(name, line)
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep or not a number"
            yield Problem(origin, "not_json", f"not JSON: {reason}; the rest of the file cannot be read")
            return
        yield origin, value


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at
