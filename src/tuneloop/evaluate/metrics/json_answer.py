r"""The JSON that an answer holds: bare, in one Markdown fence, or one object in a sentence."""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tuneloop.evaluate.metrics.answer import final_part

MAX_DEPTH = 100
"""Deeper nesting is no JSON that anybody asked for, and would exhaust Python's stack."""

_FENCE = "```"
_JSON_FENCES = {"", "json"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_BRACE_OR_QUOTE = re.compile(r'[{}"\\]')

Leaf = tuple[tuple[str | int, ...], str, Any]
"""Path, kind, value. The kind keeps true from being equal to 1."""


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """The value that was found."""

    value: Any
    is_bare: bool
    """Whether the answer is that JSON and nothing else."""


class _RefusedError(ValueError):
    """JSON by its grammar, and yet not one value that every reader understands in the same way."""


def find_json(text: str) -> JsonAnswer | None:
    """The JSON value that an answer gives; None where there is none, or more than one.

    Taken is, in this order: the whole text, any value; the inside of a Markdown fence, where exactly one fence holds
    JSON; one object in other text, where exactly one of the outermost `{...}` is JSON. Thoughts and a next question do
    not count (see `answer.final_part`).

    JSON means I-JSON (RFC 7493): no key twice in one object, no lone surrogate, no NaN or Infinity, no number beyond a
    double's range; and no nesting deeper than 100. Anything else is not repaired.
    """
    part = final_part(text)
    try:
        return JsonAnswer(parse_strict(part), is_bare=True)
    except ValueError:
        pass
    for candidates in (_fenced(part), _objects(part)):
        found = [value for candidate in candidates if (value := _try(candidate)) is not None]
        if found:
            return JsonAnswer(found[0], is_bare=False) if len(found) == 1 else None
    return None


def parse_strict(text: str) -> Any:
    """The value of a text that is I-JSON and nothing else.

    Raises:
        ValueError: it is not.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_members,
            parse_float=_float,
            parse_int=_whole_number,
            parse_constant=_refuse,
        )
    except RecursionError:
        raise _RefusedError("nested too deep") from None
    _check(value)
    return value


def flatten(value: Any) -> Counter[Leaf]:
    """The leaves of a value with their paths: `{"a": [1, "x"]}` has (a, 0) = 1 and (a, 1) = "x".

    Texts and keys are compared in Unicode's composed form (NFC), texts without white space at their ends. Numbers are
    equal as numbers (1 and 1.0). An empty object or list is a leaf. Items of a list are counted by their place.
    """
    return Counter(_leaves(value, ()))


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[Leaf]:
    match value:
        case dict() if value:
            for key, item in value.items():
                yield from _leaves(item, (*path, _normalise(key)))
        case list() if value:
            for index, item in enumerate(value):
                yield from _leaves(item, (*path, index))
        case str():
            yield path, "text", _normalise(value).strip()
        case bool() | None:
            yield path, "constant", value
        case int() | float():
            yield path, "number", value
        case _:
            yield path, "empty", type(value).__name__


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _try(text: str) -> Any:
    """An object or a list; None for anything else."""
    try:
        value = parse_strict(text)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def _fenced(text: str) -> Iterator[str]:
    """What stands between a line of three backticks, `json` after them or nothing, and the next such line."""
    language: str | None = None
    held: list[str] = []
    for line in text.split("\n"):
        bare = line.strip()
        if language is None:
            if bare.startswith(_FENCE):
                language, held = bare.removeprefix(_FENCE).strip().lower(), []
        elif bare == _FENCE:
            if language in _JSON_FENCES:
                yield "\n".join(held)
            language = None
        else:
            held.append(line)


def _objects(text: str) -> Iterator[str]:
    """The outermost `{...}` of a text, in one pass: quotes are looked at inside braces only."""
    depth = start = skip_to = 0
    is_text = False
    for match in _BRACE_OR_QUOTE.finditer(text):
        mark, place = match.group(), match.start()
        if place < skip_to:
            continue
        if mark == "\\":
            skip_to = place + 2
        elif mark == '"':
            is_text = depth > 0 and not is_text
        elif is_text:
            continue
        elif mark == "{":
            start = start if depth else place
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                yield text[start : place + 1]


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _RefusedError("a key stands twice in one object")
    return members


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _RefusedError("a number beyond the range of a double")
    return number


def _whole_number(digits: str) -> int:
    # Looked at as a float first: to convert many digits to an int takes quadratic time.
    _float(digits)
    return int(digits)


def _refuse(name: str) -> None:
    raise _RefusedError(f"{name} is no JSON")


def _check(value: Any) -> None:
    """Refuse lone surrogates and deep nesting."""
    held = [(value, 0)]
    while held:
        item, depth = held.pop()
        if isinstance(item, str):
            if _SURROGATE.search(item):
                raise _RefusedError("a lone surrogate")
        elif isinstance(item, dict | list):
            if depth >= MAX_DEPTH:
                raise _RefusedError(f"nested deeper than {MAX_DEPTH} levels")
            if isinstance(item, dict):
                held += [(key, depth + 1) for key in item]
                item = item.values()
            held += [(child, depth + 1) for child in item]
