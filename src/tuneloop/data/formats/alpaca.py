"""Alpaca: `{"instruction", "input", "output", "system", "history"}`."""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.pairs import parse_around, require_exchange, written_around
from tuneloop.data.formats.shape import MEDIA_FIELDS, Shape, text_of


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    instruction = text_of(shape.get(value, "instruction"), "instruction")
    context = text_of(shape.get(value, "input"), "input", required=False)
    output = text_of(shape.get(value, "output"), "output", missing="empty_answer")
    return parse_around(value, shape, "\n".join(part for part in (instruction, context) if part), output)


def _write(content: Content) -> dict[str, Any]:
    exchange = require_exchange(content, "Alpaca")
    return {"instruction": exchange.question, "input": "", "output": exchange.answer} | written_around(exchange)


FORMAT = Format(
    name="alpaca",
    recognises=lambda value: "instruction" in value and "output" in value,
    parse=_parse,
    write=_write,
    fields=("instruction", "input", "output", "system", "history", "tools", *MEDIA_FIELDS),
)
