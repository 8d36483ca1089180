"""Tool definitions and tool calls, in every spelling that files use, to one canonical JSON text and back."""

import json
from collections.abc import Mapping
from typing import Any

from tuneloop.data.formats.shape import type_name
from tuneloop.data.schema import RowError, ToolCall


def canonical_json_text(value: object) -> str:
    """JSON without spaces, keys in the author's order, letters of every script as they are.

    Not orjson: it has no whole numbers above 64 bits, and stops at half a surrogate pair before the check can name it.

    Raises:
        ValueError: it is no JSON value, a number in it is not finite, or it is nested too deep.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except TypeError as error:
        raise ValueError(str(error)) from error


def parse_tools(found: object, name: str = "tools") -> str:
    """A `tools` field to the canonical JSON text of a list in OpenAI's shape; "" where it lists none.

    Read are a list, one definition, or the JSON text of either; each definition as OpenAI
    (`{"type": "function", "function": {...}}`), bare (`{"name", "description", "parameters"}`) or Anthropic
    (`input_schema`) writes it.

    Raises:
        RowError: `bad_tools`.
    """
    value = _loaded(found, "bad_tools", f"'{name}'")
    tools = [value] if isinstance(value, Mapping) else value
    if not tools and (tools is None or isinstance(tools, list)):
        return ""
    if not isinstance(tools, list):
        raise RowError("bad_tools", f"'{name}' is {type_name(tools)}, not a list of tools")
    return _dumped([_parse_tool(tool, f"{name}[{index}]") for index, tool in enumerate(tools)], "bad_tools", name)


def _parse_tool(tool: object, where: str) -> Mapping[str, Any]:
    tool = _loaded(tool, "bad_tools", where)
    if not isinstance(tool, Mapping):
        raise RowError("bad_tools", f"{where} is {type_name(tool)}, not an object")
    wrapped = isinstance(tool.get("function"), Mapping)
    name = tool["function"].get("name") if wrapped else tool.get("name")
    if not (isinstance(name, str) and name) or tool.get("type", "function") not in ("function", "custom", None):
        raise RowError("bad_tools", f"{where} is no function with a name")
    if wrapped:
        return tool
    names = {"input_schema": "parameters"}
    return {"type": "function", "function": {names.get(key, key): tool[key] for key in tool if key != "type"}}


def parse_calls(found: object, where: str) -> tuple[ToolCall, ...]:
    """One call, a list of calls, or the JSON text of either; none for null, "" and [].

    A call is OpenAI's `{"id", "type", "function": {"name", "arguments"}}` or a bare `{"name", "arguments"}`.
    Arguments are an object or its JSON text; they come out as canonical JSON text.

    Raises:
        RowError: `bad_tool_call`.
    """
    value = _loaded(found, "bad_tool_call", where)
    if not value and (value is None or isinstance(value, list)):
        return ()
    calls = value if isinstance(value, list) else [value]
    return tuple(_parse_call(call, where) for call in calls)


def _parse_call(call: object, where: str) -> ToolCall:
    call = _loaded(call, "bad_tool_call", where)
    if not isinstance(call, Mapping):
        raise RowError("bad_tool_call", f"{where} has {type_name(call)} for a call, not an object")
    function = call["function"] if isinstance(call.get("function"), Mapping) else call
    name = function.get("name")
    if not (isinstance(name, str) and name):
        raise RowError("bad_tool_call", f"{where} calls a tool without a name")
    found = next((function[key] for key in ("arguments", "parameters", "input") if function.get(key) is not None), {})
    arguments = _loaded(found, "bad_tool_call", f"{where}: the arguments of '{name[:40]}'")
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, Mapping):
        raise RowError(
            "bad_tool_call", f"{where}: the arguments of '{name[:40]}' are {type_name(arguments)}, no object"
        )
    id_ = call.get("id")
    if not (id_ is None or isinstance(id_, str)):
        raise RowError("bad_tool_call", f"{where}: the id of the call is {type_name(id_)}, not text")
    return ToolCall(name, _dumped(arguments, "bad_tool_call", f"{where}: the arguments"), id_ or "")


def _loaded(found: object, code: str, where: str) -> object:
    """The value of JSON text, None for empty text, and anything else as it is."""
    if not isinstance(found, str):
        return found
    if not found.strip():
        return None
    try:
        return json.loads(found, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else "a number"
        raise RowError(code, f"{where} is not JSON: {reason}") from error


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def _dumped(value: object, code: str, where: str) -> str:
    try:
        return canonical_json_text(value)
    except ValueError as error:
        raise RowError(code, f"{where}: {error}") from error


def write_tools(tools: str) -> list[Any]:
    """The list behind a conversation's `tools`.

    Raises:
        RowError: `not_expressible`, where reading it again would not give the same text.
    """
    try:
        is_canonical = parse_tools(tools) == tools
    except RowError:
        is_canonical = False
    if not is_canonical:
        raise RowError("not_expressible", "the tools are not as parse_tools makes them: pass them through it first")
    return json.loads(tools) if tools else []


def write_arguments(call: ToolCall) -> dict[str, Any]:
    """The object behind a call's arguments.

    Raises:
        RowError: `not_expressible`, where reading the call again would not give the same.
    """
    try:
        is_canonical = parse_calls([{"name": call.name, "arguments": call.arguments}], "")[0] == ToolCall(
            call.name, call.arguments
        )
    except RowError:
        is_canonical = False
    if not is_canonical:
        raise RowError("not_expressible", f"the call of '{call.name[:40]}' is not as parse_calls makes it")
    return json.loads(call.arguments)
