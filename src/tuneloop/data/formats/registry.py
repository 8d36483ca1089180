"""All formats, and the doors through which the rest of the program reads and writes rows."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.core.errors import DataError
from tuneloop.data.content import Example
from tuneloop.data.formats import (
    alpaca,
    cail,
    critique,
    disc_law,
    kto,
    legal,
    messages,
    pairs,
    preference,
    prompt_completion,
    segments,
    sharegpt,
    text,
)
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import Shape, keys_of, type_name
from tuneloop.data.formats.turns import looks_like_turns
from tuneloop.data.schema import RowError

# The order decides where a row has the keys of two formats: the richer format comes first.
FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        preference.FORMAT,
        kto.FORMAT,
        critique.FORMAT,
        legal.FORMAT,
        cail.FORMAT,
        disc_law.FORMAT,
        messages.FORMAT,
        sharegpt.FORMAT,
        segments.FORMAT,
        alpaca.FORMAT,
        prompt_completion.FORMAT,
        pairs.FORMAT,
        text.FORMAT,
    )
}
_ROW_FIELDS = ("id", "weight", "score")
_MOST_WEIGHT = 1_000_000


def detect_format(objects: Iterable[object]) -> str:
    """The format that the keys of most rows speak for, or "" where none does."""
    votes = Counter(_format_of(value) for value in map(_as_object, objects) if isinstance(value, Mapping))
    votes.pop("", None)
    return max(votes, key=lambda name: votes[name], default="")


def _as_object(value: object) -> object:
    """A list that stands for a row: bare turns, or one object in brackets."""
    if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
        return value
    if looks_like_turns(value):
        return {"messages": value}
    return value[0] if len(value) == 1 else value


def _format_of(value: Mapping[str, Any]) -> str:
    return next((name for name, format_ in FORMATS.items() if format_.recognises(value)), "")


def require_format(format_name: str, objects: list[object], name: str) -> str:
    """Decide the format of a file: as given, or as its first rows say.

    Raises:
        DataError: `auto` recognises none of the known formats.
    """
    if format_name != "auto":
        return format_name
    found = detect_format(objects)
    if not found:
        raise DataError(
            f"{name}: no known format; the first row has the keys {keys_of(map(_as_object, objects))}. Name one of "
            f"{', '.join(FORMATS)}, and with data.train.columns what the file calls its fields."
        )
    return found


def check_columns(format_name: str, columns: Mapping[str, str], name: str) -> None:
    """Refuse a mapping of fields that the format does not have.

    Raises:
        DataError: it names one.
    """
    known = (*FORMATS[format_name].fields, *_ROW_FIELDS)
    for field in columns:
        if field not in known:
            raise DataError(f"{name}: {format_name} has no field '{field}'. It has: {', '.join(known)}.")


def parse_example(format_name: str, value: object, shape: Shape) -> Example:
    """One parsed JSON value to its content, with the row's own weight, id and score.

    Raises:
        RowError: it is no object, or a field is missing or has the wrong type.
    """
    value = _as_object(value)
    if not isinstance(value, Mapping):
        raise RowError("not_an_object", f"a row is a JSON object, this is {type_name(value)}")
    content = FORMATS[format_name].parse(value, shape)
    weight, score, id_ = (shape.get(value, field) for field in ("weight", "score", "id"))
    if weight is None:
        weight = 1.0
    if not _is_number(weight) or not 0 <= weight <= _MOST_WEIGHT:
        raise RowError("wrong_type", f"the row's weight is not a number from 0 to {_MOST_WEIGHT:,}")
    if score is not None and not _is_number(score):
        # A column of this name that holds something else is somebody else's column.
        if "score" in shape.columns:
            raise RowError("wrong_type", "the row's score is not a number")
        score = None
    return Example(content, float(weight), "" if id_ is None else str(id_), None if score is None else float(score))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def write_example(format_name: str, example: Example) -> dict[str, Any]:
    """One content in a format's own spelling.

    Raises:
        RowError: `not_expressible`, where the format has no place for something that the row holds.
    """
    written = FORMATS[format_name].write(example.content)
    if example.id and "id" not in written:
        written = {"id": example.id, **written}
    if example.weight != 1.0:
        written["weight"] = example.weight
    if example.score is not None:
        written["score"] = example.score
    return written
