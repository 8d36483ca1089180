"""Draws the plots of the data page: histograms with the longest row that fits, and bars by rank."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tuneloop.data.survey.records import Histogram
from tuneloop.report import figures, scale
from tuneloop.report.scale import Scale
from tuneloop.report.svg import line, safe, svg, text
from tuneloop.report.words import Words

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 30, 38
_MIN_BIN = 5.0
_LONG_TAIL = 1.5
_TAIL, _GAP, _CLEAR = 44, 14, 26
_ROW, _NAME = 24, 92
_MOST_LETTERS = 15


@dataclass(frozen=True)
class _Bars:
    """A histogram with its pixels; a last bar that stands for all the rest is set apart from the axis."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    across: Scale
    tail: Scale | None

    @classmethod
    def of(cls, histogram: Histogram, width: int) -> "_Bars":
        edges, counts = list(histogram.edges), list(histogram.counts)
        is_tail = len(counts) > 1 and edges[-1] - edges[-2] > _LONG_TAIL * (edges[1] - edges[0])
        last = counts.pop() if is_tail else None
        longest = edges.pop() if is_tail else edges[-1]
        # Values are whole numbers: bars that hold one of them here and two there would look like a comb.
        joined = max(1, math.ceil(_MIN_BIN / (edges[1] - edges[0]))) if edges[1] - edges[0] < _MIN_BIN else 1
        counts = [sum(counts[start : start + joined]) for start in range(0, len(counts), joined)]
        edges = [*edges[:-1:joined], edges[-1]]
        end = width - _RIGHT
        if last is None:
            return cls(tuple(edges), tuple(counts), Scale(edges[0], edges[-1], _LEFT, end), None)
        across = Scale(edges[0], edges[-1], _LEFT, end - _TAIL - _GAP)
        tail = Scale(edges[-1], longest, end - _TAIL, end)
        return cls((*edges, longest), (*counts, last), across, tail)

    def spans(self) -> Iterator[tuple[float, float, int, Scale]]:
        """From, to, how many, and the scale that places them."""
        for index, ((low, high), count) in enumerate(zip(pairwise(self.edges), self.counts, strict=True)):
            is_last = index == len(self.counts) - 1
            yield low, high, count, self.tail if self.tail and is_last else self.across

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.tail.at(value) if self.tail and value > self.tail.low else self.across.at(value)


def histogram_plot(
    histogram: Histogram, words: Words, *, x_title: str, limit: int | None = None, size: tuple[int, int] = (404, 220)
) -> str:
    """Rows by length; what lies beyond `limit` is drawn in another colour, with a line where it begins."""
    if not histogram.counts:
        return ""
    width, height = size
    bars = _Bars.of(histogram, width)
    top = scale.nice_range([0, max(bars.counts)], 4, zero=True)[1]
    up = Scale(0, top, height - _BOTTOM, _TOP)
    body = [_axes(bars, up, size, (x_title, words("check.y.rows")), words)]
    longest = bars.edges[-1]
    beyond = float(limit) if limit is not None and limit < longest else math.inf
    for low, high, count, across in bars.spans():
        shown = words("check.bar", low=figures.count(low), high=figures.count(high), rows=words.many("rows", count))
        cut = min(max(beyond, low), high)
        columns = [_column(across, (low, cut), up.at(count), up.start, "column")] if cut > low and count else []
        if cut < high and count:
            columns.append(_column(across, (cut, high), up.at(count), up.start, "column beyond"))
        left, right = across.at(low), across.at(high)
        body.append(
            f'<g class="bin"><title>{safe(shown)}</title>{"".join(columns)}<rect class="catch" x="{left:.1f}" '
            f'y="{_TOP}" width="{right - left:.1f}" height="{height - _TOP - _BOTTOM}"/></g>'
        )
    if math.isfinite(beyond):
        x = max(bars.at(beyond), bars.across.start)
        side, shift = ("end", -6) if x > width / 2 else ("", 6)
        body += [
            line(x, _TOP - 8, x, height - _BOTTOM, "limit-line"),
            text(x + shift, _TOP - 1, words("check.limit", n=figures.count(beyond)), f"limit {side}"),
        ]
    ends = words.between(figures.count(bars.edges[0]), figures.count(longest))
    return svg(width, height, body, f"{x_title}: {ends}")


def rank_bars(items: Sequence[tuple[str, int]], *, width: int = 224) -> str:
    """One bar a line, with its name before it and its share behind."""
    total = sum(count for _, count in items)
    if not total:
        return ""
    across = Scale(0, max(count for _, count in items), _NAME, width - 52)
    body = []
    for index, (name, count) in enumerate(items):
        y = index * _ROW
        shown = name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"
        share = figures.percent(count / total)
        end = across.at(count)
        body.append(
            f'<g class="rank"><title>{safe(f"{name}: {figures.count(count)} ({share})")}</title>'
            f'{text(0, y + 15, shown, "label")}<rect class="column" x="{_NAME}" y="{y + 5}" '
            f'width="{max(end - _NAME, 1):.1f}" height="12"/>{text(end + 6, y + 15, share, "tick")}</g>'
        )
    label = ", ".join(f"{name} {figures.count(count)}" for name, count in items)
    return svg(width, len(items) * _ROW, body, label)


def _column(across: Scale, ends: tuple[float, float], y: float, floor: float, name: str) -> str:
    left, right = map(across.at, ends)
    wide = max(right - left - 1, 0.5)
    return f'<rect class="{name}" x="{left + 0.5:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{floor - y:.1f}"/>'


def _axes(bars: _Bars, up: Scale, size: tuple[int, int], titles: tuple[str, str], words: Words) -> str:
    (width, height), across, tail = size, bars.across, bars.tail
    floor = height - _BOTTOM
    parts = [text(0, 12, titles[1], "axis-title")]
    y_ticks = scale.whole_ticks(0, int(up.high), 4)
    for value, label in zip(y_ticks, scale.tick_labels(y_ticks), strict=True):
        y = up.at(value)
        parts += [line(_LEFT, y, width - _RIGHT, y, "grid"), text(_LEFT - 8, y + 4, label, "tick end")]
    parts.append(line(across.start, floor, across.end, floor, "axis"))
    x_ticks = scale.ticks(across.low, across.high, 5)
    for value, label in zip(x_ticks, scale.tick_labels(x_ticks), strict=True):
        x = across.at(value)
        parts.append(line(x, floor, x, floor + 4, "axis"))
        # The end of the tail is named too; two names must not run into each other.
        if tail is None or x < tail.start - _CLEAR:
            parts.append(text(x, floor + 17, label, "tick mid"))
    if tail:
        end = words("check.tail", n=figures.count(tail.high))
        parts += [line(tail.start, floor, tail.end, floor, "axis"), text(tail.end, floor + 17, end, "tick end")]
    parts.append(text(width - _RIGHT, height - 4, titles[0], "axis-title end"))
    return "".join(parts)
