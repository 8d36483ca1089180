"""The strokes that all plots are made of: SVG text with every foreign word escaped."""

from collections.abc import Iterable
from html import escape

from tuneloop.report import figures


def svg(width: int, height: float, body: Iterable[str], label: str) -> str:
    """A drawing that grows with the page up to its own size."""
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}" role="img" '
        f'aria-label="{safe(label)}">{"".join(body)}</svg>'
    )


def text(x: float, y: float, content: str, name: str) -> str:
    """Escaped words at a place."""
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}">{safe(content)}</text>' if content else ""


def line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    """A straight line."""
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def diamond(x: float, y: float, name: str, title: str) -> str:
    """A validation point: another shape than a training point, so that colour is not needed."""
    return f'<path class="{name}" d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"><title>{safe(title)}</title></path>'


def cross(x: float, y: float, title: str) -> str:
    """A step that went wrong."""
    return f'<path class="skipped" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"><title>{safe(title)}</title></path>'


def safe(content: str) -> str:
    """Text that cannot leave its place in the markup."""
    return escape(figures.clean(content))
