"""Draws the plots of the report as SVG text: pure functions, data in, markup out; colours come from report.css."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tuneloop.report import figures, scale
from tuneloop.report.curves import Curve
from tuneloop.report.scale import Point, Scale
from tuneloop.report.story import RoundPoint
from tuneloop.report.strips import ends_of, interval_text
from tuneloop.report.svg import cross, diamond, line, safe, svg, text
from tuneloop.report.verdict import Target
from tuneloop.report.words import Words

_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 14, 30, 38
_MOST_HOVERS = 120


@dataclass(frozen=True)
class Frame:
    """The inside of a plot, in pixels, with its two scales."""

    width: int
    height: int
    x: Scale
    y: Scale

    @classmethod
    def around(cls, width: int, height: int, x: tuple[float, float], y: tuple[float, float]) -> "Frame":
        """A frame with room for tick labels and titles."""
        return cls(
            width,
            height,
            Scale(*x, _LEFT, width - _RIGHT),
            Scale(*y, height - _BOTTOM, _TOP),
        )

    def axes(self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_title: str, y_title: str) -> str:
        """Grid, ticks with numbers, and a title with its unit on each axis."""
        parts = [text(0, 12, y_title, "axis-title")]
        for value, label in zip(y_ticks, scale.tick_labels(y_ticks), strict=True):
            y = self.y.at(value)
            parts += [line(_LEFT, y, self.width - _RIGHT, y, "grid"), text(_LEFT - 8, y + 4, label, "tick end")]
        floor = self.height - _BOTTOM
        parts.append(line(_LEFT, floor, self.width - _RIGHT, floor, "axis"))
        for value, label in zip(x_ticks, scale.tick_labels(x_ticks), strict=True):
            x = self.x.at(value)
            parts += [line(x, floor, x, floor + 4, "axis"), text(x, floor + 17, label, "tick mid")]
        parts.append(text(self.width - _RIGHT, self.height - 4, x_title, "axis-title end"))
        return "".join(parts)

    def path(self, points: Sequence[Point], name: str) -> str:
        """A line through points, thinned to what a screen can show."""
        if not points:
            return ""
        corners = " ".join(f"{self.x.at(x):.1f},{self.y.at(y):.1f}" for x, y in scale.thin(points))
        return f'<polyline class="{name}" points="{corners}"/>'


def loss_plot(curve: Curve, words: Words, *, width: int = 580, height: int = 290) -> str:
    """Training loss (raw and smoothed) and validation loss over steps, with a readout under the pointer."""
    values = [value for _, value in (*curve.loss, *curve.validation)]
    if not values:
        return ""
    frame = Frame.around(width, height, (0, max(curve.planned, 1)), scale.nice_range(values))
    y_ticks, x_ticks = _ticks_of(frame, width)
    dots = "".join(
        diamond(frame.x.at(x), frame.y.at(y), "validation-dot", f"{words('step_n', n=round(x))}\n{_named(words, y)}")
        for x, y in curve.validation
    )
    body = [
        frame.axes(x_ticks, y_ticks, words("step"), words("loss.unit")),
        _stage_lines(frame, curve, words),
        frame.path(curve.loss, "raw" if curve.smoothed else "smooth"),
        frame.path(curve.smoothed, "smooth"),
        frame.path(curve.validation, "validation-line"),
        _kept_line(frame, curve, words),
        "".join(
            cross(frame.x.at(mark.x), height - _BOTTOM - 7, f"{words('skipped_mark')}: {mark.text}")
            for mark in curve.skipped
        ),
        hovers(frame, curve.smoothed or curve.loss, _loss_titles(curve, words), most=width // 5),
        dots,
    ]
    first, last = (
        (curve.smoothed or curve.loss or curve.validation)[0],
        (curve.smoothed or curve.loss or curve.validation)[-1],
    )
    label = f"{words('loss')}, {words('round', n=curve.round)}: {figures.loss(first[1])} → {figures.loss(last[1])}"
    return svg(width, height, body, label)


def rate_plot(curve: Curve, words: Words, *, width: int = 300, height: int = 290) -> str:
    """The learning rate over steps."""
    points = curve.learning_rate
    if not points:
        return ""
    frame = Frame.around(width, height, (0, max(curve.planned, 1)), scale.nice_range([y for _, y in points], zero=True))
    y_ticks, x_ticks = _ticks_of(frame, width)
    titles = {x: f"{words('step_n', n=round(x))}\n{words('learning_rate')} {figures.significant(y)}" for x, y in points}
    body = [
        frame.axes(x_ticks, y_ticks, words("step"), words("learning_rate.axis")),
        frame.path(points, "rate"),
        hovers(frame, points, titles, most=width // 5),
    ]
    return svg(width, height, body, f"{words('learning_rate')}, {words('round', n=curve.round)}")


def rounds_plot(points: Sequence[RoundPoint], target: Target | None, metric: str, words: Words) -> str:
    """The main score after each round, with intervals: filled where it was accepted, hollow where not."""
    width, height = 440, 260
    ends = [end for point in points for end in ends_of(point.estimate)] + ([target.value] if target else [])
    low, high = scale.nice_range(ends)
    frame = Frame.around(width, height, (-0.5, len(points) - 0.5), (low, high))
    digits = figures.digits_for(ends)
    body = [frame.axes([], scale.ticks(low, high, 4), "", words("main_by_round", metric=words.metric(metric)))]
    if target:
        y = frame.y.at(target.value)
        body += [
            line(_LEFT, y, width - _RIGHT, y, "target-line"),
            text(_LEFT + 4, y - 5, f"{words('target')} {target.value:g}", "note"),
        ]
    middle = [(frame.x.at(index), frame.y.at(point.estimate.value)) for index, point in enumerate(points)]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in middle)
    body.append(f'<polyline class="joined" points="{joined}"/>')
    for point, (x, y) in zip(points, middle, strict=True):
        name = words("base") if point.outcome == "base" else words("round", n=point.round)
        told = "" if point.outcome == "base" else words(point.outcome)
        title = f"{name}: {interval_text(point.estimate, digits, words)}"
        ends_y = [frame.y.at(end) for end in ends_of(point.estimate)]
        body += [
            f'<g class="point {point.outcome}"><title>{safe(title)}</title>',
            _whisker(x, ends_y) if len(ends_y) > 1 else "",
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/></g>',
            text(x + 10, y - 8, figures.score(point.estimate.value, digits), "value"),
            text(x, height - _BOTTOM + 17, name, "tick mid strong"),
            text(x, height - _BOTTOM + 32, told.lower(), "tick mid"),
        ]
    return svg(width, height, body, words("main_by_round", metric=words.metric(metric)))


def hovers(frame: Frame, points: Sequence[Point], titles: dict[float, str], *, most: int = _MOST_HOVERS) -> str:
    """Strips under the pointer: each shows one step's dot and tells its numbers."""
    count = min(len(points), most)
    if count == 0:
        return ""
    chosen = [points[(2 * index + 1) * len(points) // (2 * count)] for index in range(count)]
    xs = [frame.x.at(x) for x, _ in chosen]
    edges = [frame.x.start, *((one + two) / 2 for one, two in pairwise(xs)), frame.x.end]
    top, floor = frame.y.end, frame.y.start
    strips = []
    for index, (value, y) in enumerate(chosen):
        left, right, x = edges[index], edges[index + 1], xs[index]
        strips.append(
            f'<g class="hover"><title>{safe(titles.get(value, ""))}</title>'
            f'<rect x="{left:.1f}" y="{top:.0f}" width="{max(right - left, 0):.1f}" height="{floor - top:.0f}"/>'
            f'<path d="M{x:.1f} {top:.0f}V{floor:.0f}"/><circle cx="{x:.1f}" cy="{frame.y.at(y):.1f}" r="3.5"/></g>'
        )
    return "".join(strips)


def _ticks_of(frame: Frame, width: int) -> tuple[list[float], list[float]]:
    wide = 450
    return (
        scale.ticks(frame.y.low, frame.y.high),
        scale.whole_ticks(int(frame.x.low), int(frame.x.high), 8 if width > wide else 5),
    )


def _stage_lines(frame: Frame, curve: Curve, words: Words) -> str:
    return "".join(
        line(frame.x.at(mark.x), _TOP, frame.x.at(mark.x), frame.height - _BOTTOM, "stage-line")
        + text(frame.x.at(mark.x) + 5, _TOP + 10, words("stage_n", n=mark.text), "note")
        for mark in curve.stages
    )


def _kept_line(frame: Frame, curve: Curve, words: Words) -> str:
    if curve.kept is None or not frame.x.low <= curve.kept.x <= frame.x.high:
        return ""
    x = frame.x.at(curve.kept.x)
    side, shift = ("end", -5) if x > frame.width / 2 else ("", 5)
    return line(x, _TOP, x, frame.height - _BOTTOM, "kept-line") + text(
        x + shift, _TOP + 10, words("kept_step"), f"note {side}"
    )


def _loss_titles(curve: Curve, words: Words) -> dict[float, str]:
    raw, rates = dict(curve.loss), dict(curve.learning_rate)
    titles = {}
    for x, value in curve.smoothed or curve.loss:
        lines = [words("step_n", n=figures.count(x)), f"{words('raw')} {figures.loss(raw[x])}"]
        if curve.smoothed:
            lines.append(f"{words('smoothed.short')} {figures.loss(value)}")
        if x in rates:
            lines.append(f"{words('learning_rate')} {figures.significant(rates[x])}")
        titles[x] = "\n".join(lines)
    return titles


def _named(words: Words, value: float) -> str:
    return f"{words('validation')} {figures.loss(value)}"


def _whisker(x: float, ends: Sequence[float]) -> str:
    """An upright interval with caps."""
    low, high = ends[1], ends[-1]
    return (
        f'<path class="whisker" d="M{x - 5:.1f} {low:.1f}h10M{x - 5:.1f} {high:.1f}h10M{x:.1f} {low:.1f}V{high:.1f}"/>'
    )
