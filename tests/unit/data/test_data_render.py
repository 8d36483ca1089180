"""What training sees of each kind of content, and which renderings fit it."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

from typing import get_args

import pytest

from tuneloop.data.config import Render
from tuneloop.data.content import Content, Conversation, Critique, Example, Feedback, Preference, Text
from tuneloop.data.formats.registry import parse_example
from tuneloop.data.formats.shape import Shape
from tuneloop.data.render import to_conversation, to_row
from tuneloop.data.schema import Message, Origin, RowError
from unit.data.rich_strategies import records

S, Q, A, B = Message("system", "s"), Message("user", "q"), Message("assistant", "a"), Message("assistant", "b")
EARLIER = (Message("user", "q0"), Message("assistant", "a0", 0.0))
TOOLS = '[{"type":"function","function":{"name":"f"}}]'
ORIGIN = Origin("rows.jsonl", 1)
QUESTION, CASE = records()

CONTENTS: list[tuple[Content, set[Render]]] = [
    (Conversation((Q, A)), {"auto"}),
    (Text("t"), {"auto"}),
    (Preference((Q,), (A,), (B,)), {"auto", "chosen"}),
    (Feedback((Q,), (A,), is_desirable=True), {"auto"}),
    (Critique("q", "a", "c"), {"auto", "critique"}),
    (QUESTION, {"auto", "answer"}),
    (CASE, {"auto", "charge"}),
]


@pytest.mark.parametrize(("content", "fitting"), CONTENTS)
@pytest.mark.parametrize("render", get_args(Render))
def test_a_rendering_fits_or_says_what_would(content: Content, fitting: set[Render], render: Render) -> None:
    if render in fitting:
        assert to_conversation(content, render) == to_conversation(content, "auto")
        return
    with pytest.raises(RowError) as caught:
        to_conversation(content, render)
    assert caught.value.code == "cannot_render"
    for name in fitting - {"auto"}:
        assert name in caught.value.reason or content in (QUESTION, CASE)


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (Conversation((S, Q, A), TOOLS), (S, Q, A)),
        (Preference((S, *EARLIER, Q), (A,), (B,), TOOLS), (S, *EARLIER, Q, A)),
        (Feedback((*EARLIER, Q), (A,), is_desirable=True, tools=TOOLS), (*EARLIER, Q, A)),
    ],
)
def test_prompt_then_the_answer_that_is_learned(content: Content, messages: tuple[Message, ...]) -> None:
    assert to_conversation(content, "auto") == Conversation(messages, TOOLS)


def test_an_unwanted_answer_is_left_out() -> None:
    with pytest.raises(RowError) as caught:
        to_conversation(Feedback((Q,), (A,), is_desirable=False), "auto")
    assert (caught.value.code, caught.value.reason) == (
        "not_desirable",
        "left out: the answer is marked as unwanted, and this run learns answers",
    )


def test_a_critique_in_the_words_of_its_authors() -> None:
    found = to_conversation(Critique("What is 6*7?", "41", "It is 42. Conclusion: wrong [END]"), "critique")
    asked = (
        "Please critique whether the following solution to the question is correct.\n"
        "Question:\nWhat is 6*7?\n\nSolution:\n41"
    )
    said = Message("assistant", "It is 42. Conclusion: wrong [END]")
    assert found == Conversation((Message("user", asked), said))


def test_a_chinese_critique_is_asked_for_in_chinese() -> None:
    found = to_conversation(Critique("六乘七是多少？", "41", "应为42。结论：错误"), "auto")
    assert found.messages[0].content == "请评判下面这个问题的解答是否正确。\n问题：\n六乘七是多少？\n\n解答：\n41"


def test_the_published_layout_is_learned_alike_as_critique_and_as_alpaca() -> None:
    row = {
        "instruction": "Please critique whether the following solution to the question is correct.",
        "input": "Question:\nq\n\nSolution:\na",
        "output": "Conclusion: right [END]",
    }
    by_format = [to_row(parse_example(name, row, Shape()), "auto", ORIGIN) for name in ("critique", "alpaca")]
    assert by_format[0] == by_format[1]


def test_a_row_carries_what_its_example_says() -> None:
    example = Example(Conversation((Q, A), TOOLS), weight=0.5, id="7", score=3.0)
    row = to_row(example, "auto", ORIGIN, weight=4.0)
    assert (row.messages, row.weight, row.tools, row.score, row.is_text) == ((Q, A), 2.0, TOOLS, 3.0, False)


def test_a_text_is_a_row_without_a_question() -> None:
    row = to_row(Example(Text("once")), "auto", ORIGIN)
    assert (row.messages, row.is_text) == ((Message("assistant", "once"),), True)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (Text(" \n"), "empty_text"),
        (Text("\ud83d"), "lone_surrogate"),
        (Conversation((Q, A), '[{"name":"\ud83d"}]'), "lone_surrogate"),
        (Conversation((A,)), "role_order"),
        (Preference((), (A,), (B,)), "role_order"),
        (Preference((Q, A), (A,), (B,)), "role_order"),
        (Critique("q", "a", " "), "empty_answer"),
    ],
)
def test_an_unsound_row_is_refused(content: Content, code: str) -> None:
    with pytest.raises(RowError) as caught:
        to_row(Example(content), "auto", ORIGIN)
    assert caught.value.code == code
