"""Conversations with tools: every spelling of a call gives the same messages, and a broken one its reason."""

import json
from typing import Any

import pytest

from tuneloop.data.content import Conversation
from tuneloop.data.formats.check import check_messages
from tuneloop.data.formats.registry import FORMATS, detect_format, parse_example
from tuneloop.data.formats.shape import Shape
from tuneloop.data.formats.tools import canonical_json_text, parse_tools
from tuneloop.data.schema import Message, RowError, ToolCall

BARE = {"name": "weather", "arguments": {"city": "北京", "days": 2}}
CALL = ToolCall("weather", '{"city":"北京","days":2}')
USER = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": "a"}
RESULT = {"role": "tool", "content": "sunny"}
CALLED = [("user", "q"), ("assistant", ""), ("tool", "sunny"), ("assistant", "a")]


def parse(format_name: str, row: object) -> Conversation:
    content = parse_example(format_name, row, Shape()).content
    assert isinstance(content, Conversation)
    check_messages(content.messages, content.tools)
    return content


def parse_messages(*turns: dict[str, Any]) -> tuple[Message, ...]:
    return parse("messages", {"messages": list(turns)}).messages


def refused(*turns: dict[str, Any], **row: object) -> tuple[str, str]:
    with pytest.raises(RowError) as caught:
        parse("messages", {"messages": list(turns), **row})
    return caught.value.code, caught.value.reason


def wrapped(call: dict[str, Any], **more: object) -> dict[str, Any]:
    return {**more, "type": "function", "function": call}


@pytest.mark.parametrize(
    "calling",
    [
        {"role": "assistant", "content": None, "tool_calls": [wrapped(BARE)]},
        {"role": "assistant", "tool_calls": [wrapped(BARE | {"arguments": json.dumps(BARE["arguments"])})]},
        {"role": "assistant", "content": "", "tool_calls": [BARE]},
        {"role": "assistant", "content": "", "tool_calls": json.dumps([BARE])},
        {"role": "assistant", "content": "", "tool_calls": [json.dumps(BARE)]},
        {"role": "assistant", "content": "", "tool_calls": BARE},
        {"role": "assistant", "content": None, "function_call": BARE},
        {"role": "assistant", "content": [{"type": "tool_use", "name": "weather", "input": BARE["arguments"]}]},
        {"role": "assistant", "content": [{"type": "tool_call", "value": json.dumps(BARE)}]},
        {"role": "tool_call", "content": json.dumps(BARE)},
        {"role": "function_call", "content": json.dumps([BARE])},
        {"role": "function-call", "content": BARE | {"parameters": None}},
        {"role": "FUNCTION CALL", "content": {"name": "weather", "parameters": BARE["arguments"]}},
        {"role": "function_call", "content": None, "tool_calls": [BARE]},
    ],
)
def test_every_spelling_of_a_call(calling: dict[str, Any]) -> None:
    messages = parse_messages(USER, calling, RESULT, ANSWER)
    assert [(message.role, message.content) for message in messages] == CALLED
    assert messages[1].tool_calls == (CALL,)


@pytest.mark.parametrize(
    "role", ["tool", "function", "ipython", "observation", "tool_response", "function_response", "Function Response"]
)
def test_every_name_of_a_tools_turn(role: str) -> None:
    row = [{"from": "human", "value": "q"}, {"from": "function_call", "value": json.dumps(BARE)}]
    row += [{"from": role, "value": "sunny"}, {"from": "gpt", "value": "a"}]
    messages = parse("sharegpt", {"conversations": row}).messages
    assert [(message.role, message.content) for message in messages] == CALLED


def test_ids_and_names_are_kept() -> None:
    calling = {"role": "assistant", "content": "wait", "name": "bot", "tool_calls": [wrapped(BARE, id="c1")]}
    result = RESULT | {"tool_call_id": "c1", "name": "weather"}
    messages = parse_messages(USER | {"name": "Ann"}, calling, result, ANSWER)
    assert messages[0].name == "Ann"
    assert messages[1] == Message("assistant", "wait", 1.0, (ToolCall(CALL.name, CALL.arguments, "c1"),), "bot")
    assert messages[2] == Message("tool", "sunny", name="weather", tool_call_id="c1")


