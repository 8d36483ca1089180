"""The arithmetic critic: steps by hand, planted slips, and verdicts that the parser of critiques reads back."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
import random
from fractions import Fraction
from pathlib import Path

import pytest

from tuneloop.augment.critique.arithmetic import criticise, find_steps
from tuneloop.core.errors import DataError
from tuneloop.data.formats.critique import parse_verdict


@pytest.mark.parametrize(
    ("text", "values", "right"),
    [
        ("17*3 = 41", [51], [False]),
        ("17*3 = 41, 41+1 = 42", [51, 42], [False, True]),
        ("(2+3)*4 = 20", [20], [True]),
        ("2+3*4 = 20", [14], [False]),
        ("10 / 4 = 2.5", [Fraction(5, 2)], [True]),
        ("10 / 3 = 3.33", [Fraction(10, 3)], [True]),
        ("10 / 3 = 3.34", [Fraction(10, 3)], [False]),
        ("1,200 + 300 = $1,500", [1500], [True]),
        ("5 × 6 = 30 and 30 ÷ 4 = 7.5", [30, Fraction(15, 2)], [True, True]),
        ("20 - 30 = -10", [-10], [True]),
        ("1/0 = 3", [], []),
        ("(2+3 = 5", [], []),
        ("x = 5, a+b = 3, 7 = 7", [], []),
        ("She has 3 apples.", [], []),
    ],
)
def test_steps(text: str, values: list[Fraction | int], right: list[bool]) -> None:
    steps = find_steps(text)
    assert [step.value for step in steps] == values
    assert [step.is_right for step in steps] == right


def test_a_critique_names_the_first_mistake_and_no_later_one() -> None:
    text = criticise({"question": "What is 17*3+1?", "answer": "17*3 = 41, 41+1 = 43. Answer: 43", "gold": "#### 52"})
    assert text.splitlines() == [
        "17*3 = 41 is wrong: it is 51.",
        "The final answer is 43, but it should be 52.",
        "Conclusion: wrong [END]",
    ]


def test_chinese_questions_get_chinese_critiques() -> None:
    text = criticise(
        {"question": "小明有17个苹果，又买了3个，一共几个？", "answer": "17+3 = 20，答案是20", "gold": "20"}
    )
    assert text.splitlines()[0] == "17+3 = 20 正确。"
    assert parse_verdict(text) is True


def test_without_a_final_number_an_answer_is_wrong() -> None:
    text = criticise({"question": "What is 1+1?", "answer": "I do not know.", "gold": "2"})
    assert "There is no final answer" in text
    assert parse_verdict(text) is False


@pytest.mark.parametrize("gold", [None, "", "a lot"])
def test_without_a_gold_number_there_is_no_verdict(gold: str | None) -> None:
    with pytest.raises(DataError, match="gold"):
        criticise({"question": "q", "answer": "1", "gold": gold})


def test_planted_slips_are_found() -> None:
    """Chains of two to five steps; in half of them one result is off, and carried on."""
    chance = random.Random(5)
    for number in range(400):
        value, true_value, planted, lines = chance.randint(1, 50), 0, number % 2 == 1, []
        true_value, steps = value, chance.randint(2, 5)
        at = chance.randrange(steps) if planted else -1
        for place in range(steps):
            sign, other = chance.choice("+-*"), chance.randint(2, 30)
            result = {"+": value + other, "-": value - other, "*": value * other}[sign]
            true_value = {"+": true_value + other, "-": true_value - other, "*": true_value * other}[sign]
            if value < 0:
                break
            shown = result + chance.choice((-10, -1, 1, 10)) if place == at else result
            lines.append(f"{value} {sign} {other} = {shown}")
            value = shown
        answer = "\n".join([*lines, f"The answer is {value}."])
        text = criticise({"question": "How many are left?", "answer": answer, "gold": str(true_value)})
        assert parse_verdict(text) is (value == true_value), answer
        if value != true_value and "is wrong" in text:
            assert text.splitlines()[-3].startswith(lines[at])


@pytest.mark.shared
def test_solutions_of_gsm8k_are_right_and_spoiled_ones_are_not(shared: Path) -> None:
    lines = (shared / "gsm8k/test.jsonl").read_text().splitlines()[:300]
    for row in map(json.loads, lines):
        facts = {"question": row["question"], "answer": row["answer"], "gold": row["answer"]}
        assert parse_verdict(criticise(facts)) is True
        solution, _, final = row["answer"].rpartition("#### ")
        spoiled = f"{solution}#### {int(final.replace(',', '')) + 1}"
        assert parse_verdict(criticise(facts | {"answer": spoiled})) is False
