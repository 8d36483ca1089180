"""Filters find the answer in what a model wrote; several of them may look at one output."""

import difflib
import re
from collections.abc import Callable

from tuneloop.evaluate.metrics.answer import final_part, last_boxed
from tuneloop.evaluate.metrics.letters import chosen_letters
from tuneloop.evaluate.metrics.number import final_number
from tuneloop.evaluate.metrics.pass_at_k import extract_code

Filter = Callable[[str], str | None]
"""Gives the answer, or None where the text holds none."""


def _first_line(text: str) -> str | None:
    return next((line.strip() for line in text.splitlines() if line.strip()), None)


def _last_line(text: str) -> str | None:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), None)


def _letters(text: str, letters: str = "ABCD") -> str | None:
    found = chosen_letters(text, letters)
    return None if found is None else "".join(sorted(found))


_PLAIN: dict[str, Filter] = {
    "strip": str.strip,
    "lower": str.lower,
    "final": final_part,
    "first_line": _first_line,
    "last_line": _last_line,
    "number": final_number,
    "letters": _letters,
    "boxed": last_boxed,
    "code": extract_code,
}
"""strip: without white space at both ends. final: without thoughts (<think>) and further questions. number: the
final number. letters: of a multiple choice, in order. boxed: the last \\boxed{...}. code: the first fenced block."""


def _regex(pattern: str) -> Filter:
    compiled = re.compile(pattern, re.DOTALL)

    def find(text: str) -> str | None:
        match = compiled.search(text)
        return None if match is None else match.group(compiled.groups and 1)

    return find


def _after(mark: str) -> Filter:
    def find(text: str) -> str | None:
        _, found, rest = text.rpartition(mark)
        return rest if found else None

    return find


def _before(mark: str) -> Filter:
    return lambda text: text.partition(mark)[0]


_WITH_PARAMETER: dict[str, Callable[[str], Filter]] = {
    "regex": _regex,
    "after": _after,
    "before": _before,
    "letters": lambda letters: lambda text: _letters(text, letters),
    "code": lambda language: lambda text: extract_code(text, language),
}
"""regex: the first match, or its first group. after: behind the last such text. before: up to the first, or all."""


def build_filter(name: str) -> Filter:
    """Make the filter of that name.

    Raises:
        ValueError: there is no such filter, or its parameter cannot be used.
    """
    kind, colon, parameter = name.partition(":")
    if not colon and kind in _PLAIN:
        return _PLAIN[kind]
    if parameter and kind in _WITH_PARAMETER:
        try:
            return _WITH_PARAMETER[kind](parameter)
        except re.error as error:
            raise ValueError(f"filter '{name}': not a regular expression ({error})") from error
    known = [*_PLAIN, *(f"{each}:..." for each in _WITH_PARAMETER)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ValueError(
        f"there is no filter '{name}'. "
        + (f"Did you mean '{near[0]}'?" if near else f"Choose from: {', '.join(known)}")
    )


def check_filter(name: str) -> None:
    """Refuse a filter that cannot be built.

    Raises:
        ValueError: what is wrong with it.
    """
    build_filter(name)


def apply_filters(names: tuple[str, ...], text: str) -> str | None:
    """The answer that all filters, one after the other, leave of `text`; None where one finds nothing.

    By hand: ("after:Answer:", "strip") of "So. Answer: 7 " is "7", of "So 7" None.
    """
    found: str | None = text
    for name in names:
        if found is None:
            return None
        found = build_filter(name)(found)
    return found
