"""The body of a reply to an answer, or the name of what it is instead."""

import json
from dataclasses import dataclass
from typing import Any, TypeGuard

from tuneloop.core.store import canonical_json
from tuneloop.data.schema import ToolCall
from tuneloop.generate.chat import CallError, Usage

_SHOWN_CHARACTERS = 300
_MOST_TOKENS = 1 << 40
"""A larger count is no count; it also would not fit into the log's JSON."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The first choice of a reply."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    model: str
    usage: Usage | None


def parse_reply(content: bytes, content_type: str) -> Reply:
    """Read a reply of status 200.

    Raises:
        CallError: it is HTML (a web page, a gateway), no JSON, an error all the same, or has no choice in it.
    """
    if _is_html(content, content_type):
        raise CallError("html", f"a web page came in place of an answer: {shorten(_decode(content))}")
    values = load_json(content)
    if values is None:
        raise CallError("not_json", f"the reply is not a JSON object: {shorten(_decode(content))}")
    usage = _parse_usage(values.get("usage"))
    if values.get("error"):
        raise CallError("error_body", f"the server says: {error_message(content)}", usage=usage)
    choices = values.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise CallError("no_choices", f"the reply has no choice: {shorten(_decode(content))}", usage=usage)
    return Reply(
        text=_parse_text(message.get("content")),
        reasoning=_parse_text(message.get("reasoning_content") or message.get("reasoning")),
        tool_calls=_parse_tool_calls(message.get("tool_calls")),
        finish_reason=_plain(choice.get("finish_reason")),
        model=_plain(values.get("model")),
        usage=usage,
    )


def load_json(content: bytes) -> dict[str, Any] | None:
    """A JSON object; None for anything else. Python's reader, since servers do write NaN and lone surrogates."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def error_message(content: bytes) -> str:
    """What the body of an error says, in one short line."""
    values = load_json(content)
    said: Any = _decode(content)
    if values is not None:
        said = values.get("error") or values.get("message") or values.get("detail") or said
        said = said.get("message") or said if isinstance(said, dict) else said
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return shorten(text) or "nothing"


def error_code(content: bytes) -> str:
    """The code that OpenAI's errors carry, as `insufficient_quota`; "" where there is none."""
    error = (load_json(content) or {}).get("error")
    return _plain(error.get("code")) if isinstance(error, dict) else ""


def shorten(text: str) -> str:
    """One line of a terminal or two: without line breaks and control characters."""
    line = " ".join("".join(character if character.isprintable() else " " for character in _whole(text)).split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 3] + "..."


def _decode(content: bytes) -> str:
    return content[: 4 * _SHOWN_CHARACTERS].decode("utf-8", "replace")


def _is_html(content: bytes, content_type: str) -> bool:
    return "html" in content_type.lower() or content[:200].lstrip().lower().startswith((b"<!doctype", b"<html"))


def _whole(text: str) -> str:
    """Halves of surrogate pairs, which a server that cuts inside a character writes, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _plain(value: Any) -> str:
    return _whole(value) if isinstance(value, str) else ""


def _parse_text(value: Any) -> str:
    """A string, or the texts of a list of parts."""
    if isinstance(value, list):
        return "".join(_plain(part.get("text")) for part in value if isinstance(part, dict))
    return _plain(value)


def _parse_tool_calls(value: Any) -> tuple[ToolCall, ...]:
    calls = []
    for item in value if isinstance(value, list) else ():
        function = item.get("function") if isinstance(item, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments")
            text = canonical_json(arguments).decode() if isinstance(arguments, dict) else _plain(arguments)
            calls.append(ToolCall(name=_plain(function.get("name")), arguments=text, id=_plain(item.get("id"))))
    return tuple(calls)


def _parse_usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    sent, written = value.get("prompt_tokens"), value.get("completion_tokens")
    return Usage(sent, written) if _is_count(sent) and _is_count(written) else None


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS
