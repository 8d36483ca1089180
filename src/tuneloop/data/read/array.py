"""JSON arrays of any size, element by element: borders are found in a sliding window, parsing is left to others."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tuneloop.data.read.found import Found, Limits, RawJson
from tuneloop.data.schema import Origin, Problem, RowError

# A string of JSON holds no bare line end (RFC 8259, 7): one that seems to is broken, and the lines after it are not.
STRING = rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
_PLAIN = rb'[^"\[\]{}]++|' + STRING


def _bracketed(levels: int) -> bytes:
    """Brackets that nest so deep, each closed by its own kind."""
    inner = rb"(?:" + _PLAIN + (rb"|" + _bracketed(levels - 1) if levels > 1 else b"") + rb")*+"
    return rb"(?:\{" + inner + rb"\}|\[" + inner + rb"\])"


# Nearly every row nests less than this, so that one call of `match` passes it whole, in C.
_TO_COMMA = re.compile(rb'(?:[^",\[\]{}]++|' + STRING + rb"|" + _bracketed(4) + rb")*+", re.DOTALL)
_TO_BRACKET = re.compile(rb"(?:" + _PLAIN + rb"|" + _bracketed(4) + rb")*+", re.DOTALL)
# The usual case in one go: a gap, an element, and what ends it.
_ELEMENT = re.compile(rb"[ \t\r\n,]*+(" + _TO_COMMA.pattern + rb")(?=[,\]}])", re.DOTALL)
_GAP = re.compile(rb"[ \t\r\n,]*+")
_MAX_STEP_BYTES = 16 << 20
_MAX_INDENT = 256
_MAX_RESCAN_BYTES = 128 << 20
"""How much may be looked at twice in search of rows behind broken ones: time stays linear."""


class _OpenError(Exception):
    """The file ends before the element does."""

    def __init__(self, *, is_outside: bool) -> None:
        super().__init__()
        self.is_outside = is_outside
        """No bracket and no text is open."""


@dataclass(slots=True)
class Window:
    """The part of a file that is looked at."""

    chunks: Iterator[bytes]
    text: bytes
    line: int = 1
    """The line of the last place that was asked for."""
    column_origin: int = 0
    """Where in `text` that line begins; below 0 where this was dropped."""
    counted: int = 0
    """Where in `text` that place is."""
    damage: RowError | None = None

    def locate(self, at: int) -> tuple[int, int]:
        """Line and column of a place; places are asked for in rising order."""
        if self.text.find(b"\n", self.counted, at) >= 0:
            self.line += self.text.count(b"\n", self.counted, at)
            self.column_origin = self.text.rfind(b"\n", self.counted, at) + 1
        self.counted = max(self.counted, at)
        return self.line, at - self.column_origin + 1

    def grow(self, keep_from: int) -> int | None:
        """Read on, and forget what stands before `keep_from`; how much was forgotten, or None at the file's end."""
        parts, num_new = [], 0
        # A text that spans the border is looked at again: with longer steps less often.
        while num_new <= min(len(self.text) - keep_from, _MAX_STEP_BYTES):
            try:
                chunk = next(self.chunks, b"")
            except RowError as error:
                self.damage = error
                break
            if not chunk:
                break
            parts.append(chunk)
            num_new += len(chunk)
        if not parts:
            return None
        self.locate(keep_from)
        self.text = b"".join((self.text[keep_from:], *parts))
        self.counted -= keep_from
        self.column_origin -= keep_from
        return keep_from


@dataclass(slots=True)
class ArrayReader:
    """The elements of one array, in order; a broken one costs itself, and the rest where no line shows it."""

    window: Window
    name: str
    limits: Limits
    at: int
    """Where in the window reading goes on: at first just behind the opening bracket."""
    closer: bytes = b"]"
    can_resume: bool = True
    """Behind a broken element the next line that looks like one may be tried."""
    scanned: int = 0
    """Where in the window the search for an element's end came to a stop."""
    num_rescanned: int = 0
    broken_at: int | None = None
    """Where in the window the element begins behind which nothing was read."""
    is_closed: bool = False
    """The closing bracket was read."""
    has_more: bool = False
    """Something stands behind the closing bracket."""

    def read(self) -> Iterator[Found | Problem]:
        """Every element; commas too many are passed over, because nothing is lost by them."""
        window, max_bytes = self.window, self.limits.max_line_bytes
        ends = b"," + self.closer
        while True:
            text = window.text
            if match := _ELEMENT.match(text, self.at):
                start, end = match.span(1)
                if 0 < end - start <= max_bytes and text[end] in ends:
                    line, column = window.locate(start)
                    yield Found(line, RawJson(text[start:end].rstrip(), column))
                    self.at = end
                    continue
            self.at = start = self._skip_gap()
            if start == len(self.window.text):
                if self.broken_at is None:
                    yield self._cut_off()
                return
            line, column = self.window.locate(start)
            if self.window.text[start : start + 1] == self.closer:
                yield from self._after_the_end()
                return
            try:
                end = self._find_end()
            except RowError as error:
                yield from self._go_on_behind(error, line, column)
                continue
            except _OpenError as cut:
                text = self.window.text[self.at :].rstrip()
                # A number may have lost digits; a closed text or bracket is whole.
                if cut.is_outside and text.endswith((b"}", b"]", b'"')):
                    yield Found(line, RawJson(text, column))
                    self.at = len(self.window.text)
                    continue
                yield from self._go_on_behind(None, line, column)
                continue
            yield Found(line, RawJson(self.window.text[self.at : end].rstrip(), column))
            self.at = end

    def _skip_gap(self) -> int:
        at = self.at
        while True:
            match = _GAP.match(self.window.text, at)
            assert match is not None
            at = match.end()
            if at < len(self.window.text) or (dropped := self.window.grow(at)) is None:
                return at
            at -= dropped

    def _cut_off(self) -> Problem:
        line, _ = self.window.locate(len(self.window.text.rstrip()))
        damage = self.window.damage or RowError("not_json", "the array is not closed: the file is cut off")
        return Problem(Origin(self.name, line), damage.code, damage.reason)

    def _after_the_end(self) -> Iterator[Problem]:
        self.at += 1
        self.is_closed = True
        while True:
            rest = self.window.text[self.at :].lstrip()
            if rest:
                self.has_more = True
                line, _ = self.window.locate(len(self.window.text) - len(rest))
                yield Problem(
                    Origin(self.name, line), "not_json", "there is more after the array's end; it is not read"
                )
                return
            self.at = len(self.window.text)
            dropped = self.window.grow(self.at)
            if dropped is None:
                break
            self.at -= dropped
        if self.window.damage is not None:
            yield self._cut_off()

    def _find_end(self) -> int:
        """Where the element at `self.at` ends.

        Raises:
            RowError: it cannot end, or is too long.
            _OpenError: the file ends first.
        """
        closers, at = bytearray(), self.at
        while True:
            text = self.window.text
            match = (_TO_BRACKET if closers else _TO_COMMA).match(text, at)
            assert match is not None
            self.scanned = at = match.end()
            if at - self.at > self.limits.max_line_bytes:
                raise self._too_long()
            stop = text[at : at + 1]
            if stop and stop in b"[{":
                closers += b"]" if stop == b"[" else b"}"
                at += 1
            elif closers and stop == closers[-1:]:
                closers.pop()
                at += 1
            elif not closers and stop in (b",", self.closer):
                return at
            elif stop in (b"]", b"}"):
                raise RowError("not_json", f"not JSON: a {stop.decode()} closes what was not opened")
            elif stop == b'"' and text.find(b"\n", at) >= 0:
                raise RowError("not_json", "not JSON: a text is not closed by the end of its line")
            elif len(text) - self.at > self.limits.max_line_bytes:
                raise self._too_long()
            else:
                keep_from = max(0, self.at - _MAX_INDENT)
                dropped = self.window.grow(keep_from)
                if dropped is None:
                    raise _OpenError(is_outside=not closers and not stop)
                at -= dropped
                self.at -= dropped

    def _too_long(self) -> RowError:
        return RowError("line_too_long", f"the element has more than {self.limits.max_line_bytes} bytes")

    def _go_on_behind(self, error: RowError | None, line: int, column: int) -> Iterator[Problem]:
        """Leave out the broken element at `self.at`; go on at the next line that looks like an element's first."""
        window = self.window
        before = window.text[max(0, self.at - column + 1) : self.at]
        next_line = None
        if self.can_resume and len(before) == column - 1 <= _MAX_INDENT and not before.strip(b" \t,["):
            next_line = re.compile(rb"\n[ \t]{0,%d},?[ \t]*(?=[\[{])" % (column - 1))
        place = self.at if self.num_rescanned <= _MAX_RESCAN_BYTES else self.scanned
        while next_line is not None:
            if match := next_line.search(window.text, place):
                self.num_rescanned += max(0, self.scanned - match.end())
                self.at = match.end()
                error = error or RowError("not_json", "not JSON: the element is not closed")
                next_number, _ = window.locate(self.at)
                reason = f"{error.reason}; reading goes on in line {next_number}"
                yield Problem(Origin(self.name, line), error.code, reason)
                return
            last_line = window.text.rfind(b"\n", place)
            place = max(last_line, len(window.text) - 2 * _MAX_INDENT, 0)
            if (dropped := window.grow(place)) is None:
                break
            place -= dropped
            self.scanned -= dropped
        self.broken_at = max(0, self.at)
        self.at = len(window.text)
        window.chunks = iter(())
        error = error or window.damage or RowError("not_json", "the array is not closed: the file is cut off")
        yield Problem(Origin(self.name, line), error.code, f"{error.reason}; the rest of the file cannot be read")


def read_array(chunks: Iterator[bytes], name: str, limits: Limits) -> Iterator[Found | Problem]:
    """The elements of a file that is one JSON array, its first bytes not blank."""
    window = Window(chunks, b"")
    window.grow(0)
    while window.text.isspace() or not window.text:
        if window.grow(len(window.text)) is None:
            break
    begin = window.text.index(b"[") + 1
    return ArrayReader(window, name, limits, at=begin).read()
