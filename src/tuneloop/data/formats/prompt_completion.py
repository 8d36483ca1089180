"""TRL's prompt and completion: `{"prompt", "completion", "tools"}`, each a text or a list of turns."""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content, Conversation
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.formats.sides import AROUND_FIELDS, parse_answer, parse_given, write_answer, write_given
from tuneloop.data.formats.tools import write_tools
from tuneloop.data.formats.turns import require_conversation
from tuneloop.data.schema import Message, RowError


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    given = parse_given(value, shape)
    if given is None:
        raise RowError("missing_key", "'prompt' is missing or null")
    answer = parse_answer(shape.get(value, "completion"), shape, shape.name_of(value, "completion"))
    return Conversation(given.messages + answer, given.tools)


def _write(content: Content) -> dict[str, Any]:
    conversation = require_conversation(content, "prompt_completion")
    at = _first_learned(conversation.messages)
    written: dict[str, Any] = {
        "prompt": write_given(conversation.messages[:at], "prompt_completion"),
        "completion": write_answer(conversation.messages[at:], "prompt_completion"),
    }
    if tools := write_tools(conversation.tools):
        written["tools"] = tools
    return written


def _first_learned(messages: tuple[Message, ...]) -> int:
    """Where the completion begins: what is learned may not stand in the prompt."""
    answers = [index for index, message in enumerate(messages) if message.role == "assistant"]
    learned = [index for index in answers if messages[index].weight > 0]
    return (learned or answers[-1:] or [len(messages)])[0]


FORMAT = Format(
    name="prompt_completion",
    recognises=lambda value: "prompt" in value and "completion" in value,
    parse=_parse,
    write=_write,
    fields=("prompt", "completion", "input", *AROUND_FIELDS),
)
