"""Lists of turns, as OpenAI, ShareGPT and Anthropic write them, to messages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tuneloop.data.content import Content, Conversation
from tuneloop.data.formats.shape import MEDIA_FIELDS, Shape, text_of, type_name
from tuneloop.data.formats.tools import parse_calls, parse_tools
from tuneloop.data.schema import Message, RowError, ToolCall

MOST_WEIGHT = 1_000_000
TURN_FIELDS = tuple(f"messages.{key}" for key in ("role", "content", "weight", "tool_calls", "name", "tool_call_id"))
_REASONING_ADVICE = "write it into the content, between the marks of the model (<think> and </think> for most)"
FIELDS = ("messages", "system", "tools", *TURN_FIELDS, *MEDIA_FIELDS)


def parse_conversation(value: Mapping[str, Any], shape: Shape, *keys: str) -> Conversation:
    """A row with a list of turns, and beside it perhaps `system` and `tools`.

    The list is found as `messages`, or under one of `keys`.

    Raises:
        RowError: it is not so.
    """
    shape.refuse_media(value)
    messages = parse_turns(shape.get(value, "messages", *keys), shape, shape.name_of(value, "messages", *keys))
    system = shape.get(value, "system")
    if isinstance(system, list):
        system = _read_body(system, "'system'").text
    if system:
        messages = (Message("system", text_of(system, "system")), *messages)
    return Conversation(messages, parse_tools(shape.get(value, "tools", "functions")))


def parse_turns(turns: object, shape: Shape, key: str = "messages") -> tuple[Message, ...]:
    """A list of turns to messages; `key` is the file's name of the list, for errors.

    Raises:
        RowError: it is no list of turns.
    """
    turns = as_list(turns)
    if not isinstance(turns, list):
        raise RowError("missing_key", f"'{key}' is missing or not a list")
    messages: list[Message] = []
    for index, turn in enumerate(turns):
        for message in _parse_turn(turn, shape, f"{key}[{index}]"):
            if _continues(message, messages):
                messages[-1] = replace(messages[-1], tool_calls=messages[-1].tool_calls + message.tool_calls)
            else:
                messages.append(message)
    return tuple(messages)


def looks_like_turns(value: object) -> bool:
    """Whether a list begins with a turn; an empty one may as well."""
    if not isinstance(value, list):
        return False
    return not value or (isinstance(value[0], Mapping) and ("from" in value[0] or "role" in value[0]))


def as_list(value: object) -> object:
    """A list that a table keeps as JSON text; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _continues(message: Message, before: list[Message]) -> bool:
    """A turn that is only a call belongs to the assistant's turn before it: its text, or calls side by side."""
    return (
        bool(before)
        and before[-1].role == "assistant"
        and is_call_alone(message)
        and not message.name
        and before[-1].weight == message.weight
    )


def is_call_alone(message: Message) -> bool:
    """Whether a message is written as a turn of its own that holds nothing but calls."""
    return bool(message.tool_calls) and not message.content


def _parse_turn(turn: object, shape: Shape, where: str) -> list[Message]:
    """One turn; results of several tools may stand in one turn of the user, as Anthropic writes them."""
    if not isinstance(turn, Mapping):
        raise RowError("wrong_type", f"{where} is {type_name(turn)}, not an object")
    speaker = shape.speaker(shape.get_in_turn(turn, "role", "from"), where)
    content = shape.get_in_turn(turn, "content", "value")
    weight = parse_weight(shape.get_in_turn(turn, "weight", "loss_weight", "loss", "train"), where)
    name = text_of(shape.get_in_turn(turn, "name"), f"{where}.name", required=False)
    call_id = text_of(shape.get_in_turn(turn, "tool_call_id"), f"{where}.tool_call_id", required=False)
    calls = parse_calls(shape.get_in_turn(turn, "tool_calls"), where) + parse_calls(turn.get("function_call"), where)
    if speaker == "function_call":
        calls = parse_calls(content, where) + calls
        if not calls:
            raise RowError("bad_tool_call", f"{where} is a call without a call in it")
        return [Message("assistant", "", weight, calls, name)]
    body = _read_body(content, where)
    calls = body.calls + calls
    if calls and speaker != "assistant":
        raise RowError("bad_tool_call", f"{where} calls a tool; only the assistant does")
    if body.results and speaker not in ("user", "tool"):
        raise RowError("tool_order", f"{where} is by the {speaker} and holds a tool's result")
    if content is None and not calls and speaker != "tool":
        raise RowError("empty_answer" if speaker == "assistant" else "empty_prompt", f"{where} has no content")
    if speaker == "assistant":
        _refuse_reasoning(turn, where)
    if body.results and not body.text:
        return list(body.results)
    # Only an answer's weight means anything; other tools write 0 beside every question.
    weight = weight if speaker == "assistant" else 1.0
    return [*body.results, Message(speaker, body.text, weight, calls, name, call_id)]


