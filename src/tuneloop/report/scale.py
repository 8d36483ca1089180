"""From values to pixels: round ticks, linear scales, smoothing, and thinning that keeps the extremes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
MAX_POINTS = 600
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Scale:
    """A straight line from values to pixels: `low` lands on `start`, `high` on `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def nice_step(span: float, wanted: int = 5) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that cuts `span` into at most `wanted` parts."""
    raw = span / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - _TOLERANCE))


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values inside [low, high]; from 0 to 1 they are 0, 0.2, ... 1."""
    step = nice_step(high - low, wanted)
    first, last = math.ceil(low / step - _TOLERANCE), math.floor(high / step + _TOLERANCE)
    return [round(index * step, 12) for index in range(first, last + 1)]


def whole_ticks(low: int, high: int, wanted: int = 5) -> list[float]:
    """Ticks for things that are counted: never a fraction."""
    return [tick for tick in ticks(low, high, wanted) if float(tick).is_integer()]


def nice_range(values: Sequence[float], wanted: int = 5, *, zero: bool = False) -> tuple[float, float]:
    """Round ends around all values; zero is taken in where it is asked for or lies near.

    [0.2, 0.93] gives (0, 1): the smallest value is less than a third of the largest.
    """
    low, high = min(values), max(values)
    if zero or 0 < low < high / 3:
        low = min(low, 0.0)
    if zero or low / 3 < high < 0:
        high = max(high, 0.0)
    if high - low < _TOLERANCE * max(1.0, abs(high)):
        pad = abs(high) / 10 or 1.0
        low, high = low - pad, high + pad
    step = nice_step(high - low, wanted)
    return (
        math.floor(low / step + _TOLERANCE) * step,
        math.ceil(high / step - _TOLERANCE) * step,
    )


def tick_labels(values: Sequence[float]) -> list[str]:
    """Equal decimals for all ticks of an axis, powers of ten where values are tiny: 0, 5e-5, 1e-4."""
    largest = max((abs(value) for value in values), default=0.0)
    if 0 < largest < 1e-2:  # noqa: PLR2004 - learning rates
        return [_power(value) for value in values]
    decimals = max((_decimals(value) for value in values), default=0)
    return [f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}") for value in values]


def _decimals(value: float) -> int:
    text = f"{value:.6f}".rstrip("0")
    return len(text.partition(".")[2])


def _power(value: float) -> str:
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """The mean over `window` neighbours, half on each side.

    At the start, where losses fall fastest, the window shrinks evenly; at the end it looks back alone.
    """
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    means = []
    for index in range(len(values)):
        before = min(window // 2, index)
        after = min(before, len(values) - 1 - index)
        means.append((sums[index + after + 1] - sums[index - before]) / (before + after + 1))
    return means


def smoothing_window(size: int) -> int:
    """An odd number of neighbours, about a twentieth of the curve; 1 (no smoothing) for short curves."""
    return max(size // 20 | 1, 5) if size >= 20 else 1  # noqa: PLR2004 - shorter curves read well raw


def thin(points: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` points of a long curve: the lowest and the highest of each stretch, so that spikes stay."""
    if len(points) <= most:
        return list(points)
    kept: list[Point] = []
    buckets = most // 2
    for bucket in range(buckets):
        start, end = bucket * len(points) // buckets, (bucket + 1) * len(points) // buckets
        stretch = range(start, end)
        lowest = min(stretch, key=lambda index: points[index][1])
        highest = max(stretch, key=lambda index: points[index][1])
        kept += [points[index] for index in sorted({lowest, highest})]
    return kept
