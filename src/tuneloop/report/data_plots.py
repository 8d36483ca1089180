"""Draws the plots of the data page: histograms with the longest row that fits, and bars by rank."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuneloop.data.quality.records import Histogram
from tuneloop.report import figures, scale
from tuneloop.report.scale import Scale
from tuneloop.report.svg import line, safe, svg, text
from tuneloop.report.words import Words

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 30, 38
_MIN_BIN = 5.0
_TAIL = 1.5
_ROW, _NAME = 24, 92
_MOST_LETTERS = 15


@dataclass(frozen=True)
class _Bars:
    """A histogram as it is drawn: where its last bar stands for all the rest, that bar is as wide as the others."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    longest: float
    has_tail: bool

    @classmethod
    def of(cls, histogram: Histogram) -> "_Bars":
        edges, counts = list(histogram.edges), list(histogram.counts)
        width = edges[1] - edges[0]
        # Values are whole numbers: bars that hold one of them here and two there would look like a comb.
        joined = max(1, math.ceil(_MIN_BIN / width)) if width < _MIN_BIN else 1
        counts = [sum(counts[start : start + joined]) for start in range(0, len(counts), joined)]
        edges = [*edges[:-1:joined], edges[-1]]
        longest, usual = edges[-1], edges[1] - edges[0]
        has_tail = len(counts) > 1 and edges[-1] - edges[-2] > _TAIL * usual
        if has_tail:
            edges[-1] = edges[-2] + usual
        return cls(tuple(edges), tuple(counts), longest, has_tail)

    def at(self, value: float) -> float:
        """The place of a value; inside the last bar, all lengths that it stands for are spread evenly."""
        if not self.has_tail or value <= self.edges[-2]:
            return value
        share = (value - self.edges[-2]) / (self.longest - self.edges[-2])
        return self.edges[-2] + min(share, 1.0) * (self.edges[-1] - self.edges[-2])


def histogram_plot(
    histogram: Histogram, words: Words, *, x_title: str, limit: int | None = None, size: tuple[int, int] = (440, 220)
) -> str:
    """Rows by length; what lies beyond `limit` is drawn in another colour, with a line where it begins."""
    if not histogram.counts:
        return ""
    bars = _Bars.of(histogram)
    width, height = size
    across = Scale(bars.edges[0], bars.edges[-1], _LEFT, width - _RIGHT)
    top = scale.nice_range([0, max(bars.counts)], 4, zero=True)[1]
    up = Scale(0, top, height - _BOTTOM, _TOP)
    body = [_axes(across, up, size, (x_title, words("check.y.rows")))]
    beyond = limit if limit is not None and limit < bars.longest else None
    for index, count in enumerate(bars.counts):
        low, high = bars.edges[index], bars.edges[index + 1]
        real_high = bars.longest if index == len(bars.counts) - 1 else high
        rows = words.many("rows", count)
        title = words("check.bar", low=figures.count(low), high=figures.count(real_high), rows=rows)
        cut = high if beyond is None else min(max(bars.at(beyond), low), high)
        y = up.at(count)
        columns = "".join(
            f'<rect class="{name}" x="{across.at(start) + 0.5:.1f}" y="{y:.1f}" '
            f'width="{max(across.at(end) - across.at(start) - 1, 0.5):.1f}" height="{up.start - y:.1f}"/>'
            for name, start, end in (("column", low, cut), ("column beyond", cut, high))
            if end > start and count
        )
        body.append(
            f'<g class="bin"><title>{safe(title)}</title>{columns}<rect class="catch" x="{across.at(low):.1f}" '
            f'y="{_TOP}" width="{across.at(high) - across.at(low):.1f}" height="{height - _TOP - _BOTTOM}"/></g>'
        )
    if beyond is not None:
        x = across.at(bars.at(beyond))
        side, shift = ("end", -6) if x > width / 2 else ("", 6)
        body += [
            line(x, _TOP - 8, x, height - _BOTTOM, "limit-line"),
            text(x + shift, _TOP - 1, words("check.limit", n=figures.count(beyond)), f"limit {side}"),
        ]
    if bars.has_tail:
        body.append(text(width - _RIGHT, 12, words("check.longest", n=figures.count(bars.longest)), "note end"))
    label = f"{x_title}: {figures.count(bars.edges[0])} – {figures.count(bars.longest)}"  # noqa: RUF001 - a dash
    return svg(width, height, body, label)


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


def _axes(across: Scale, up: Scale, size: tuple[int, int], titles: tuple[str, str]) -> str:
    width, height = size
    floor = height - _BOTTOM
    parts = [text(0, 12, titles[1], "axis-title")]
    y_ticks = scale.whole_ticks(0, int(up.high), 4)
    for value, label in zip(y_ticks, scale.tick_labels(y_ticks), strict=True):
        y = up.at(value)
        parts += [line(_LEFT, y, width - _RIGHT, y, "grid"), text(_LEFT - 8, y + 4, label, "tick end")]
    parts.append(line(_LEFT, floor, width - _RIGHT, floor, "axis"))
    x_ticks = scale.ticks(across.low, across.high, 5)
    for value, label in zip(x_ticks, scale.tick_labels(x_ticks), strict=True):
        x = across.at(value)
        parts += [line(x, floor, x, floor + 4, "axis"), text(x, floor + 17, label, "tick mid")]
    parts.append(text(width - _RIGHT, height - 4, titles[0], "axis-title end"))
    return "".join(parts)
