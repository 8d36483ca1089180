"""Alpaca: `{"instruction", "input", "output", "system", "history"}`."""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content, Conversation
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import Shape, text_of, type_name
from tuneloop.data.schema import Message, RowError

_FIELDS = ("instruction", "input", "output", "system", "history")


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    instruction = text_of(shape.get(value, "instruction"), "instruction")
    context = text_of(shape.get(value, "input"), "input", required=False)
    output = text_of(shape.get(value, "output"), "output", missing="empty_answer")
    system = text_of(shape.get(value, "system"), "system", required=False)
    messages = [Message("system", system)] if system else []
    history = shape.get(value, "history") or []
    if not isinstance(history, list):
        raise RowError("wrong_type", f"'history' is {type_name(history)}, not a list of [question, answer] pairs")
    for pair in history:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):  # noqa: PLR2004
            raise RowError("wrong_type", "history is a list of [question, answer] pairs of text")
        messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    question = f"{instruction}\n{context}" if context else instruction
    return Conversation((*messages, Message("user", question), Message("assistant", output)))


def _write(content: Content) -> dict[str, Any]:
    raise NotImplementedError


FORMAT = Format(
    name="alpaca",
    recognises=lambda value: "instruction" in value and "output" in value,
    parse=_parse,
    write=_write,
    fields=_FIELDS,
)
