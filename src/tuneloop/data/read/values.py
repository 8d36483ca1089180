"""Any file of rows to its values, in order: what cannot be read is a problem with its place, never lost."""

import codecs
import itertools
from collections.abc import Iterator
from typing import Literal

import orjson

from tuneloop.core.errors import DataError
from tuneloop.data.read.array import read_array
from tuneloop.data.read.chunks import GZIP, ZSTD, read_chunks, read_head
from tuneloop.data.read.columnar import read_arrow, read_parquet
from tuneloop.data.read.files import PACKED_ENDINGS, SourceFile
from tuneloop.data.read.found import DEFAULT, Found, Limits, RawJson
from tuneloop.data.read.lines import read_jsonl, read_text
from tuneloop.data.read.members import read_object
from tuneloop.data.read.parse import parse_found
from tuneloop.data.read.table import read_table
from tuneloop.data.schema import Problem, RowError

__all__ = ["DEFAULT", "Container", "Found", "Limits", "RawJson", "parse_found", "probe", "read_values"]

Container = Literal["jsonl", "json", "csv", "tsv", "parquet", "arrow", "text"]

_BY_ENDING: dict[str, Container] = {".csv": "csv", ".tsv": "tsv", ".txt": "text"}
_HEAD_BYTES = 1 << 20
_FOREIGN_BOMS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_FOREIGN_PATTERNS: dict[tuple[bool, ...], str] = {
    (False, True, True, True): "UTF-32LE",
    (True, True, True, False): "UTF-32BE",
    (False, True, False, True): "UTF-16LE",
    (True, False, True, False): "UTF-16BE",
}
"""Which of the first four bytes are 0 where the first letters are ASCII (RFC 4627, 3)."""
_NO_ROWS = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet. Unpack it, or save the sheet as CSV",
    b"PK\x05\x06": "an empty ZIP archive",
    b"%PDF": "a PDF document. Rows have to be taken out of it first",
    b"SQLite format 3\0": "an SQLite database. Write the rows to JSONL first",
    b"\xfd7zXZ\0": "packed with xz. Pack it with gzip or zstd",
    b"BZh": "packed with bzip2. Pack it with gzip or zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive. Unpack it",
    b"\x80\x04\x95": "a Python pickle, which could run code. Write the rows to JSONL first",
    b"FEA1": "Feather of version 1. Write version 2",
}


def probe(file: SourceFile) -> Container:
    """Which container a file is, by its first bytes and its name.

    Raises:
        DataError: it cannot be read, is empty, or holds no rows that can be read.
    """
    container, _ = _open(file, DEFAULT)
    return container


def read_values(file: SourceFile, *, limits: Limits = DEFAULT) -> Iterator[Found | Problem]:
    """Every value of a file in the file's order, and a problem for each that cannot be read.

    Raises:
        DataError: the file cannot be read at all: it is not there, empty, or in another encoding.
    """
    container, chunks = _open(file, limits)
    match container:
        case "parquet":
            yield from read_parquet(file, limits)
        case "arrow":
            yield from read_arrow(file, limits)
        case "csv" | "tsv":
            yield from read_table(chunks, file.name, limits, delimiter="," if container == "csv" else "\t")
        case "text":
            yield from read_text(chunks, file.name, limits)
        case "jsonl":
            yield from read_jsonl(chunks, file.name, limits)
        case "json":
            yield from _read_json(chunks, file.name, limits)


def _read_json(chunks: Iterator[bytes], name: str, limits: Limits) -> Iterator[Found | Problem]:
    head = next(chunks)
    read = read_array if head.lstrip().startswith(b"[") else read_object
    return read(itertools.chain([head], chunks), name, limits)


def _open(file: SourceFile, limits: Limits) -> tuple[Container, Iterator[bytes]]:
    """The container, and the chunks of what is not columnar, the first of them not blank."""
    magic = read_head(file)
    ending = _ending(file)
    is_packed = magic.startswith((GZIP, ZSTD))
    is_named = bool(magic) and not is_packed
    if magic.startswith(b"PAR1") or (is_named and ending == ".parquet"):
        return "parquet", iter(())
    if magic.startswith((b"ARROW1", b"\xff\xff\xff\xff")) or (is_named and ending in (".arrow", ".feather")):
        return "arrow", iter(())
    head, rest, is_whole = _take_head(read_chunks(file, limits), limits)
    _refuse_foreign(head, file.name)
    head = head.removeprefix(codecs.BOM_UTF8)
    if is_packed and head.startswith((b"PAR1", b"ARROW1")):
        raise DataError(
            f"{file.name}: is Parquet or Arrow packed once more. Unpack it: both pack their columns already."
        )
    if is_whole and not head.strip():
        raise DataError(f"{file.name}: has no rows.")
    return _container(head, ending, file.name), itertools.chain([head], rest)


def _ending(file: SourceFile) -> str:
    name = file.path.name.lower()
    for packed in PACKED_ENDINGS:
        name = name.removesuffix(packed)
    return name[name.rfind(".") :] if "." in name else ""


def _take_head(chunks: Iterator[bytes], limits: Limits) -> tuple[bytes, Iterator[bytes], bool]:
    """The beginning, at least its first letter; the rest, damage at its end included; whether nothing follows."""
    parts: list[bytes] = []
    num_bytes, is_blank = 0, True
    try:
        while num_bytes < _HEAD_BYTES or (is_blank and num_bytes < limits.max_line_bytes):
            chunk = next(chunks, b"")
            if not chunk:
                return b"".join(parts), iter(()), True
            parts.append(chunk)
            num_bytes += len(chunk)
            is_blank = is_blank and not chunk.removeprefix(codecs.BOM_UTF8).strip()
    except RowError as error:
        return b"".join(parts), _raise(error), False
    return b"".join(parts), chunks, False


def _raise(error: RowError) -> Iterator[bytes]:
    raise error
    yield b""


def _refuse_foreign(head: bytes, name: str) -> None:
    for magic, what in _NO_ROWS.items():
        if head.startswith(magic):
            raise DataError(f"{name}: is {what}.")
    encoding = next((encoding for bom, encoding in _FOREIGN_BOMS.items() if head.startswith(bom)), None)
    encoding = encoding or _FOREIGN_PATTERNS.get(tuple(byte == 0 for byte in head[:4]))
    if encoding:
        raise DataError(f"{name}: is {encoding}. Save it as UTF-8: iconv -f {encoding} -t UTF-8 {name}")


def _container(head: bytes, ending: str, name: str) -> Container:
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    first = head.lstrip()[:1]
    if ending in (".jsonl", ".ndjson"):
        return "json" if _begins_an_array(head) else "jsonl"
    if first in (b"[", b"{"):
        return "jsonl" if first == b"{" and _first_line_is_a_row(head) else "json"
    if ending == ".json":
        return "jsonl"
    raise DataError(
        f"{name}: is of no known kind. Files end in .jsonl, .json, .csv, .tsv, .txt, .parquet, .arrow or .feather; "
        "those of text also in .gz or .zst."
    )


def _begins_an_array(head: bytes) -> bool:
    """In a file called JSONL a first bracket may also be a row that is a list, or a broken row."""
    first, _, rest = head.lstrip().partition(b"\n")
    first = first.rstrip()
    if not first.startswith(b"["):
        return False
    return first.endswith((b"[", b"{", b",")) or not rest.strip()


def _first_line_is_a_row(head: bytes) -> bool:
    """In a file called JSON the first line may be a whole row, with others below."""
    first, _, rest = head.lstrip().partition(b"\n")
    if not rest.strip():
        return False
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    return True
