"""What every page has: templates that escape, a style that its own policy names by hash, text that can be written."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tuneloop.report import figures

_TEMPLATES = Path(__file__).parent / "templates"


def new_environment(names: dict[str, Any], filters: dict[str, Any]) -> Environment:
    """Our templates with what a page calls in them, beside the numbers that all pages write alike."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.globals.update(names)
    environment.filters |= {
        "count": figures.count,
        "score": figures.score,
        "signed": figures.signed,
        "significant": figures.significant,
        "percent": figures.percent,
        "short": figures.short_hash,
        **filters,
    }
    return environment


def render_page(environment: Environment, template: str, styles: tuple[str, ...], **values: Any) -> str:
    """The page as HTML, with its styles inside."""
    css = "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in styles)
    style_hash = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    page = environment.get_template(template).render(css=css, style_hash=style_hash, **values)
    # A lone surrogate from a damaged row cannot be written as UTF-8.
    return page.encode("utf-8", "replace").decode()


def _visible(value: Any) -> Any:
    """Foreign text passes here on its way to the page: control characters become visible signs."""
    is_markup = hasattr(value, "__html__")
    return figures.clean(value) if isinstance(value, str) and not is_markup else value
