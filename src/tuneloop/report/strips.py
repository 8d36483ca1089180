"""Draws what stands inside a line: dots with whiskers on an axis, and thin bars cut by shares."""

from collections.abc import Sequence

from tuneloop.report import figures, scale
from tuneloop.report.scale import Scale
from tuneloop.report.story import Estimate, ScoreCard
from tuneloop.report.svg import line, safe, svg, text
from tuneloop.report.words import Words


def score_strip(card: ScoreCard, words: Words, *, width: int = 264) -> str:
    """Dot and whisker for before and after on one axis; below, the difference on its own axis around zero."""
    shown = [(name, item) for name, item in (("before", card.before), ("after", card.after)) if item]
    ends = [end for _, item in shown for end in ends_of(item)]
    digits, most = figures.digits_for(ends), width // 64
    unit = min(ends) >= 0 and max(ends) <= 1
    low, high = (0.0, 1.0) if unit else scale.nice_range(ends, most, zero=True)
    left, top = 70, 16
    across = Scale(low, high, left, width - 12)
    body = []
    for index, (name, item) in enumerate(shown):
        y = top + 24 * index
        title = f"{words(name)}: {interval_text(item, digits, words)}"
        body += [text(0, y + 4, words(name), "label"), _whisker_h(across, y, item, name, title)]
    axis_y = top + 24 * len(shown) - 4
    body.append(_strip_axis(across, axis_y, scale.ticks(low, high, most)))
    height = axis_y + 22
    if card.comparison:
        difference = Estimate(card.comparison.difference, card.comparison.interval)
        around = scale.nice_range([*ends_of(difference), 0.0], most)
        across = Scale(*around, left, width - 12)
        y = height + 22
        title = f"{words('difference')}: {interval_text(difference, digits, words)}"
        body += [
            text(0, y + 4, words("difference"), "label"),
            line(across.at(0), y - 13, across.at(0), y + 20, "zero"),
            _whisker_h(across, y, difference, card.outcome, title),
            _strip_axis(across, y + 20, scale.ticks(*around, most)),
        ]
        height = y + 42
    return svg(width, height, body, f"{words.metric(card.metric)}: {words(card.outcome)}")


def share_bar(parts: Sequence[tuple[str, float]], *, height: int = 10) -> str:
    """A thin bar cut by shares; the first part is the one that matters. Hover tells each part."""
    total = sum(value for _, value in parts)
    if total <= 0:
        return ""
    body, start = [], 0.0
    for index, (name, value) in enumerate(parts):
        wide = 1000 * value / total
        title = f"{name}: {figures.percent(value / total)}"
        body.append(
            f'<rect class="part part-{min(index, 5)}" x="{start:.2f}" width="{wide:.2f}" height="{height}">'
            f"<title>{safe(title)}</title></rect>"
        )
        start += wide
    label = ", ".join(f"{name} {figures.percent(value / total)}" for name, value in parts)
    return (
        f'<svg class="bar" viewBox="0 0 1000 {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{safe(label)}">{"".join(body)}</svg>'
    )


def interval_text(item: Estimate, digits: int, words: Words) -> str:
    """`0.81 (0.71 to 0.90)`."""
    value = figures.score(item.value, digits)
    if item.interval is None:
        return f"{value} ({words('no_interval')})"
    ends = (figures.score(end, digits) for end in (item.interval.low, item.interval.high))
    return f"{value} ({words.between(*ends)})"


def ends_of(item: Estimate) -> list[float]:
    """The value, then the two ends of its interval."""
    return [item.value, *([item.interval.low, item.interval.high] if item.interval else [])]


def _whisker_h(across: Scale, y: float, item: Estimate, name: str, title: str) -> str:
    x = across.at(item.value)
    whisker = ""
    if item.interval:
        low, high = across.at(item.interval.low), across.at(item.interval.high)
        caps = f"M{low:.1f} {y - 5:.1f}v10M{high:.1f} {y - 5:.1f}v10"
        whisker = f'<path class="whisker" d="{caps}M{low:.1f} {y:.1f}H{high:.1f}"/>'
    match name:
        case "better":
            dot = f'<path class="dot" d="M{x:.1f} {y - 6:.1f}l6 11h-12z"/>'
        case "worse":
            dot = f'<path class="dot" d="M{x:.1f} {y + 6:.1f}l6 -11h-12z"/>'
        case "no_clear_difference" | "not_compared":
            dot = f'<path class="dot" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"/>'
        case _:
            dot = f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'
    return f'<g class="estimate {name}"><title>{safe(title)}</title>{whisker}{dot}</g>'


def _strip_axis(across: Scale, y: float, values: Sequence[float]) -> str:
    parts = [line(across.start, y, across.end, y, "axis")]
    for value, label in zip(values, scale.tick_labels(values), strict=True):
        x = across.at(value)
        parts += [line(x, y, x, y + 4, "axis"), text(x, y + 16, label, "tick mid")]
    return "".join(parts)
