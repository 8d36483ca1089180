"""The final number: found where people and models write it, compared exactly."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
import re
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from tuneloop.core.errors import DataError
from tuneloop.evaluate.metrics.number import FinalNumber, final_number

PUBLISHED = re.compile(r"#### (\-?[0-9\.\,]+)")
"""What the script of GSM8K's authors reads."""


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She sells 9 eggs.\n#### 18", "18"),
        ("#### $1,080.00", "1080"),
        ("#### -3.50", "-3.5"),
        ("#### **18** dollars", "18"),
        ("#### 1. Compute 3 * 4\n#### 2. Add 5\nSo the answer is 17.", "17"),
        ("#### Step 1\n9 * 2 = 18", "18"),
        ("First the answer is 12, but then the answer is 18 dollars on 3 days.", "18"),
        ("The answer is 9 * 2 = $18. That took 3 steps.", "18"),
        ("The answer is:\n\n**18**\n\nIt took 3 steps.", "18"),
        ("**Answer:** 18 (in 2 steps)", "18"),
        ("Answer: She sells 16 - 3 - 4 = 9 eggs. She makes 9 * 2 = $18.", "18"),
        ("Answer: 16 - 3 = 13, and 13 + 5 = 18", "18"),
        ("So $x = \\boxed{70{,}000}$ after 3 steps.", "70000"),
        ("\\boxed{\\frac{1}{3}}", "1/3"),
        ("\\boxed{1\\frac{1}{2}}", "1.5"),
        ("\\boxed{18\\text{ dollars}}, that is 3 times 6", "18"),
        ("\\boxed{18", "18"),
        ("答案是18元，用了3天。", "18"),
        ("答案：１，２３４", "1234"),
        ("答：小明一共有18个苹果。", "18"),
        ("所以一共是３.５万元。", "35000"),
        ("共计2亿", "200000000"),
        ("She makes $18.00 a day.", "18"),
        ("It costs -$5", "-5"),
        ("It costs $-5.", "-5"),
        ("The change is −7 degrees", "-7"),
        ("13-3", "3"),
        ("16 - 3", "3"),
        ("50%", "50"),
        ("1/2", "0.5"),
        ("2 1/2 cups", "2.5"),
        ("1.5e3", "1500"),
        ("3 \\times 10^{6}", "3000000"),
        (".5", "0.5"),
        ("wait...5", "5"),
        ("007", "7"),
        ("-0.0", "0"),
        ("0.10", "0.1"),
        ("H2O and CO2", None),
        ("USD500", "500"),
        ("eighteen", None),
        ("十八", None),
        ("", None),
        ("1/0", None),
        ("1e999999999999", None),
        ("9" * 101, None),
        ("9" * 100, "9" * 100),
        ("<think>It is 5.</think>So 6", "6"),
        ("<think>It is 5", None),
        ("18\n\nQuestion: How many are 3 and 4?\nAnswer: 7", "18"),
    ],
)
def test_the_final_number(text: str, number: str | None) -> None:
    assert final_number(text) == number


def is_right(answer: str, *references: str) -> bool:
    score, one, _ = FinalNumber().statistics(answer, references)
    assert one == 1
    return bool(score)


def test_numbers_are_compared_exactly() -> None:
    assert is_right("It is 1000.", "... #### 1,000")
    assert is_right("0.5", "1/2")
    assert not is_right("0.333", "1/3")
    assert not is_right("0.1000000000000000000001", "0.1")
    assert is_right("4", "3", "4")


def test_an_answer_without_a_number_is_wrong_and_counted() -> None:
    metric = FinalNumber()
    totals_K = np.sum([metric.statistics(answer, ["#### 18"]) for answer in ["18", "17", "many", ""]], axis=0)
    assert metric.combine(totals_K) == 0.25
    assert metric.parts(totals_K) == {"answered": 0.5}


def test_a_reference_without_a_number() -> None:
    with pytest.raises(DataError, match="'many' holds no number"):
        is_right("18", "many")


@pytest.mark.parametrize(
    "text", ["1", "1,", "1/", "答是", "the answer is ", "####", "\\frac{1", "1e", "\\boxed{", "-$", "=1"]
)
def test_a_text_that_loops_takes_linear_time(text: str) -> None:
    start = time.perf_counter()
    final_number(text * (30_000 // len(text)))
    # Quadratic time would be minutes.
    assert time.perf_counter() - start < 10


@pytest.mark.shared
def test_every_gold_answer_as_the_published_rule_reads_it(shared: Path) -> None:
    answers = [json.loads(line)["answer"] for line in (shared / "gsm8k" / "test.jsonl").read_text().splitlines()]
    assert len(answers) == 1319
    for answer in answers:
        published = PUBLISHED.search(answer)
        assert published is not None
        assert final_number(answer) == str(Decimal(published[1].replace(",", "")))
        assert is_right(answer, answer)