def _refuse_reasoning(turn: Mapping[str, Any], where: str) -> None:
    for key in ("reasoning_content", "thinking"):
        if turn.get(key):
            raise RowError("reasoning", f"{where} keeps its reasoning apart ('{key}'): {_REASONING_ADVICE}")


@dataclass(frozen=True)
class _Body:
    """What the content of one turn holds."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    results: tuple[Message, ...] = ()


def _read_body(content: object, where: str) -> _Body:
    match content:
        case None:
            return _Body("")
        case str():
            return _Body(content)
        case list():
            return _read_parts(content, where)
        case _:
            raise RowError("wrong_type", f"{where} has {type_name(content)} for content, not text")


def _read_parts(parts: list[Any], where: str) -> _Body:
    texts: list[str] = []
    calls: list[ToolCall] = []
    results: list[Message] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        match kind:
            case "text":
                if calls:
                    raise RowError("bad_tool_call", f"{where} has text after a call; the text comes first")
                texts.append(_read_text(part, where))
            case "tool_use":
                calls += parse_calls(part, where)
            case "tool_call" | "tool_calls":
                calls += parse_calls(part.get("value"), where)
            case "tool_result":
                if texts:
                    raise RowError("tool_order", f"{where} has a tool's result after text; the result comes first")
                results.append(_read_result(part, where))
            case "reasoning" | "thinking" | "redacted_thinking":
                raise RowError("reasoning", f"{where} keeps its reasoning apart ('{kind}'): {_REASONING_ADVICE}")
            case _:
                raise RowError("not_text", f"{where} holds something other than text")
    return _Body("".join(texts), tuple(calls), tuple(results))


def _read_text(part: Mapping[str, Any], where: str) -> str:
    text = part.get("text") if part.get("text") is not None else part.get("value")
    if not isinstance(text, str):
        raise RowError("not_text", f"{where} holds something other than text")
    return text


def _read_result(part: Mapping[str, Any], where: str) -> Message:
    call_id = text_of(part.get("tool_use_id"), f"{where}.tool_use_id", required=False)
    body = _read_body(part.get("content"), where)
    if body.calls or body.results:
        raise RowError("not_text", f"{where} has a tool's result that is not text")
    return Message("tool", body.text, tool_call_id=call_id)


def parse_weight(value: object, where: str) -> float:
    """A turn's weight; 1 where none is given, true and false as 1 and 0.

    Raises:
        RowError: it is not a number from 0 to a million.
    """
    if value is None:
        return 1.0
    if isinstance(value, int | float) and 0 <= value <= MOST_WEIGHT:
        return float(value)
    raise RowError("wrong_type", f"{where} has a weight that is not a number from 0 to {MOST_WEIGHT:,}")


def require_conversation(content: Content, format_name: str) -> Conversation:
    """The conversation to write as a list of turns.

    Raises:
        RowError: `not_expressible`: it is none, or a message has what only another role may have.
    """
    if not isinstance(content, Conversation):
        raise RowError("not_expressible", f"{format_name} holds conversations only")
    for message in content.messages:
        if message.role != "assistant" and (message.tool_calls or message.weight != 1.0):
            raise RowError("not_expressible", f"a {message.role} turn has a call or a weight of its own")
        if message.role != "tool" and message.tool_call_id:
            raise RowError("not_expressible", f"a turn of the {message.role} answers a tool call")
        if not 0 <= message.weight <= MOST_WEIGHT:
            raise RowError("not_expressible", f"a turn's weight is not a number from 0 to {MOST_WEIGHT:,}")
    return content


def written_extras(message: Message) -> dict[str, Any]:
    """The keys of a turn beside its role and its content, where they say something."""
    weight = int(message.weight) if message.weight == int(message.weight) else message.weight
    extras = {"name": message.name, "tool_call_id": message.tool_call_id}
    return {key: value for key, value in extras.items() if value} | ({} if weight == 1 else {"weight": weight})