def test_calls_side_by_side_and_text_before_them_are_one_turn() -> None:
    other = {"role": "tool_call", "content": json.dumps(BARE | {"name": "time"})}
    first = {"role": "tool_call", "content": json.dumps(BARE)}
    messages = parse_messages(USER, ANSWER, first, other, RESULT, RESULT, ANSWER)
    assert [message.role for message in messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert messages[1].content == "a"
    assert [call.name for call in messages[1].tool_calls] == ["weather", "time"]
    # Two who speak under different names are not one, nor is one that counts and one that does not.
    assert refused(USER, ANSWER, first | {"name": "planner"}, RESULT, ANSWER)[0] == "role_order"
    assert refused(USER, ANSWER | {"weight": 0}, first, RESULT, ANSWER)[0] == "role_order"


def test_anthropic_blocks() -> None:
    calls = [{"type": "tool_use", "id": f"t{n}", "name": "weather", "input": BARE["arguments"]} for n in (1, 2)]
    results = [
        {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
        {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "rain"}]},
    ]
    messages = parse_messages(
        USER,
        {"role": "assistant", "content": [{"type": "text", "text": "let me see"}, *calls]},
        {"role": "user", "content": results},
        ANSWER,
    )
    assert messages[1].content == "let me see"
    assert [call.id for call in messages[1].tool_calls] == ["t1", "t2"]
    assert messages[2:4] == (
        Message("tool", "sunny", tool_call_id="t1"),
        Message("tool", "rain", tool_call_id="t2"),
    )
    # A question beside the results has no place in the order of turns.
    both = {"role": "user", "content": [*results, {"type": "text", "text": "and?"}]}
    assert refused(USER, {"role": "assistant", "content": calls}, both, ANSWER)[0] == "role_order"
    assert refused(
        USER, {"role": "assistant", "content": calls[:1]}, both | {"content": both["content"][::-1]}, ANSWER
    ) == (
        "tool_order",
        "messages[2] has a tool's result after text; the result comes first",
    )
    assert refused(USER, {"role": "assistant", "content": results[:1]})[0] == "tool_order"
    picture = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "image"}]}
    assert (
        refused(USER, {"role": "assistant", "content": calls}, {"role": "user", "content": [picture]})[0] == "not_text"
    )


