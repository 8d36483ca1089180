"""A judge is asked in the claim's language, and its words are read strictly."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import pytest

from tuneloop.core.errors import DataError
from tuneloop.evaluate.claims.checker import Pair
from tuneloop.evaluate.claims.judge import JudgeChecker, JudgeSettings, parse_answer


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("yes", True),
        ("Yes.", True),
        ("**Yes**, because it is said.", True),
        ("Answer: yes", True),
        ("是", True),
        ("是的，原文支持。", True),
        ("支持。", True),
        ("<think>No. Or maybe no.</think>\n\nyes", True),
        ("no", False),
        ("No, the source says otherwise.", False),
        ("Not supported", False),
        ("否。", False),
        ("不支持", False),
        ("答案：否", False),
        ("", None),
        ("Perhaps.", None),
        ("yesterday", None),
        ("Nothing is known.", None),
        ("<think>yes", None),
        ("不清楚", None),
        ("The claim is supported.", None),
    ],
)
def test_answers(answer: str, verdict: bool | None) -> None:  # noqa: FBT001 - it is the expected value
    assert parse_answer(answer) is verdict


def test_each_language_is_asked_in_its_own_words() -> None:
    asked: list[str] = []

    def ask(prompts: list[str]) -> list[str]:
        asked.extend(prompts)
        return ["yes", "否", "well"]

    verdicts = JudgeChecker(ask, "m").check(
        [Pair("S {claim}", "C {source}"), Pair("原文", "说法是这样"), Pair("s", "c d")]
    )
    assert [(verdict.supported, verdict.decided) for verdict in verdicts] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    assert "<source>\nS {claim}\n</source>" in asked[0]
    assert "<claim>\nC {source}\n</claim>" in asked[0]
    assert "<原文>\n原文\n</原文>" in asked[1]


def test_one_yes_over_the_pieces_of_a_long_source_is_enough() -> None:
    source = " ".join(f"Sentence number {number} is here." for number in range(40))
    settings = JudgeSettings(chunk_tokens=100)

    def ask(prompts: list[str]) -> list[str]:
        return ["yes" if "number 33 is" in prompt.split("<claim>")[0] else "no" for prompt in prompts]

    checker = JudgeChecker(ask, "m", settings)
    assert checker.check([Pair(source, "Sentence number 33 is here.")])[0].supported
    assert not checker.check([Pair("Another text.", "Sentence number 33 is here.")])[0].supported
    unsure = JudgeChecker(lambda prompts: ["no", *["hm"] * (len(prompts) - 1)], "m", settings)
    assert not unsure.check([Pair(source, "Sentence number 33 is here.")])[0].decided


def test_an_answer_too_few_is_an_error_and_no_pair_asks_nothing() -> None:
    with pytest.raises(DataError, match="1 questions got 0 answers"):
        JudgeChecker(lambda _: [], "m").check([Pair("a", "b c")])
    assert JudgeChecker(lambda _: 1 / 0, "m").check([]) == []  # type: ignore[arg-type, return-value]


def test_the_version_holds_what_can_change_a_verdict() -> None:
    versions = {JudgeChecker(list, "m", JudgeSettings(chunk_tokens=size)).version for size in (100, 200)}
    assert len(versions) == 2
