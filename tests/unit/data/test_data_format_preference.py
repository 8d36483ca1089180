"""Pairs of answers: every spelling that the common trainers read comes to the same content."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tuneloop.data.content import Conversation, Preference
from tuneloop.data.formats.preference import FORMAT
from tuneloop.data.formats.registry import detect_format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.formats.tools import parse_tools
from tuneloop.data.schema import Message, RowError, ToolCall
from unit.data.rich_strategies import preferences

S, Q, GOOD, BAD = (
    Message("system", "s"),
    Message("user", "q"),
    Message("assistant", "good"),
    Message("assistant", "bad"),
)
EARLIER = (Message("user", "q0"), Message("assistant", "a0", 0.0))
PAIR = Preference((Q,), (GOOD,), (BAD,))


def turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


U, G, B = turn("user", "q"), turn("assistant", "good"), turn("assistant", "bad")
BEFORE = [turn("user", "q0"), turn("assistant", "a0")]
HUMAN, GPT_G, GPT_B = ({"from": who, "value": text} for who, text in (("human", "q"), ("gpt", "good"), ("gpt", "bad")))
CALL = turn("assistant", "", tool_calls=[{"function": {"name": "add", "arguments": "{}"}}])
TEXTS = {"chosen": "good", "rejected": "bad"}
CALLED = (Message("assistant", "", tool_calls=(ToolCall("add", "{}"),)), Message("tool", "3"))

SPELLINGS = [
    # TRL, explicit prompt: texts, turns, one turn.
    ({"prompt": "q", **TEXTS}, PAIR),
    ({"prompt": [U], "chosen": [G], "rejected": [B]}, PAIR),
    ({"prompt": [*BEFORE, U], "chosen": [G], "rejected": [B]}, Preference((*EARLIER, Q), (GOOD,), (BAD,))),
    # TRL, implicit prompt: what both share.
    ({"chosen": [U, G], "rejected": [U, B]}, PAIR),
    ({"chosen": [*BEFORE, U, G], "rejected": [*BEFORE, U, B]}, Preference((*EARLIER, Q), (GOOD,), (BAD,))),
    ({"system": "s", "chosen": [U, G], "rejected": [U, B]}, Preference((S, Q), (GOOD,), (BAD,))),
    # The prompt is also there as text, and the usual conversation too.
    ({"prompt": "q", "chosen": [U, G], "rejected": [U, B], "messages": [U, G]}, PAIR),
    ({"prompt": [U], "chosen": [G], "rejected": [U, B]}, PAIR),
    ({"prompt": [turn("system", "s"), U], "chosen": [G], "rejected": [U, B]}, Preference((S, Q), (GOOD,), (BAD,))),
    # A shared call of a tool belongs to the prompt; one that differs to the answer.
    (
        {"chosen": [U, CALL, turn("tool", "3"), G], "rejected": [U, CALL, turn("tool", "3"), B]},
        Preference((Q, Message("assistant", "", 0.0, CALLED[0].tool_calls), CALLED[1]), (GOOD,), (BAD,)),
    ),
    (
        {"chosen": [U, CALL, turn("tool", "3"), G], "rejected": [U, B]},
        Preference((Q,), (*CALLED, GOOD), (BAD,)),
    ),
    (
        {"chosen": [U, CALL, turn("tool", "3"), G], "rejected": [U, CALL, turn("tool", "4"), B]},
        Preference((Q,), (*CALLED, GOOD), (CALLED[0], Message("tool", "4"), BAD)),
    ),
    # One conversation goes on where the other ends.
    ({"chosen": [U, G], "rejected": [U, B, U, B]}, Preference((Q,), (GOOD,), (BAD, Q, BAD))),
    # LLaMA-Factory: ShareGPT, Alpaca, and Alpaca's first form.
    ({"conversations": [HUMAN], "chosen": GPT_G, "rejected": GPT_B}, PAIR),
    (
        {"system": "s", "conversations": [HUMAN], "chosen": GPT_G, "rejected": GPT_B},
        Preference((S, Q), (GOOD,), (BAD,)),
    ),
    ({"instruction": "q", "input": "", **TEXTS}, PAIR),
    ({"instruction": "q", "input": "more", **TEXTS}, Preference((Message("user", "q\nmore"),), (GOOD,), (BAD,))),
    (
        {"instruction": "q", "system": "s", "history": [["q0", "a0"]], **TEXTS},
        Preference((S, *EARLIER, Q), (GOOD,), (BAD,)),
    ),
    ({"instruction": "q", "input": "", "output": ["good", "bad"]}, PAIR),
    # ms-swift.
    ({"messages": [U, G], "rejected_response": "bad"}, PAIR),
    ({"messages": [*BEFORE, U, G], "rejected_response": "bad"}, Preference((*EARLIER, Q), (GOOD,), (BAD,))),
    ({"messages": [U, G], "rejected_messages": [U, B]}, PAIR),
    ({"query": "q", "response": "good", "rejected_response": "bad"}, PAIR),
    # Axolotl.
    ({"messages": [U], "chosen": G, "rejected": B}, PAIR),
    ({"system": "s", "question": "q", **TEXTS}, Preference((S, Q), (GOOD,), (BAD,))),
    ({"instruction": "q", "chosen_response": "good", "rejected_response": "bad"}, PAIR),
    # `input` beside a prompt is somebody else's column.
    ({"prompt": "q", "input": "x", **TEXTS}, PAIR),
]


@pytest.mark.parametrize(("row", "expected"), SPELLINGS)
def test_pairs_as_people_write_them(row: dict[str, Any], expected: Preference) -> None:
    assert FORMAT.parse(row, Shape()) == expected
    assert detect_format([row]) == "preference"


def test_tools_are_read_with_every_spelling() -> None:
    tools = [{"name": "add", "parameters": {}}]
    for row, expected in SPELLINGS:
        found = FORMAT.parse({**row, "tools": tools}, Shape())
        assert found == Preference(expected.prompt, expected.chosen, expected.rejected, parse_tools(tools))


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ({"prompt": "ask", "chosen": "best", "rejected": "worst"}, {"ask": "q", "best": "good", "worst": "bad"}),
        ({"messages": "dialog", "chosen": "best", "rejected": "worst"}, {"dialog": [U], "best": G, "worst": B}),
        ({"messages": "dialog", "rejected": "worst"}, {"dialog": [U, G], "worst": "bad"}),
        ({"chosen": "best", "rejected": "worst"}, {"best": [U, G], "worst": [U, B]}),
        (
            {"prompt": "p", "chosen": "c", "rejected": "r", "messages.role": "who", "messages.content": "says"},
            {"p": "q", "c": {"who": "bot", "says": "good"}, "r": {"who": "bot", "says": "bad"}},
        ),
    ],
)
def test_columns_name_the_fields(columns: dict[str, str], row: dict[str, Any]) -> None:
    others = {"prompt": "not this", "system": "nor this", "instruction": "i", "tools": 3}
    assert FORMAT.parse({**others, **row}, Shape(columns, only_columns=True)) == PAIR


def test_roles_name_the_speakers() -> None:
    row = {"messages": [turn("patient", "q")], "chosen": turn("doctor", "good"), "rejected": turn("doctor", "bad")}
    assert FORMAT.parse(row, Shape(roles={"doctor": "assistant", "patient": "user"})) == PAIR


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "same_answers"),
        ({"chosen": [U, G], "rejected": [U, G]}, "same_answers"),
        ({"messages": [U, G], "rejected_response": "good"}, "same_answers"),
        ({"instruction": "q", "output": ["a", "a"]}, "same_answers"),
        # Another weight does not make another answer.
        ({"prompt": "q", "chosen": [{**G, "weight": 0.5}], "rejected": [G]}, "same_answers"),
        ({"chosen": [U, G], "rejected": [turn("user", "other"), B]}, "prompts_differ"),
        ({"chosen": [U, G, U, G], "rejected": [U, G, turn("user", "other"), B]}, "prompts_differ"),
        ({"prompt": [U], "chosen": [G], "rejected": [turn("user", "other"), B]}, "prompts_differ"),
        ({"chosen": "good", "rejected": "bad"}, "missing_key"),
        ({"prompt": "q", "chosen": "good"}, "empty_answer"),
        ({"prompt": "q", "rejected": "bad"}, "empty_answer"),
        ({"prompt": "q", "chosen": "good", "rejected": ""}, "empty_answer"),
        ({"prompt": "q", "chosen": [turn("assistant", " ")], "rejected": "bad"}, "empty_answer"),
        ({"prompt": "q", "chosen": 1, "rejected": 2}, "wrong_type"),
        ({"instruction": "q", "output": ["a"]}, "wrong_type"),
        ({"instruction": "q", "output": ["a", "b", "c"]}, "wrong_type"),
        ({"prompt": "q", "chosen": [U], "rejected": "bad"}, "no_answer"),
        ({"prompt": "q", **TEXTS, "images": ["x.png"]}, "not_text"),
        ({"chosen": [U, G], "rejected": [U, B], "images": ["x.png"]}, "not_text"),
    ],
)
def test_what_is_refused(row: dict[str, Any], code: str) -> None:
    with pytest.raises(RowError) as caught:
        FORMAT.parse(row, Shape())
    assert caught.value.code == code


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(preferences())
def test_what_is_written_is_read_again(preference: Preference) -> None:
    written = json.loads(json.dumps(FORMAT.write(preference)))
    assert FORMAT.parse(written, Shape()) == preference
    assert detect_format([written]) == "preference"


@pytest.mark.parametrize(
    "content",
    [
        Conversation((Q, GOOD)),
        Preference((Q,), (GOOD,), (GOOD,)),
        Preference((Q,), (), (BAD,)),
        Preference((Q,), (Q, GOOD), (BAD,)),
        Preference((Q,), (Message("assistant", " "),), (BAD,)),
        Preference((Q, Message("assistant", "a0"), Q), (GOOD,), (BAD,)),
    ],
)
def test_what_has_no_place_is_not_expressible(content: Conversation | Preference) -> None:
    with pytest.raises(RowError) as caught:
        FORMAT.write(content)
    assert caught.value.code == "not_expressible"


@pytest.mark.shared
@pytest.mark.parametrize("name", ["dpo_en_demo.json", "dpo_zh_demo.json"])
def test_a_published_file_is_read_whole(shared: Path, name: str) -> None:
    rows = json.loads((shared / "llamafactory_demo" / name).read_text())
    assert detect_format(rows[:32]) == "preference"
    found = [FORMAT.parse(row, Shape()) for row in rows]
    assert Counter(type(content) for content in found) == {Preference: 300}
    for row, content in zip(rows, found, strict=True):
        assert isinstance(content, Preference)
        assert len(content.prompt) == len(row["conversations"])
        assert content.chosen[0].content == row["chosen"]["value"]
        assert content.rejected[0].content == row["rejected"]["value"]
