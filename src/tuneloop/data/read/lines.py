"""Rows that stand one a line, and text whose paragraphs are the rows."""

from collections.abc import Iterator

from tuneloop.data.read.found import Found, Limits, RawJson
from tuneloop.data.read.parse import not_utf8
from tuneloop.data.schema import Origin, Problem, RowError


def split_lines(chunks: Iterator[bytes], limits: Limits) -> Iterator[tuple[int, bytes | RowError]]:
    r"""Number and content of each line, its end included: \n, \r\n or \r.

    A line that is too long, or the damage that ends the file, is an error in the line's place.
    """
    number, parts, num_held = 1, [], 0
    try:
        for chunk in _end_with_lines(chunks):
            lines = chunk.splitlines(keepends=True)
            tail = b"" if chunk.endswith((b"\n", b"\r")) else lines.pop()
            if lines and num_held:
                num_held += len(lines[0])
                lines[0] = b"".join((*parts, lines[0]))
            for line in lines:
                yield number, line if max(num_held, len(line)) <= limits.max_line_bytes else _too_long(limits)
                parts, num_held = [], 0
                number += 1
            num_held += len(tail)
            parts = [*parts, tail] if num_held <= limits.max_line_bytes else []
    except RowError as error:
        yield number, error
        return
    if num_held:
        yield number, b"".join(parts) if num_held <= limits.max_line_bytes else _too_long(limits)


def _end_with_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    r"""The same bytes, no chunk ending in a \r, whose \n may be the next one's first byte."""
    held = b""
    for chunk in chunks:
        whole = held + chunk
        held = b"\r" if whole.endswith(b"\r") else b""
        if given := whole.removesuffix(b"\r"):
            yield given
    if held:
        yield held


def _too_long(limits: Limits) -> RowError:
    return RowError("line_too_long", f"the line has more than {_size(limits.max_line_bytes)}")


def _size(num_bytes: int) -> str:
    return f"{num_bytes >> 20} MiB" if num_bytes >= 1 << 20 else f"{num_bytes} bytes"


def read_jsonl(chunks: Iterator[bytes], name: str, limits: Limits) -> Iterator[Found | Problem]:
    """A value a line; blank lines count as lines and hold nothing."""
    for number, line in split_lines(chunks, limits):
        if isinstance(line, RowError):
            yield Problem(Origin(name, number), line.code, line.reason)
        elif not line.isspace():
            yield Found(number, RawJson(line))


def read_text(chunks: Iterator[bytes], name: str, limits: Limits) -> Iterator[Found | Problem]:
    """A row `{"text": ...}` a paragraph; paragraphs are parted by blank lines."""
    begin, held = 0, bytearray()
    error: RowError | None = None
    for number, line in split_lines(chunks, limits):
        if isinstance(line, bytes) and not line.strip():
            if begin:
                yield _paragraph(name, begin, held, error)
            begin, held, error = 0, bytearray(), None
            continue
        begin = begin or number
        if isinstance(line, RowError):
            error = error or line
        elif error is None:
            held += line
            if len(held) > limits.max_line_bytes:
                error = RowError("line_too_long", f"the paragraph has more than {_size(limits.max_line_bytes)}")
                held.clear()
    if begin:
        yield _paragraph(name, begin, held, error)


def _paragraph(name: str, begin: int, held: bytearray, error: RowError | None) -> Found | Problem:
    try:
        if error is not None:
            raise error
        return Found(begin, {"text": decode_text(bytes(held), line=begin).strip("\n")})
    except RowError as told:
        return Problem(Origin(name, begin), told.code, told.reason)


def decode_text(raw: bytes, *, line: int) -> str:
    r"""Text as its writer meant it: UTF-8, every line's end \n.

    Raises:
        RowError: it is not UTF-8, or holds the byte 0, which no text does.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(error, line=line) from error
    if "\0" in text:
        raise RowError("not_text", "holds the byte 0: the file is damaged, or no text")
    return text.replace("\r\n", "\n").replace("\r", "\n")
