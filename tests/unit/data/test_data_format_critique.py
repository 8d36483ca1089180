"""Critiques: both forms are read, and the verdict is never guessed."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
from typing import Any

import pytest
from hypothesis import given, settings

from tuneloop.data.content import Conversation, Critique
from tuneloop.data.formats.critique import FORMAT, parse_verdict, write_layout
from tuneloop.data.formats.registry import detect_format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.schema import Message, RowError
from unit.data.rich_strategies import critiques

WRONG = Critique("What is 6*7?", "6*7 = 41", "6*7 is 42. Conclusion: wrong [END]", is_right=False)
TEXTS = {"question": "What is 6*7?", "answer": "6*7 = 41", "critique": "6*7 is 42. Conclusion: wrong [END]"}
PUBLISHED = {
    "instruction": "Please critique whether the following solution to the question is correct.",
    "input": "Question:\nWhat is 6*7?\n\nSolution:\n6*7 = 41",
    "output": "6*7 is 42. Conclusion: wrong [END]",
}
CHINESE = Critique("六乘七是多少？", "41", "应为42。\n结论：错误", is_right=False)


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (TEXTS, WRONG),
        (TEXTS | {"verdict": "wrong"}, WRONG),
        (TEXTS | {"is_right": False}, WRONG),
        (TEXTS | {"label": 0}, WRONG),
        (without(TEXTS, "answer") | {"noisy_answer": "6*7 = 41"}, WRONG),
        (without(TEXTS, "answer") | {"response": "6*7 = 41"}, WRONG),
        (PUBLISHED, WRONG),
        (PUBLISHED | {"system": "", "history": []}, WRONG),
        (write_layout(CHINESE), CHINESE),
        (TEXTS | {"critique": "No.", "verdict": "错误"}, Critique("What is 6*7?", "6*7 = 41", "No.", is_right=False)),
        (TEXTS | {"critique": "Hm.", "verdict": None}, Critique("What is 6*7?", "6*7 = 41", "Hm.")),
        (TEXTS | {"critique": "Hm.", "verdict": ""}, Critique("What is 6*7?", "6*7 = 41", "Hm.")),
    ],
)
def test_critiques_as_people_write_them(row: dict[str, Any], expected: Critique) -> None:
    assert FORMAT.parse(row, Shape()) == expected
    assert detect_format([row]) == "critique"


@pytest.mark.parametrize(
    ("critique", "verdict"),
    [
        ("Conclusion: right [END]", True),
        ("Conclusion: wrong [END]", False),
        ("**Conclusion:** right", True),
        ("**Conclusion: wrong** [END]", False),
        ("CONCLUSION : Correct.", True),
        ("Conclusion: incorrect", False),
        ("Conclusion: not right", False),
        ("结论：正确", True),
        ("结论: 错误。", False),
        ("结论：不正确", False),
        # The last one counts, and what it says, not what stands near it.
        ("At first, Conclusion: right. But no. Conclusion: wrong [END]", False),
        ("Conclusion: wrong. The right answer is 42. [END]", False),
        ("Conclusion: right. In conclusion: I cannot tell.", None),
        # The order to the teacher, said again, is no verdict.
        ("Conclusion: right/wrong [END]", None),
        ("结论：正确/错误", None),
        ("Conclusion: rightly doubted", None),
        ("The solution is wrong.", None),
        ("", None),
    ],
)
def test_the_verdict_is_what_the_last_conclusion_says(critique: str, verdict: bool | None) -> None:  # noqa: FBT001
    assert parse_verdict(critique) is verdict


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (TEXTS | {"verdict": "right"}, "verdict_mismatch"),
        (TEXTS | {"is_right": True}, "verdict_mismatch"),
        (TEXTS | {"verdict": "maybe"}, "wrong_type"),
        (TEXTS | {"verdict": 0.5}, "wrong_type"),
        (without(TEXTS, "question"), "missing_key"),
        (without(TEXTS, "answer"), "missing_key"),
        (without(TEXTS, "critique"), "empty_answer"),
        (TEXTS | {"critique": ["a"]}, "wrong_type"),
        (TEXTS | {"images": ["x.png"]}, "not_text"),
        (PUBLISHED | {"system": "s"}, "not_a_critique"),
        (PUBLISHED | {"instruction": "Add."}, "not_a_critique"),
        (PUBLISHED | {"input": "6*7 = 41"}, "not_a_critique"),
    ],
)
def test_what_is_refused(row: dict[str, Any], code: str) -> None:
    with pytest.raises(RowError) as caught:
        FORMAT.parse(row, Shape())
    assert caught.value.code == code


def test_columns_name_the_fields() -> None:
    columns = {"question": "q", "answer": "student", "critique": "teacher", "verdict": "ok"}
    row = {"q": "What is 6*7?", "student": "6*7 = 41", "teacher": TEXTS["critique"], "ok": "no", "verdict": "right"}
    assert FORMAT.parse(row, Shape(columns, only_columns=True)) == WRONG


def test_rows_that_only_look_alike_stay_alpaca() -> None:
    for change in ({"system": "s"}, {"history": [["a", "b"]]}, {"input": ""}, {"instruction": "Add."}):
        assert detect_format([PUBLISHED | change]) == "alpaca"


@pytest.mark.slow
@settings(max_examples=100)
@given(critiques())
def test_what_is_written_is_read_again(critique: Critique) -> None:
    written = json.loads(json.dumps(FORMAT.write(critique)))
    assert FORMAT.parse(written, Shape()) == critique
    assert detect_format([written]) == "critique"


def test_the_authors_layout_is_written_byte_for_byte() -> None:
    assert write_layout(WRONG) == PUBLISHED


def test_a_question_with_the_answers_heading_is_not_written_in_the_layout() -> None:
    with pytest.raises(RowError) as caught:
        write_layout(Critique("Read.\n\nSolution:\n4", "5", "Conclusion: wrong"))
    assert caught.value.code == "not_expressible"


@pytest.mark.parametrize(
    ("question", "is_chinese"),
    [
        ("六乘七是多少？", True),
        ("求 x 使 3x + 4 = 10。", True),
        ("What is 6*7?", False),
        ("Translate into English: 你", False),
        ("六かける七はいくつですか", False),
        ("6*7 = ?", False),
    ],
)
def test_the_layout_speaks_the_language_of_the_question(question: str, is_chinese: bool) -> None:  # noqa: FBT001
    written = write_layout(Critique(question, "41", "x"))
    assert written["instruction"].startswith("请") == is_chinese
    found = FORMAT.parse(written, Shape())
    assert found == Critique(question, "41", "x")


@pytest.mark.parametrize(
    "content",
    [
        Conversation((Message("user", "q"), Message("assistant", "a"))),
        Critique("q", "a", "Conclusion: right", is_right=False),
        Critique("q", "a", "Conclusion: right"),
    ],
)
def test_what_has_no_place_is_not_expressible(content: Conversation | Critique) -> None:
    with pytest.raises(RowError) as caught:
        FORMAT.write(content)
    assert caught.value.code == "not_expressible"
