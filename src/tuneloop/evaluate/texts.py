"""Files of texts, one a line, as `tuneloop score` takes them: plain, or JSONL of strings, lists and objects."""

import codecs
from pathlib import Path

import orjson

from tuneloop.core.errors import DataError

_SHAPE = 'Write one string or one {"text": ...} a line.'


def read_texts(path: Path) -> list[str | list[str]]:
    """One text (or list of texts) a line; the row of index i stands in line i + 1.

    A `.jsonl` file holds one JSON string, list of strings or `{"text": ...}` a line; any other file one text a line.
    A byte order mark is accepted.

    Raises:
        DataError: it is missing, empty, not UTF-8, or a line of it is no text.
    """
    lines = read_lines(path)
    parse = _parse_json_line if path.suffix.lower() == ".jsonl" else _parse_plain_line
    return [parse(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def read_objects(path: Path) -> list[dict[str, object]]:
    """One JSON object a line.

    Raises:
        DataError: it is missing, empty, not UTF-8, or a line of it is no object.
    """
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        value = _parse_json(line, f"{path}:{number}")
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: not an object. Write one JSON object a line.")
        found.append(value)
    return found


def read_lines(path: Path) -> list[bytes]:
    """The lines of a file, without an empty end.

    Raises:
        DataError: it is missing, cannot be read, or is empty.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Check the path.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Name a readable text file.") from error
    # Split at newlines alone: str.splitlines would also cut a text at U+2028 or at a form feed.
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    is_jsonl = path.suffix.lower() == ".jsonl"
    while lines and not (lines[-1].strip() if is_jsonl else lines[-1]):
        lines.pop()
        if not is_jsonl:
            break
    if not lines:
        raise DataError(f"{path}:1: the file is empty. Write one text a line.")
    return lines


def _parse_plain_line(line: bytes, where: str) -> str:
    try:
        return line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 (byte {error.start + 1} of the line). Save the file as UTF-8.") from error


def _parse_json(line: bytes, where: str) -> object:
    text = _parse_plain_line(line, where)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON ({error}). {_SHAPE}") from error


def _parse_json_line(line: bytes, where: str) -> str | list[str]:
    value = _parse_json(line, where)
    if isinstance(value, dict):
        value = value.get("text")
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise DataError(f"{where}: no text in this row. {_SHAPE}")
