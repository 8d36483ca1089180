"""Prompt and completion: what is read as what, and that writing loses nothing."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tuneloop.data.content import Content, Conversation, Text
from tuneloop.data.formats.prompt_completion import FORMAT
from tuneloop.data.formats.registry import detect_format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.formats.tools import parse_tools
from tuneloop.data.schema import Message, RowError
from unit.data.rich_strategies import completions

Q, A = Message("user", "q"), Message("assistant", "a")
SILENT = Message("assistant", "a0", 0.0)
TOOL = {"name": "add", "parameters": {}}


def turns(*pairs: tuple[str, str], **last: Any) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in pairs]
    written[-1] |= last
    return written


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "q", "completion": "a"}, (Q, A)),
        ({"prompt": "q", "completion": "a", "system": "s"}, (Message("system", "s"), Q, A)),
        ({"prompt": "q", "completion": "a", "input": "x"}, (Q, A)),
        ({"prompt": turns(("user", "q")), "completion": turns(("assistant", "a"))}, (Q, A)),
        ({"prompt": turns(("user", "q")), "completion": {"role": "assistant", "content": "a"}}, (Q, A)),
        ({"prompt": [{"from": "human", "value": "q"}], "completion": [{"from": "gpt", "value": "a"}]}, (Q, A)),
        ({"prompt": json.dumps(turns(("user", "q"))), "completion": "a"}, (Q, A)),
        # An answer that is a JSON list of something else is text.
        ({"prompt": "q", "completion": "[1, 2]"}, (Q, Message("assistant", "[1, 2]"))),
        # TRL learns the completion only: an answer in the prompt is not learned, whatever weight it has.
        (
            {"prompt": turns(("user", "q0"), ("assistant", "a0"), ("user", "q")), "completion": "a"},
            (Message("user", "q0"), SILENT, Q, A),
        ),
        (
            {
                "prompt": turns(("user", "q"), ("assistant", "a0"), weight=1),
                "completion": turns(("user", "q"), ("assistant", "a")),
            },
            (Q, SILENT, Q, A),
        ),
        ({"prompt": "q", "completion": turns(("assistant", "a"), weight=0.5)}, (Q, Message("assistant", "a", 0.5))),
    ],
)
def test_prompts_and_completions_as_people_write_them(row: dict[str, Any], expected: tuple[Message, ...]) -> None:
    assert FORMAT.parse(row, Shape()) == Conversation(expected)
    assert detect_format([row]) == "prompt_completion"


@pytest.mark.parametrize("prompt", ["q", turns(("user", "q"))])
def test_tools_are_read_beside_text_and_beside_turns(prompt: object) -> None:
    found = FORMAT.parse({"prompt": prompt, "completion": "a", "tools": [TOOL]}, Shape())
    assert found == Conversation((Q, A), parse_tools([TOOL]))


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ({"prompt": "question", "completion": "answer"}, {"question": "q", "answer": "a"}),
        ({"prompt": "input", "completion": "output"}, {"input": "q", "output": "a", "prompt": "not this"}),
        (
            {"prompt": "dialog", "completion": "reply", "messages.role": "who", "messages.content": "says"},
            {"dialog": [{"who": "user", "says": "q"}], "reply": [{"who": "assistant", "says": "a"}]},
        ),
    ],
)
def test_columns_name_the_fields(columns: dict[str, str], row: dict[str, Any]) -> None:
    assert FORMAT.parse(row, Shape(columns, only_columns=True)) == Conversation((Q, A))


def test_only_columns_reads_nothing_else() -> None:
    row = {"question": "q", "answer": "a", "system": "s", "history": [["x", "y"]], "tools": [TOOL]}
    shape = Shape({"prompt": "question", "completion": "answer"}, only_columns=True)
    assert FORMAT.parse(row, shape) == Conversation((Q, A))


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"completion": "a"}, "missing_key"),
        ({"prompt": None, "completion": "a"}, "missing_key"),
        ({"prompt": 3, "completion": "a"}, "wrong_type"),
        ({"prompt": "q"}, "empty_answer"),
        ({"prompt": "q", "completion": " "}, "empty_answer"),
        ({"prompt": "q", "completion": []}, "empty_answer"),
        ({"prompt": "q", "completion": 3}, "wrong_type"),
        ({"prompt": "q", "completion": turns(("user", "a"))}, "no_answer"),
        ({"prompt": "q", "completion": turns(("narrator", "a"))}, "unknown_role"),
        ({"prompt": "q", "completion": "a", "images": ["x.png"]}, "not_text"),
        ({"prompt": turns(("user", "q")), "completion": "a", "images": ["x.png"]}, "not_text"),
        ({"prompt": "q", "completion": "a", "tools": 3}, "bad_tools"),
    ],
)
def test_what_is_refused(row: dict[str, Any], code: str) -> None:
    with pytest.raises(RowError) as caught:
        FORMAT.parse(row, Shape())
    assert caught.value.code == code


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(completions())
def test_what_is_written_is_read_again(conversation: Conversation) -> None:
    assert FORMAT.parse(json.loads(json.dumps(FORMAT.write(conversation))), Shape()) == conversation


def test_the_completion_begins_with_the_first_answer_that_is_learned() -> None:
    written = FORMAT.write(Conversation((Q, SILENT, Q, A, Q, A)))
    assert [turn["content"] for turn in written["prompt"]] == ["q", "a0", "q"]
    assert [turn["content"] for turn in written["completion"]] == ["a", "q", "a"]
    # TRL has no weights: none is written where it would say nothing.
    assert "weight" not in json.dumps(written)


@pytest.mark.parametrize("content", [Text("t"), Conversation((Q,)), Conversation((Q, A, Q)), Conversation(())])
def test_what_has_no_place_is_not_expressible(content: Content) -> None:
    with pytest.raises(RowError) as caught:
        FORMAT.write(content)
    assert caught.value.code == "not_expressible"
