"""Makes the page of `tuneloop data check`: what is in the files, as one file that opens without a network."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

from jinja2 import Environment

from tuneloop.core.errors import ConfigError
from tuneloop.core.store import write_text
from tuneloop.data.records import FileLedger
from tuneloop.data.schema import Problem
from tuneloop.data.survey.records import DataReport
from tuneloop.report import data_plots, data_story, figures, strips
from tuneloop.report.frame import new_environment, render_page
from tuneloop.report.words import Language, Words

_MOST_PARTS = 6
_SHOWN_PROBLEMS = 100


def write_data_page(path: Path, report: DataReport, *, language: str = "en", problems: Sequence[Problem] = ()) -> None:
    """Write the page of a data check.

    Args:
        path: the HTML file.
        report: what was found.
        language: `en` or `zh`.
        problems: rows that are left out; the first of them are shown with their reasons.

    Raises:
        ConfigError: the page is not written in this language.
        DiskError: the disk is full or refuses.
    """
    write_text(path, render_data_page(report, language=parse_language(language), problems=problems))


def parse_language(name: str) -> Language:
    """A language that pages are written in.

    Raises:
        ConfigError: it is another.
    """
    known = get_args(Language)
    if name not in known:
        raise ConfigError(f"--lang {name}: pages are written in {' and '.join(known)}. Choose one of them.")
    return cast("Language", name)


def render_data_page(report: DataReport, *, language: Language = "en", problems: Sequence[Problem] = ()) -> str:
    """The page as HTML: the same report gives the same bytes."""
    words = Words(language)
    return render_page(
        _environment(words),
        "data.html.j2",
        ("report.css", "data.css"),
        story=data_story.tell_data(report, words),
        problems=problems[:_SHOWN_PROBLEMS],
        num_problems=len(problems),
    )


def _environment(words: Words) -> Environment:
    names = {
        "w": words,
        "account_bar": partial(_account_bar, words),
        "histogram_plot": partial(data_plots.histogram_plot, words=words),
        "turn_plot": partial(_ranked, partial(data_story.turn_bars, words=words)),
        "language_plot": partial(_ranked, partial(data_story.language_bars, words=words)),
        "language_of": figures.language_of,
        "folder_of": lambda path: path[: path.rfind("/") + 1],
        "name_of": lambda path: path[path.rfind("/") + 1 :],
    }
    return new_environment(names, {})


def _account_bar(words: Words, total: FileLedger, item: FileLedger, height: int = 10) -> str:
    """Kept rows and the commonest reasons, in the same colours for each file; the other reasons are one part."""
    shown = list(total.problems)[: _MOST_PARTS - 2]
    parts = [(words("kept.title"), item.kept), *((code, item.problems.get(code, 0)) for code in shown)]
    rest = sum(rows for code, rows in item.problems.items() if code not in shown)
    return strips.share_bar([*parts, (words("check.more_codes"), rest)], height=height)


def _ranked(bars: Any, counts: dict[str, int]) -> str:
    return data_plots.rank_bars(bars(counts))
