"""The shapes in which people keep conversations, each turned into messages."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast, get_args

from tuneloop.core.errors import DataError
from tuneloop.data.schema import Message, Role, RowError

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
}
_MOST_WEIGHT = 1_000_000
_ALPACA_KEYS = ("instruction", "input", "output", "system", "history")


def detect_format(objects: Iterable[object]) -> str:
    """The format that the keys of the first rows speak for, or "" where none does."""
    votes: dict[str, int] = {}
    for value in objects:
        if isinstance(value, Mapping):
            name = _format_of(value)
            votes[name] = votes.get(name, 0) + 1
    votes.pop("", None)
    return max(votes, key=lambda name: votes[name], default="")


def _format_of(value: Mapping[str, Any]) -> str:
    if isinstance(value.get("messages"), list):
        return "messages"
    if isinstance(value.get("conversations"), list):
        return "sharegpt"
    if "instruction" in value and "output" in value:
        return "alpaca"
    return ""


def parse_messages(format_name: str, value: object) -> tuple[Message, ...]:
    """One parsed object to messages.

    Raises:
        RowError: a key is missing or has the wrong type, or a role is unknown.
    """
    if not isinstance(value, Mapping):
        raise RowError("not_an_object", f"a row is a JSON object, this is {_type_name(value)}")
    return _PARSERS[format_name](value)


def _parse_alpaca(value: Mapping[str, Any]) -> tuple[Message, ...]:
    instruction, context, output, system = (
        _text(value, key, required=key in {"instruction", "output"}) for key in _ALPACA_KEYS[:4]
    )
    messages: list[Message] = []
    if system:
        messages.append(Message("system", system))
    history = value.get("history") or []
    if not isinstance(history, list):
        raise RowError("wrong_type", f"'history' is {_type_name(history)}, not a list of [question, answer] pairs")
    for pair in history:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):  # noqa: PLR2004
            raise RowError("wrong_type", "history is a list of [question, answer] pairs of text")
        messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    question = f"{instruction}\n{context}" if context else instruction
    return (*messages, Message("user", question), Message("assistant", output))


def _parse_sharegpt(value: Mapping[str, Any]) -> tuple[Message, ...]:
    turns = value.get("conversations")
    system = _text(value, "system", required=False)
    head = (Message("system", system),) if system else ()
    return head + _parse_turns(turns, "conversations")


def _parse_openai(value: Mapping[str, Any]) -> tuple[Message, ...]:
    return _parse_turns(value.get("messages"), "messages")


def _parse_turns(turns: object, key: str) -> tuple[Message, ...]:
    if not isinstance(turns, list):
        raise RowError("missing_key", f"'{key}' is missing or not a list")
    return tuple(_parse_turn(turn, f"{key}[{index}]") for index, turn in enumerate(turns))


def _parse_turn(turn: object, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise RowError("wrong_type", f"{where} is {_type_name(turn)}, not an object")
    role = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role.strip().lower() not in _ROLES:
        shown = repr(role[:40]) if isinstance(role, str) else _type_name(role)
        raise RowError("unknown_role", f"{where} has the role {shown}; known are: {', '.join(_ROLES)}")
    if turn.get("tool_calls"):
        raise RowError("tool_calls", f"{where} calls tools: tool turns are not read yet")
    if content is None:
        code = "empty_answer" if _ROLES[role.strip().lower()] == "assistant" else "empty_prompt"
        raise RowError(code, f"{where} has no content")
    if isinstance(content, list):
        content = _join_parts(content, where)
    if not isinstance(content, str):
        raise RowError("wrong_type", f"{where} has {_type_name(content)} for content, not text")
    return Message(_ROLES[role.strip().lower()], content, _weight(turn.get("weight", 1.0), where))


def _weight(value: object, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_WEIGHT:
        return float(value)
    raise RowError("wrong_type", f"{where} has a weight that is not a number from 0 to {_MOST_WEIGHT:,}")


def _join_parts(parts: list[Any], where: str) -> str:
    texts = []
    for part in parts:
        if not (isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            raise RowError("not_text", f"{where} holds something other than text")
        texts.append(part["text"])
    return "".join(texts)


def _text(value: Mapping[str, Any], key: str, *, required: bool) -> str:
    text = value.get(key)
    if text is None:
        if required:
            code = "empty_answer" if key == "output" else "missing_key"
            raise RowError(code, f"'{key}' is missing" if key not in value else f"'{key}' is null")
        return ""
    if not isinstance(text, str):
        raise RowError("wrong_type", f"'{key}' is {_type_name(text)}, not text")
    return text


def _type_name(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


_PARSERS: dict[str, Callable[[Mapping[str, Any]], tuple[Message, ...]]] = {
    "alpaca": _parse_alpaca,
    "sharegpt": _parse_sharegpt,
    "messages": _parse_openai,
}


def check_messages(messages: tuple[Message, ...]) -> None:
    """What every conversation must be, whatever file it came from: [system,] (user, assistant)+ with text in each.

    Raises:
        RowError: it is not.
    """
    roles = cast("tuple[Role, ...]", get_args(Role))
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    for index, message in enumerate(messages, start=len(turns) - len(messages) + 1):
        place = f"turn {index}" if index else "the system turn"
        if _lone_surrogate(message.content):
            raise RowError("lone_surrogate", f"{place} has half of a surrogate pair: it is not valid text")
    if not turns:
        raise RowError("no_turns", "the conversation has no turns")
    for index, message in enumerate(turns):
        expected = roles[1 + index % 2]
        if message.role != expected:
            raise RowError("role_order", f"turn {index + 1} is by the {message.role}; the {expected} comes here")
        if not message.content.strip():
            code = "empty_answer" if message.role == "assistant" else "empty_prompt"
            raise RowError(code, f"turn {index + 1} ({message.role}) is empty")
    if len(turns) % 2:
        raise RowError("no_answer", "the conversation ends with the user: there is no answer to learn")
    if not any(message.weight > 0 for message in turns if message.role == "assistant"):
        raise RowError("no_target", "every answer has weight 0: there is nothing to learn")


def _lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def require_format(format_name: str, objects: list[object], name: str) -> str:
    """Decide the format of a file: as given, or as its first rows say.

    Raises:
        DataError: `auto` recognises none of the known formats.
    """
    if format_name != "auto":
        return format_name
    found = detect_format(objects)
    if not found:
        keys = next((sorted(map(str, value))[:8] for value in objects if isinstance(value, Mapping)), [])
        raise DataError(
            f"{name}: no known format; the first row has the keys {keys}. Known are: alpaca (instruction, input, "
            "output), sharegpt (conversations), messages (messages)."
        )
    return found
