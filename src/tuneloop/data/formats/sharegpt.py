"""ShareGPT: `{"conversations": [{"from", "value"}], "system": "...", "tools": "..."}`."""

import itertools
import json
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
    looks_like_turns,
    parse_conversation,
    require_conversation,
    written_extras,
)
from tuneloop.data.schema import Message, RowError, ToolCall

_KEYS = ("conversations", "conversation")
_NAMES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    return parse_conversation(value, shape, *_KEYS)


def _write(content: Content) -> dict[str, Any]:
    conversation = require_conversation(content, "ShareGPT")
    messages = conversation.messages
    for before, message in itertools.pairwise(messages):
        if before.role == message.role == "assistant" and is_call_alone(message):
            raise RowError("not_expressible", "two turns of the assistant in a row would be read as one")
    written: dict[str, Any] = {"conversations": [turn for message in messages for turn in _write_message(message)]}
    if write_tools(conversation.tools):
        written["tools"] = conversation.tools
    return written


def _write_message(message: Message) -> list[dict[str, Any]]:
    """One turn; text beside a call takes two, the text and then the call."""
    extras = written_extras(message)
    turns: list[dict[str, Any]] = []
    if not is_call_alone(message):
        turns.append({"from": _NAMES[message.role], "value": message.content, **extras})
        extras.pop("name", None)
    if message.tool_calls:
        calls = [_write_call(call) for call in message.tool_calls]
        value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
        turns.append({"from": "function_call", "value": value, **extras})
    return turns


def _write_call(call: ToolCall) -> dict[str, Any]:
    written = {"name": call.name, "arguments": write_arguments(call)}
    return written | ({"id": call.id} if call.id else {})


FORMAT = Format(
    name="sharegpt",
    recognises=lambda value: any(looks_like_turns(as_list(value.get(key))) for key in _KEYS),
    parse=_parse,
    write=_write,
    fields=FIELDS,
)
