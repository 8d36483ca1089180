"""ShareGPT: `{"conversations": [{"from", "value"}], "system": "..."}`."""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content, Conversation
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import Shape, text_of
from tuneloop.data.formats.turns import parse_turns
from tuneloop.data.schema import Message, RowError


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    system = text_of(shape.get(value, "system"), "system", required=False)
    head = (Message("system", system),) if system else ()
    return Conversation(head + parse_turns(shape.get(value, "messages", "conversations"), shape, "conversations"))


def _write(content: Content) -> dict[str, Any]:
    if not isinstance(content, Conversation):
        raise RowError("not_expressible", "ShareGPT holds conversations only")
    names = {"user": "human", "assistant": "gpt"}
    turns = [{"from": names.get(message.role, message.role), "value": message.content} for message in content.messages]
    return {"conversations": turns}


FORMAT = Format(
    name="sharegpt",
    recognises=lambda value: isinstance(value.get("conversations"), list),
    parse=_parse,
    write=_write,
    fields=("messages", "system", "messages.role", "messages.content", "messages.weight"),
)
