"""Lists of turns, as ShareGPT and OpenAI write them, to messages and back."""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.formats.shape import Shape, type_name
from tuneloop.data.schema import Message, RowError

MOST_WEIGHT = 1_000_000


def parse_turns(turns: object, shape: Shape, key: str = "messages") -> tuple[Message, ...]:
    """A list of turns to messages; `key` is the file's name of the list, for errors.

    Raises:
        RowError: it is no list of turns.
    """
    if not isinstance(turns, list):
        raise RowError("missing_key", f"'{key}' is missing or not a list")
    return tuple(_parse_turn(turn, shape, f"{key}[{index}]") for index, turn in enumerate(turns))


def _parse_turn(turn: object, shape: Shape, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise RowError("wrong_type", f"{where} is {type_name(turn)}, not an object")
    role = shape.role(_key(turn, shape, "role", "from"), where)
    content = _key(turn, shape, "content", "value")
    if turn.get("tool_calls"):
        raise RowError("tool_calls", f"{where} calls tools: tool turns are not read yet")
    if content is None:
        raise RowError("empty_answer" if role == "assistant" else "empty_prompt", f"{where} has no content")
    if isinstance(content, list):
        content = _join_parts(content, where)
    if not isinstance(content, str):
        raise RowError("wrong_type", f"{where} has {type_name(content)} for content, not text")
    return Message(role, content, parse_weight(_key(turn, shape, "weight"), where))


def _key(turn: Mapping[str, Any], shape: Shape, name: str, *others: str) -> Any:
    if f"messages.{name}" in shape.columns:
        return turn.get(shape.columns[f"messages.{name}"])
    return next((turn[key] for key in (name, *others) if key in turn), None)


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


def _join_parts(parts: list[Any], where: str) -> str:
    texts = []
    for part in parts:
        if not (isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            raise RowError("not_text", f"{where} holds something other than text")
        texts.append(part["text"])
    return "".join(texts)
