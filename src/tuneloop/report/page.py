"""Makes `report.html`: the story of a run as one file that opens without a network."""

from functools import cache, partial
from pathlib import Path

from jinja2 import Environment

from tuneloop.core.store import write_text
from tuneloop.report import figures, plots, strips
from tuneloop.report.account import written
from tuneloop.report.frame import new_environment, render_page
from tuneloop.report.story import read_story
from tuneloop.report.words import Language, Words


def render_report(folder: Path, *, language: Language = "en") -> str:
    """The page of a run folder, as HTML. Parts that the folder does not hold are named as missing.

    Everything comes from the folder: the same folder gives the same bytes.
    """
    words = Words(language)
    return render_page(_environment(words), "report.html.j2", ("report.css",), story=read_story(folder, words))


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
    return new_environment(
        {
            "w": words,
            "loss_plot": partial(plots.loss_plot, words=words),
            "rate_plot": partial(plots.rate_plot, words=words),
            "rounds_plot": partial(plots.rounds_plot, words=words),
            "score_strip": partial(strips.score_strip, words=words),
            "share_bar": strips.share_bar,
            "digits_for": figures.digits_for,
            "language_of": figures.language_of,
            "interval_text": partial(strips.interval_text, words=words),
        },
        {
            "loss": figures.loss,
            "size": figures.size,
            "duration": words.duration,
            "moment": figures.moment,
            "written": written,
        },
    )
