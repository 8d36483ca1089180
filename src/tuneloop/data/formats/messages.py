"""OpenAI messages: `{"messages": [{"role", "content"}], "tools": [...]}`."""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content, Conversation
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.formats.turns import parse_turns
from tuneloop.data.schema import RowError


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    return Conversation(parse_turns(shape.get(value, "messages"), shape))


def _write(content: Content) -> dict[str, Any]:
    if not isinstance(content, Conversation):
        raise RowError("not_expressible", "messages hold conversations only")
    return {"messages": [{"role": message.role, "content": message.content} for message in content.messages]}


FORMAT = Format(
    name="messages",
    recognises=lambda value: isinstance(value.get("messages"), list),
    parse=_parse,
    write=_write,
    fields=("messages", "messages.role", "messages.content", "messages.weight"),
)