def test_llamafactory_v1_parts_and_weights() -> None:
    row = {
        "messages": [
            {"role": "system", "content": [{"type": "text", "value": "s"}], "loss_weight": 0.0},
            {"role": "user", "content": [{"type": "text", "value": "q"}], "loss_weight": 0.0},
            {"role": "assistant", "content": [{"type": "text", "value": "a"}], "loss_weight": 0.5},
        ],
        "tools": '[{"name": "weather"}]',
    }
    assert parse("messages", row) == Conversation(
        (Message("system", "s"), Message("user", "q"), Message("assistant", "a", 0.5)),
        '[{"type":"function","function":{"name":"weather"}}]',
    )


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("", "a call without a call in it"),
        (None, "a call without a call in it"),
        ("[]", "a call without a call in it"),
        ("weather(city)", "messages[1] is not JSON: Expecting value at character 1"),
        ('{"name": "weather"', "is not JSON"),
        ("NaN", "is not JSON: a number"),
        ("3", "has a number for a call"),
        ('["weather"]', "is not JSON"),
        ('[["weather"]]', "has a list for a call"),
        ("{}", "without a name"),
        ('{"name": ""}', "without a name"),
        ('{"name": 3}', "without a name"),
        ('{"name": "f", "arguments": "x=1"}', "the arguments of 'f' is not JSON"),
        ('{"name": "f", "arguments": [1]}', "the arguments of 'f' are a list"),
        ('{"name": "f", "arguments": "\\"{}\\""}', "the arguments of 'f' are text"),
        ('{"name": "f", "arguments": {"x": 1e999}}', "Out of range float"),
        ('{"name": "f", "id": 7}', "the id of the call is a number"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_malformed_calls(value: object, part: str) -> None:
    code, reason = refused(USER, {"role": "function_call", "content": value}, RESULT, ANSWER)
    assert code == "bad_tool_call"
    assert part in reason


def test_calls_without_arguments() -> None:
    for none in ({}, {"arguments": None}, {"arguments": ""}, {"arguments": {}}, {"arguments": "null"}):
        (_, call) = parse_messages(USER, {"role": "assistant", "tool_calls": [{"name": "now"} | none]})
        assert call.tool_calls == (ToolCall("now", "{}"),)


def test_only_the_assistant_calls() -> None:
    for role in ("user", "tool", "system"):
        code, reason = refused(USER | {"role": role, "tool_calls": [BARE]}, ANSWER)
        assert (code, reason) == ("bad_tool_call", "messages[0] calls a tool; only the assistant does")
    # An empty list of calls, as some exports write it, is no call.
    assert parse_messages(USER | {"tool_calls": []}, ANSWER | {"tool_calls": [], "function_call": None})


def test_text_after_a_call_in_one_turn() -> None:
    parts = [{"type": "tool_call", "value": json.dumps(BARE)}, {"type": "text", "value": "x"}]
    assert refused(USER, {"role": "assistant", "content": parts})[0] == "bad_tool_call"


@pytest.mark.parametrize(
    "turn",
    [
        ANSWER | {"reasoning_content": "hm"},
        ANSWER | {"thinking": "hm"},
        ANSWER | {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]},
        ANSWER | {"content": [{"type": "reasoning", "value": "hm"}, {"type": "text", "value": "a"}]},
    ],
)
def test_reasoning_kept_apart_is_not_lost_in_silence(turn: dict[str, Any]) -> None:
    code, reason = refused(USER, turn)
    assert code == "reasoning"
    assert reason.endswith("write it into the content, between the marks of the model (<think> and </think> for most)")
    assert parse_messages(USER, ANSWER | {"reasoning_content": None, "thinking": ""})


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        (None, ""),
        ("", ""),
        ("[]", ""),
        ([], ""),
        ({"name": "f"}, '[{"type":"function","function":{"name":"f"}}]'),
        ('{"name": "f"}', '[{"type":"function","function":{"name":"f"}}]'),
        (['{"name": "f"}'], '[{"type":"function","function":{"name":"f"}}]'),
        (
            [{"type": "function", "name": "f", "strict": True}],
            '[{"type":"function","function":{"name":"f","strict":true}}]',
        ),
        (
            [{"name": "f", "input_schema": {"z": 1, "a": 2}, "description": "天气"}],
            '[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2},"description":"天气"}}]',
        ),
        # What is in OpenAI's shape stays as its author wrote it, in the same order.
        (
            [wrapped({"parameters": {}, "name": "f"}, x=1)],
            '[{"x":1,"type":"function","function":{"parameters":{},"name":"f"}}]',
        ),
        ([{"function": {"name": "f"}}], '[{"function":{"name":"f"}}]'),
    ],
)
def test_tools(tools: object, expected: str) -> None:
    for key in ("tools", "functions"):
        assert parse("messages", {"messages": [USER, ANSWER], key: tools}).tools == expected
    assert parse("sharegpt", {"conversations": [USER, ANSWER], "tools": tools}).tools == expected
    assert parse("alpaca", {"instruction": "q", "output": "a", "tools": tools}).tools == expected
    assert parse("pairs", {"query": "q", "response": "a", "tools": tools}).tools == expected
    # Reading again what was read changes nothing.
    assert parse_tools(expected) == expected


@pytest.mark.parametrize(
    ("tools", "part"),
    [
        ("search", "'tools' is not JSON"),
        (3, "'tools' is a number, not a list of tools"),
        (False, "'tools' is true or false"),
        ([3], "tools[0] is a number"),
        ([{}], "tools[0] is no function with a name"),
        ([{"name": "f"}, {"function": {}}], "tools[1] is no function with a name"),
        ([{"name": "f", "type": "computer_20241022"}], "tools[0] is no function with a name"),
        ([{"name": "f", "parameters": {"x": float("inf")}}], "tools: Out of range float"),
        ([{"name": "f", "parameters": {"x": b"1"}}], "not JSON serializable"),
    ],
)
def test_broken_tools(tools: object, part: str) -> None:
    code, reason = refused(USER, ANSWER, tools=tools)
    assert code == "bad_tools"
    assert part in reason


def test_canonical_text_keeps_numbers_exact() -> None:
    text = '{"a":123456789012345678901234567890,"b":0.1,"c":[null,true],"d":"é😀"}'
    assert canonical_json_text(json.loads(text)) == text


