"""Makes `report.html`: the story of a run as one file that opens without a network."""

import base64
import hashlib
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tuneloop.core.store import write_text
from tuneloop.report import figures, plots, strips
from tuneloop.report.account import written
from tuneloop.report.story import read_story
from tuneloop.report.words import Language, Words

_TEMPLATES = Path(__file__).parent / "templates"


def render_report(folder: Path, *, language: Language = "en") -> str:
    """The page of a run folder, as HTML. Parts that the folder does not hold are named as missing.

    Everything comes from the folder: the same folder gives the same bytes.
    """
    words = Words(language)
    css = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    environment = _environment(words)
    page = environment.get_template("report.html.j2").render(
        story=read_story(folder, words),
        css=css,
        style_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
    )
    # A lone surrogate from a damaged row cannot be written as UTF-8.
    return page.encode("utf-8", "replace").decode()


def write_report(folder: Path, *, language: Language = "en") -> Path:
    """Write the page to `report.html` in its run folder.

    Raises:
        DiskError: the disk is full or refuses.
    """
    path = folder / "report.html"
    write_text(path, render_report(folder, language=language))
    return path


@cache
def _environment(words: Words) -> Environment:
    """The compiled templates; they are files of ours that do not change while a program runs."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    names: dict[str, Any] = {
        "w": words,
        "loss_plot": partial(plots.loss_plot, words=words),
        "rate_plot": partial(plots.rate_plot, words=words),
        "rounds_plot": partial(plots.rounds_plot, words=words),
        "score_strip": partial(strips.score_strip, words=words),
        "share_bar": strips.share_bar,
        "digits_for": figures.digits_for,
        "language_of": figures.language_of,
        "interval_text": partial(strips.interval_text, words=words),
    }
    environment.globals.update(names)
    environment.filters |= {
        "count": figures.count,
        "score": figures.score,
        "signed": figures.signed,
        "significant": figures.significant,
        "loss": figures.loss,
        "percent": figures.percent,
        "size": figures.size,
        "duration": words.duration,
        "moment": figures.moment,
        "short": figures.short_hash,
        "written": written,
    }
    return environment


def _visible(value: Any) -> Any:
    """Foreign text passes here on its way to the page: control characters become visible signs."""
    is_markup = hasattr(value, "__html__")
    return figures.clean(value) if isinstance(value, str) and not is_markup else value
