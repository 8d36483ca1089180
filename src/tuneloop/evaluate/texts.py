"""Files of texts, one a line, as `tuneloop score` takes them: plain, or JSONL of strings, lists and objects."""

import codecs
from pathlib import Path
from typing import Any

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
    return [_to_text(value, f"{path}:{number}") for number, value in enumerate(read_values(path), start=1)]


def read_values(path: Path) -> list[Any]:
    """One value a line: the JSON of a `.jsonl` or `.ndjson` file, the text of any other.

    Raises:
        DataError: it is missing, empty, not UTF-8, or a line of it is not JSON.
    """
    return [parse_line(line, path, number) for number, line in enumerate(read_lines(path), start=1)]


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
    while lines and not (lines[-1].strip() if is_jsonl(path) else lines[-1]):
        lines.pop()
        if not is_jsonl(path):
            break
    if not lines:
        raise DataError(f"{path}:1: the file is empty. Write one text a line.")
    return lines


def is_jsonl(path: Path) -> bool:
    """Whether the name says that each line is JSON."""
    return path.suffix.lower() in {".jsonl", ".ndjson"}


def parse_line(line: bytes, path: Path, number: int) -> Any:
    """The value of a line, counted from 1.

    Raises:
        DataError: it is not UTF-8, or not JSON where it should be.
    """
    where = f"{path}:{number}"
    try:
        text = line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 (byte {error.start + 1} of the line). Save the file as UTF-8.") from error
    if not is_jsonl(path):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON ({error}). {_SHAPE}") from error


def _to_text(value: Any, where: str) -> str | list[str]:
    found = value.get("text") if isinstance(value, dict) else value
    if isinstance(found, str):
        return found
    if isinstance(found, list) and all(isinstance(item, str) for item in found):
        return found
    raise DataError(f"{where}: no text in this row. {_SHAPE}")
