"""Answers with a label: every spelling that the common trainers read comes to the same content."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tuneloop.data.content import Conversation, Feedback
from tuneloop.data.formats.kto import FORMAT
from tuneloop.data.formats.registry import detect_format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.formats.tools import parse_tools
from tuneloop.data.schema import Message, RowError, ToolCall
from unit.data.rich_strategies import feedbacks

S, Q, A = Message("system", "s"), Message("user", "q"), Message("assistant", "a")
EARLIER = (Message("user", "q0"), Message("assistant", "a0", 0.0))
WANTED = Feedback((Q,), (A,), is_desirable=True)


def turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


U, R = turn("user", "q"), turn("assistant", "a")
BEFORE = [turn("user", "q0"), turn("assistant", "a0")]
SHAREGPT = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
CALL = turn("assistant", "", tool_calls=[{"function": {"name": "add", "arguments": "{}"}}])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # TRL.
        ({"prompt": "q", "completion": "a", "label": True}, WANTED),
        ({"prompt": "q", "completion": "a", "label": False}, Feedback((Q,), (A,), is_desirable=False)),
        ({"prompt": [U], "completion": [R], "label": True}, WANTED),
        ({"prompt": [*BEFORE, U], "completion": [R], "label": True}, Feedback((*EARLIER, Q), (A,), is_desirable=True)),
        # LLaMA-Factory.
        ({"messages": [U, R], "label": True}, WANTED),
        ({"messages": [U, R], "kto_tag": True}, WANTED),
        ({"conversations": SHAREGPT, "kto_tag": False}, Feedback((Q,), (A,), is_desirable=False)),
        ({"completion": [U, R], "label": True}, WANTED),
        ({"instruction": "q", "input": "", "output": "a", "kto_tag": True}, WANTED),
        (
            {"instruction": "q", "input": "x", "output": "a", "system": "s", "history": [["q0", "a0"]], "label": True},
            Feedback((S, *EARLIER, Message("user", "q\nx")), (A,), is_desirable=True),
        ),
        # ms-swift.
        (
            {"system": "s", "messages": [*BEFORE, U, R], "label": True},
            Feedback((S, *EARLIER, Q), (A,), is_desirable=True),
        ),
        ({"query": "q", "response": "a", "label": True}, WANTED),
        # The answer is all that follows the last question.
        (
            {"messages": [U, CALL, turn("tool", "3"), R], "label": True},
            Feedback(
                (Q,),
                (Message("assistant", "", tool_calls=(ToolCall("add", "{}"),)), Message("tool", "3"), A),
                is_desirable=True,
            ),
        ),
    ],
)
def test_labelled_answers_as_people_write_them(row: dict[str, Any], expected: Feedback) -> None:
    assert FORMAT.parse(row, Shape()) == expected
    assert detect_format([row]) == "kto"
    tools = [{"name": "add", "parameters": {}}]
    with_tools = FORMAT.parse({**row, "tools": tools}, Shape())
    assert with_tools == Feedback(expected.prompt, expected.completion, expected.is_desirable, parse_tools(tools))


@pytest.mark.parametrize(
    ("label", "expected"),
    [(True, True), (False, False), (1, True), (0, False), ("true", True), ("False", False), ("1", True), ("0", False)],
)
def test_labels_as_tables_write_them(label: object, expected: bool) -> None:  # noqa: FBT001
    found = FORMAT.parse({"prompt": "q", "completion": "a", "label": label}, Shape())
    assert found == Feedback((Q,), (A,), is_desirable=expected)


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ({"messages": "completion", "label": "good"}, {"completion": [U, R], "good": True}),
        ({"prompt": "ask", "completion": "say", "label": "good"}, {"ask": "q", "say": "a", "good": True}),
        (
            {"prompt": "instruction", "completion": "output", "label": "l"},
            {"instruction": "q", "output": "a", "l": True},
        ),
    ],
)
def test_columns_name_the_fields(columns: dict[str, str], row: dict[str, Any]) -> None:
    others = {"label": False, "kto_tag": False, "system": "not this", "input": "nor this", "prompt": "p"}
    assert FORMAT.parse({**others, **row}, Shape(columns, only_columns=True)) == WANTED


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"prompt": "q", "completion": "a"}, "missing_key"),
        ({"prompt": "q", "completion": "a", "label": None}, "missing_key"),
        ({"prompt": "q", "completion": "a", "label": "good"}, "wrong_type"),
        ({"prompt": "q", "completion": "a", "label": 2}, "wrong_type"),
        ({"prompt": "q", "completion": "a", "label": 1.0}, "wrong_type"),
        ({"completion": "a", "label": True}, "missing_key"),
        ({"prompt": "q", "label": True}, "empty_answer"),
        ({"prompt": "q", "completion": "", "label": True}, "empty_answer"),
        ({"messages": [U], "label": True}, "no_answer"),
        ({"messages": [], "label": True}, "empty_answer"),
        ({"messages": [U, R], "label": True, "images": ["x.png"]}, "not_text"),
    ],
)
def test_what_is_refused(row: dict[str, Any], code: str) -> None:
    with pytest.raises(RowError) as caught:
        FORMAT.parse(row, Shape())
    assert caught.value.code == code


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(feedbacks())
def test_what_is_written_is_read_again(feedback: Feedback) -> None:
    written = json.loads(json.dumps(FORMAT.write(feedback)))
    assert FORMAT.parse(written, Shape()) == feedback
    assert detect_format([written]) == "kto"


@pytest.mark.parametrize("content", [Conversation((Q, A)), Feedback((Q,), (), is_desirable=True)])
def test_what_has_no_place_is_not_expressible(content: Conversation | Feedback) -> None:
    with pytest.raises(RowError) as caught:
        FORMAT.write(content)
    assert caught.value.code == "not_expressible"


def test_a_label_that_is_a_class_makes_no_kto_row() -> None:
    assert detect_format([{"messages": [U, R], "label": 3}]) == "messages"
    assert detect_format([{"instruction": "q", "output": "a", "label": "sports"}]) == "alpaca"


@pytest.mark.shared
def test_a_published_file_is_read_whole(shared: Path) -> None:
    rows = json.loads((shared / "llamafactory_demo" / "kto_en_demo.json").read_text())
    assert detect_format(rows[:32]) == "kto"
    found = [FORMAT.parse(row, Shape()) for row in rows]
    assert sum(isinstance(content, Feedback) and content.is_desirable for content in found) == 150
    for row, content in zip(rows, found, strict=True):
        assert isinstance(content, Feedback)
        assert len(content.prompt) == len(row["messages"]) - 1
        assert content.completion[0].content == row["messages"][-1]["content"]
