"""OpenAI messages: `{"messages": [{"role", "content", "tool_calls"}], "tools": [...]}`."""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.formats.tools import write_arguments, write_tools
from tuneloop.data.formats.turns import (
    FIELDS,
    as_list,
    is_call_alone,
    parse_conversation,
    require_conversation,
    written_extras,
)
from tuneloop.data.schema import Message, ToolCall


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    return parse_conversation(value, shape)


def _write(content: Content) -> dict[str, Any]:
    conversation = require_conversation(content, "messages")
    written: dict[str, Any] = {"messages": [_write_turn(message) for message in conversation.messages]}
    if tools := write_tools(conversation.tools):
        written["tools"] = tools
    return written


def _write_turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": None if is_call_alone(message) else message.content}
    if message.tool_calls:
        turn["tool_calls"] = [_write_call(call) for call in message.tool_calls]
    return turn | written_extras(message)


def _write_call(call: ToolCall) -> dict[str, Any]:
    write_arguments(call)
    written = {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return {"id": call.id, **written} if call.id else written


FORMAT = Format(
    name="messages",
    recognises=lambda value: isinstance(as_list(value.get("messages")), list),
    parse=_parse,
    write=_write,
    fields=FIELDS,
)
