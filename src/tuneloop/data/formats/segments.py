"""Axolotl's `input_output`: `{"segments": [{"label": false, "text"}, {"label": true, "text"}, ...]}`."""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content, Conversation
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.pairs import require_exchange
from tuneloop.data.formats.shape import Shape, text_of, type_name
from tuneloop.data.formats.turns import as_list
from tuneloop.data.schema import Message, RowError


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    segments = as_list(shape.get(value, "segments"))
    if not isinstance(segments, list):
        raise RowError("missing_key", "'segments' is missing or not a list")
    messages = []
    for index, segment in enumerate(segments):
        where = f"segments[{index}]"
        if not isinstance(segment, Mapping):
            raise RowError("wrong_type", f"{where} is {type_name(segment)}, not an object")
        label = segment.get("label")
        if not isinstance(label, bool):
            raise RowError("wrong_type", f"{where} has {type_name(label)} for a label, not true or false")
        if label != bool(index % 2):
            raise RowError(
                "segments_order",
                f"{where} is {'' if label else 'not '}labelled; segments not labelled and labelled "
                "take turns here, from one that is not",
            )
        messages.append(Message("assistant" if label else "user", text_of(segment.get("text"), f"{where}.text")))
    if len(messages) % 2:
        raise RowError("segments_order", "the last segment is not labelled: there is nothing to learn after it")
    return Conversation(tuple(messages))


def _write(content: Content) -> dict[str, Any]:
    exchange = require_exchange(content, "segments")
    if exchange.system or exchange.tools:
        raise RowError("not_expressible", "segments have no place for a system text or for tools")
    pairs = [*exchange.history, [exchange.question, exchange.answer]]
    texts = [text for pair in pairs for text in pair]
    return {"segments": [{"label": bool(index % 2), "text": text} for index, text in enumerate(texts)]}


FORMAT = Format(
    name="segments",
    recognises=lambda value: isinstance(value.get("segments"), list),
    parse=_parse,
    write=_write,
    fields=("segments",),
)