def message(letter: str) -> Message:
    """u, a, s, t as roles; c is a call."""
    roles = {"u": "user", "a": "assistant", "s": "system", "t": "tool", "c": "assistant"}
    role: Any = roles[letter]
    return Message(role, "" if letter in "ct" else "x", tool_calls=(CALL,) if letter == "c" else ())


@pytest.mark.parametrize("order", ["uc", "ucta", "ucttta", "uctcta", "sucta", "uaucta", "uctauctaua", "uctcttc"])
def test_orders_with_tools_that_are_sound(order: str) -> None:
    check_messages(tuple(map(message, order)))


@pytest.mark.parametrize(
    ("order", "code", "reason"),
    [
        ("uta", "tool_order", "turn 2 is by a tool; no call stands before it"),
        ("uatua", "tool_order", "turn 3 is by a tool; no call stands before it"),
        ("tua", "tool_order", "turn 1 is by a tool; no call stands before it"),
        ("uct", "no_answer", "the conversation ends with the tool: there is no answer to learn"),
        ("uctua", "role_order", "turn 4 is by the user; the assistant comes here"),
        ("ucua", "role_order", "turn 3 is by the user; the tool comes here"),
        ("uca", "role_order", "turn 3 is by the assistant; the tool comes here"),
        ("uac", "role_order", "turn 3 is by the assistant; the user comes here"),
        ("ca", "role_order", "turn 1 is by the assistant; the user comes here"),
        ("uau", "no_answer", "the conversation ends with the user: there is no answer to learn"),
    ],
)
def test_orders_with_tools_that_are_not(order: str, code: str, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        check_messages(tuple(map(message, order)))
    assert (caught.value.code, caught.value.reason) == (code, reason)


def test_a_call_of_weight_0_is_no_target() -> None:
    with pytest.raises(RowError, match="nothing to learn"):
        check_messages((Message("user", "q"), Message("assistant", "", 0.0, (CALL,))))


@pytest.mark.parametrize(
    "turn",
    [
        Message("assistant", "a", tool_calls=(ToolCall("\ud800", "{}"),)),
        Message("assistant", "a", tool_calls=(ToolCall("f", '"\udfff"'),)),
        Message("assistant", "a", tool_calls=(ToolCall("f", "{}", "\ud800"),)),
        Message("assistant", "a", name="\ud800"),
    ],
)
def test_half_a_surrogate_pair_anywhere(turn: Message) -> None:
    with pytest.raises(RowError, match=r"^turn 2 has half of a surrogate pair"):
        check_messages((Message("user", "q"), turn))


def test_half_a_surrogate_pair_escaped_in_json_text() -> None:
    calling = {"role": "function_call", "content": r'{"name": "f", "arguments": {"x": "\ud800"}}'}
    assert refused(USER, calling)[0] == "lone_surrogate"
    assert refused(USER, ANSWER, tools=r'[{"name": "f\ud800"}]') == (
        "lone_surrogate",
        "the list of tools has half of a surrogate pair: it is not valid text",
    )
    assert refused(USER, {"role": "assistant", "tool_calls": [BARE]}, RESULT | {"tool_call_id": "\ud800"}, ANSWER)[
        0
    ] == ("lone_surrogate")


@pytest.mark.shared
@pytest.mark.parametrize(("language", "kept", "num_calls"), [("en", 300, 211), ("zh", 298, 216)])
def test_real_tool_conversations(shared: Any, language: str, kept: int, num_calls: int) -> None:
    rows = json.loads((shared / "llamafactory_demo" / f"glaive_toolcall_{language}_demo.json").read_text())
    assert detect_format(rows) == "sharegpt"
    codes: list[str] = []
    found: list[Conversation] = []
    for row in rows:
        try:
            found.append(parse("sharegpt", row))
        except RowError as error:
            codes.append(error.code)
    assert (len(found), codes) == (kept, ["tool_order"] * (300 - kept))
    assert sum(len(message.tool_calls) for each in found for message in each.messages) == num_calls
    for conversation in found:
        for format_name in ("messages", "sharegpt"):
            assert parse(format_name, FORMATS[format_name].write(conversation)) == conversation
