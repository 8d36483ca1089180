"""What is written in a format and read again is the same, for every conversation that the format takes."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.data.content import Content, Conversation, Example, Text
from tuneloop.data.formats.check import check_messages
from tuneloop.data.formats.registry import FORMATS, detect_format, parse_example, write_example
from tuneloop.data.formats.shape import Shape
from tuneloop.data.schema import Message, RowError, ToolCall
from unit.data.content_strategies import conversations, plain_conversations

TURNS = ("messages", "sharegpt")
PLAIN = ("alpaca", "pairs", "segments")
Q = Message("user", "q")
A = Message("assistant", "a")
CALL = ToolCall("f", '{"x":1}', "c1")


def through_json(format_name: str, content: Content) -> Content:
    """Written, as a line of JSON, and read again."""
    line = json.dumps(FORMATS[format_name].write(content), ensure_ascii=False)
    return FORMATS[format_name].parse(json.loads(line), Shape())


def refused(format_name: str, content: Content) -> RowError:
    with pytest.raises(RowError) as caught:
        FORMATS[format_name].write(content)
    return caught.value


@pytest.mark.slow
@pytest.mark.parametrize("format_name", TURNS)
@settings(max_examples=30)
@given(conversation=conversations())
def test_lists_of_turns_hold_every_sound_conversation(format_name: str, conversation: Conversation) -> None:
    check_messages(conversation.messages, conversation.tools)
    assert through_json(format_name, conversation) == conversation


@pytest.mark.parametrize("format_name", [*TURNS, *PLAIN])
@settings(max_examples=40)
@given(conversation=plain_conversations())
def test_every_format_holds_plain_questions_and_answers(format_name: str, conversation: Conversation) -> None:
    if format_name == "segments" and conversation.messages[0].role == "system":
        assert refused(format_name, conversation).code == "not_expressible"
        conversation = Conversation(conversation.messages[1:])
    assert through_json(format_name, conversation) == conversation
    assert detect_format([FORMATS[format_name].write(conversation)]) == format_name


@st.composite
def _unsound(draw: st.DrawFn) -> Conversation:
    """Messages of any role in any order, with anything on each."""
    roles = st.sampled_from(["system", "user", "assistant", "tool"])
    calls = st.sampled_from([(), (CALL,), (replace(CALL, arguments='{"x": 1}'),), (ToolCall("", "{}"),)])
    words = st.sampled_from(["", "a", " "])
    weights = st.sampled_from([1.0, 1.0, 0.0, 2.5, -1.0, float("nan"), float("inf")])
    message = st.builds(Message, roles, words, weights, calls, words, words)
    tools = st.sampled_from(["", "[]", "x", '[{"name":"f"}]', '[{"type":"function","function":{"name":"f"}}]'])
    return Conversation(tuple(draw(st.lists(message, max_size=4))), draw(tools))


@pytest.mark.slow
@pytest.mark.parametrize("format_name", [*TURNS, *PLAIN])
@settings(max_examples=100)
@given(conversation=_unsound())
def test_what_cannot_be_read_again_is_not_written(format_name: str, conversation: Conversation) -> None:
    try:
        FORMATS[format_name].write(conversation)
    except RowError as error:
        assert error.code == "not_expressible"  # noqa: PT017 - most are refused, and must be so with this code
        return
    assert through_json(format_name, conversation) == conversation


@pytest.mark.parametrize("format_name", PLAIN)
@pytest.mark.parametrize(
    "messages",
    [
        (Q, replace(A, tool_calls=(CALL,))),
        (Q, replace(A, tool_calls=(CALL,)), Message("tool", "1"), A),
        (Q, replace(A, weight=0.5)),
        (Q, replace(A, weight=0.0), Q, A),
        (replace(Q, name="Ann"), A),
        (Message("system", ""), Q, A),
        (Message("system", "s", name="n"), Q, A),
        (Q,),
        (A, Q),
        (Q, A, Q),
        (),
    ],
)
def test_plain_formats_refuse_what_they_have_no_place_for(format_name: str, messages: tuple[Message, ...]) -> None:
    assert refused(format_name, Conversation(messages)).code == "not_expressible"


@pytest.mark.parametrize("format_name", [*TURNS, *PLAIN])
def test_only_conversations_are_written(format_name: str) -> None:
    assert refused(format_name, Text("x")).code == "not_expressible"


def test_sharegpt_spelling() -> None:
    tools = '[{"type":"function","function":{"name":"f"}}]'
    messages = (
        Message("system", "s"),
        Q,
        Message("assistant", "let me see", 0.0, (CALL, ToolCall("g", "{}"))),
        Message("tool", "1", name="f", tool_call_id="c1"),
        A,
        Q,
        Message("assistant", "", 1.0, (ToolCall("g", '{"名":"值"}'),)),
    )
    assert FORMATS["sharegpt"].write(Conversation(messages, tools)) == {
        "conversations": [
            {"from": "system", "value": "s"},
            {"from": "human", "value": "q"},
            {"from": "gpt", "value": "let me see", "weight": 0},
            {
                "from": "function_call",
                "value": '[{"name": "f", "arguments": {"x": 1}, "id": "c1"}, {"name": "g", "arguments": {}}]',
                "weight": 0,
            },
            {"from": "observation", "value": "1", "name": "f", "tool_call_id": "c1"},
            {"from": "gpt", "value": "a"},
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": '{"name": "g", "arguments": {"名": "值"}}'},
        ],
        "tools": tools,
    }


def test_messages_spelling() -> None:
    messages = (Q, Message("assistant", "", 0.5, (CALL,)), Message("tool", "1", tool_call_id="c1"), A)
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    assert FORMATS["messages"].write(
        Conversation(messages, '[{"type":"function","function":{"name":"f","parameters":{"b":1,"a":2}}}]')
    ) == {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "tool_calls": [call], "weight": 0.5},
            {"role": "tool", "content": "1", "tool_call_id": "c1"},
            {"role": "assistant", "content": "a"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"b": 1, "a": 2}}}],
    }


def test_alpaca_and_pairs_spelling() -> None:
    tools = '[{"type":"function","function":{"name":"f"}}]'
    conversation = Conversation((Message("system", "s"), Q, A, Message("user", "q2\nmore"), A), tools)
    around = {"system": "s", "history": [["q", "a"]], "tools": tools}
    assert FORMATS["alpaca"].write(conversation) == {"instruction": "q2\nmore", "input": "", "output": "a", **around}
    assert FORMATS["pairs"].write(conversation) == {"query": "q2\nmore", "response": "a", **around}
    assert FORMATS["segments"].write(Conversation((Q, A))) == {
        "segments": [{"label": False, "text": "q"}, {"label": True, "text": "a"}]
    }


def test_what_would_be_read_as_one_turn_is_not_written_as_two() -> None:
    alone = Message("assistant", "", 1.0, (CALL,))
    assert "read as one" in refused("sharegpt", Conversation((Q, A, alone))).reason
    # Messages keep a call on its turn, so nothing is mixed up there.
    assert [turn["role"] for turn in FORMATS["messages"].write(Conversation((Q, A, alone)))["messages"][1:]] == [
        "assistant",
        "assistant",
    ]


@pytest.mark.parametrize("format_name", TURNS)
@pytest.mark.parametrize(
    "turn",
    [
        replace(Q, weight=0.0),
        replace(Q, tool_calls=(CALL,)),
        Message("tool", "1", weight=2.0),
        replace(Q, tool_call_id="c1"),
        Message("assistant", "", 1.0, (CALL,), tool_call_id="c1"),
        replace(A, weight=float("nan")),
        replace(A, weight=2_000_000.0),
    ],
)
def test_what_only_another_turn_may_have_is_not_written(format_name: str, turn: Message) -> None:
    assert refused(format_name, Conversation((turn,))).code == "not_expressible"


def test_tools_and_arguments_that_are_not_canonical_are_not_written() -> None:
    for format_name in TURNS:
        spaced = Conversation((Q, replace(A, tool_calls=(ToolCall("f", '{"x": 1}'),))))
        assert "as parse_calls makes it" in refused(format_name, spaced).reason
        assert "parse_tools" in refused(format_name, Conversation((Q, A), '[{"name": "f"}]')).reason


def test_id_weight_and_score_of_a_row_are_written_beside_it() -> None:
    example = Example(Conversation((Q, A)), weight=0.5, id="r1", score=2.0)
    for format_name in (*TURNS, *PLAIN):
        written: Mapping[str, Any] = write_example(format_name, example)
        assert parse_example(format_name, written, Shape()) == example
