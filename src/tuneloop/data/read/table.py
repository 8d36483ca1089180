"""CSV and TSV: a header, then records, each on the line on which it begins; every cell stays text."""

import csv
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tuneloop.core.errors import DataError
from tuneloop.data.read.found import Found, Limits
from tuneloop.data.read.lines import split_lines
from tuneloop.data.read.parse import not_utf8
from tuneloop.data.schema import Origin, Problem, RowError

_MAX_REPLAYS = 16
"""How often lines are read again behind a quote that was never closed: time stays linear."""

_HELD_LINE_BYTES = 100
"""What Python needs for a line beside its letters: a record of millions of short lines is bounded too."""


@dataclass(slots=True)
class _Feed:
    """Hands lines to the csv module and remembers those of the record that is being read."""

    lines: Iterator[tuple[int, bytes | RowError]]
    limits: Limits
    record: list[tuple[int, bytes | RowError]] = field(default_factory=list)
    num_bytes: int = 0
    is_text: bool = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, line = next(self.lines)
        self.record.append((number, line))
        if isinstance(line, RowError):
            raise line
        self.num_bytes += len(line) + (_HELD_LINE_BYTES if len(self.record) > 1 else 0)
        if self.num_bytes > self.limits.max_line_bytes:
            raise RowError("line_too_long", f"the record has more than {self.limits.max_line_bytes} bytes")
        self.is_text = self.is_text and b"\0" not in line
        try:
            return line.decode()
        except UnicodeDecodeError:
            # It passes here, so that the record's end is found, and is refused with the record.
            self.is_text = False
            return line.decode(errors="surrogateescape")

    def forget(self) -> None:
        """Begin a record."""
        self.record = []
        self.num_bytes = 0
        self.is_text = True

    def check_text(self) -> None:
        """Refuse a record that is no text.

        Raises:
            RowError: it is not UTF-8, or holds the byte 0.
        """
        if self.is_text:
            return
        raw = b"".join(line for _, line in self.record if isinstance(line, bytes))
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            raise not_utf8(error, line=self.record[0][0]) from error
        raise RowError("not_text", "holds the byte 0: the file is damaged, or no text")


def read_table(chunks: Iterator[bytes], name: str, limits: Limits, *, delimiter: str) -> Iterator[Found | Problem]:
    """A row `{column: text}` a record.

    Raises:
        DataError: the first record is no header.
    """
    feed = _Feed(split_lines(chunks, limits), limits)
    # Without `strict` the csv module reads a quote in the wrong place as best it can, and says nothing.
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    header: list[str] = []
    num_replays = 0
    while True:
        feed.forget()
        try:
            cells = _next_record(reader, feed)
            if cells is None:
                return
            feed.check_text()
            if cells and not header:
                header = _parse_header(cells, name, delimiter)
            elif cells:
                yield Found(feed.record[0][0], _to_row(header, cells))
        except RowError as error:
            line, *behind = feed.record
            if not header:
                raise DataError(f"{name}:{line[0]}: the header cannot be read: {error.reason}.") from error
            told = error
            if behind and error.code in ("open_quote", "line_too_long", "bad_quotes"):
                told = RowError("open_quote", "a quoted cell of the record that begins here is not closed")
                # In one column a cell's own lines would look like rows.
                if len(header) > 1 and num_replays < _MAX_REPLAYS:
                    num_replays += 1
                    feed.lines = itertools.chain(behind, feed.lines)
            yield Problem(Origin(name, line[0]), told.code, told.reason)


def _next_record(reader: Iterator[list[str]], feed: _Feed) -> list[str] | None:
    """The cells of the next record; None at the end."""
    # The csv module has one limit for the whole process, 128 KiB, which a long document passes.
    process_limit = csv.field_size_limit(feed.limits.max_line_bytes)
    try:
        return next(reader, None)
    except csv.Error as error:
        code = "open_quote" if str(error) == "unexpected end of data" else "bad_quotes"
        raise RowError(code, f"not CSV: {error}") from error
    finally:
        csv.field_size_limit(process_limit)


def _to_row(header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise RowError("wrong_columns", f"has {len(cells)} cells, the header {len(header)}")
    return dict(zip(header, cells, strict=True))


def _parse_header(cells: list[str], name: str, delimiter: str) -> list[str]:
    if len(cells) == 1:
        other = next((mark for mark in ";\t|," if mark != delimiter and mark in cells[0]), None)
        if other is not None:
            raise DataError(
                f"{name}: has one column, {cells[0][:80]!r}. It seems to be parted by {other!r}: save it as CSV with "
                "commas, or as TSV with tabs and the ending .tsv."
            )
    names = [cell.strip() or f"column_{number}" for number, cell in enumerate(cells, 1)]
    twice = [column for column, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{name}: the header names the column {twice[0]!r} twice. Give each a name of its own.")
    return names
