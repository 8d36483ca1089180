"""Plain text to continue: `{"text": "..."}`."""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content, Text
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import MEDIA_FIELDS, Shape, text_of
from tuneloop.data.schema import RowError

_ANSWERS = ("label", "labels", "summary", "target", "output", "answer", "response", "translation", "completion")


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    shape.refuse_media(value)
    return Text(text_of(shape.get(value, "text"), "text"))


def _write(content: Content) -> dict[str, Any]:
    if not isinstance(content, Text):
        raise RowError("not_expressible", "text holds plain text only: where turns begin and end would be lost")
    return {"text": content.text}


def _recognises(value: Mapping[str, Any]) -> bool:
    # Beside one of these a text is the half of a row: to learn it alone is not what its author meant.
    return isinstance(value.get("text"), str) and not any(value.get(name) is not None for name in _ANSWERS)


FORMAT = Format(name="text", recognises=_recognises, parse=_parse, write=_write, fields=("text", *MEDIA_FIELDS))
