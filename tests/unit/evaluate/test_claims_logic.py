"""Syllogisms are read out of answers in two languages, and a conclusion counts only with its own premises."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

from collections.abc import Sequence

import pytest

from tuneloop.core.errors import DataError
from tuneloop.data.legal.record import LegalRecord
from tuneloop.data.legal.render import render_record
from tuneloop.evaluate.claims.checker import Pair, Verdict
from tuneloop.evaluate.claims.logic import Step, measure_logic, parse_steps, steps_of_record
from tuneloop.evaluate.claims.records import CheckerAccuracy

NOTHING = CheckerAccuracy(checker="x", version="1", set_sha256="0" * 64, entries=())
RECORD = LegalRecord.model_validate(
    {
        "facts": [{"fid": "F1", "text": "甲醉酒后在道路上驾驶汽车。"}],
        "statutes": [
            {"sid": "S1", "law": "刑法", "article": "第一百三十三条之一", "text": "在道路上醉酒驾驶机动车的，处拘役。"}
        ],
        "syllogism": [{"major": ["S1"], "minor": ["F1"], "conclusion": "甲应处拘役。"}],
    }
)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("大前提：人皆有死。小前提：甲是人。结论：甲会死。", [("人皆有死。", "甲是人。", "甲会死。")]),
        ("法律依据：期满应还。\n事实：期限已满。\n结论：应当归还。", [("期满应还。", "期限已满。", "应当归还。")]),
        (
            (
                "**Major premise:** All men are mortal.\n**Minor premise:** Socrates is a man.\n"
                "**Conclusion:** He is mortal.\n\nGood luck!"
            ),
            [("All men are mortal.", "Socrates is a man.", "He is mortal.")],
        ),
        (
            "1. Rule: Late goods cost 1 percent.\n2. Facts: They were late.\n3. Therefore, 1 percent is due.",
            [("Late goods cost 1 percent.", "They were late.", "1 percent is due.")],
        ),
        (
            "大前提（法律）：甲规则。\n小前提：一事实。\n小前提：二事实。\n结论：其一。\n大前提：乙规则。\n小前提：三事实。\n结论：其二。",
            [("甲规则。", "一事实。\n二事实。", "其一。"), ("乙规则。", "三事实。", "其二。")],
        ),
        ("<think>大前提：甲。小前提：乙。结论：丙。</think>没有推理。", []),
        ("结论：甲会死。", []),
        ("大前提：人皆有死。结论：甲会死。", []),
        ("大前提：甲。小前提：乙。结论：", []),
        ("The rule is that facts matter, and the conclusion is open.", []),
        ("", []),
    ],
)
def test_steps_of_a_text(text: str, steps: list[tuple[str, str, str]]) -> None:
    assert parse_steps(text) == [Step(*step) for step in steps]


def test_a_legal_record_gives_its_texts_and_its_rendering_its_own() -> None:
    assert steps_of_record(RECORD) == [
        Step("在道路上醉酒驾驶机动车的，处拘役。", "甲醉酒后在道路上驾驶汽车。", "甲应处拘役。")
    ]
    (step,) = parse_steps(render_record(RECORD, "syllogism").messages[1].content)
    assert "《刑法》第一百三十三条之一" in step.major
    assert "甲醉酒后在道路上驾驶汽车。" in step.minor
    assert step.conclusion == "甲应处拘役。"


def test_a_record_without_the_text_of_its_premises_is_unparsable() -> None:
    assert steps_of_record(LegalRecord.model_validate(RECORD.model_dump() | {"facts": []})) == []


class Entails:
    """Says yes where the premises hold the conclusion's first word."""

    name = "entails"
    version = "1"

    def check(self, pairs: Sequence[Pair]) -> list[Verdict]:
        return [
            Verdict(
                supported=(yes := claim.split()[0] in source), score=float(yes), why="", decided="maybe" not in claim
            )
            for source, claim in pairs
        ]


def test_an_answer_counts_only_if_every_conclusion_follows() -> None:
    good, bad, unsure = (
        Step("a rule", "a fact", "rule holds"),
        Step("a rule", "a fact", "other"),
        Step("a", "b", "maybe"),
    )
    measured = measure_logic([[good], [good, bad], [], [unsure, good]], Entails(), accuracy=NOTHING)
    report = measured.report
    assert (report.answers.metric, report.answers.value, report.answers.n) == ("logic", 0.5, 2)
    assert report.answers.higher_is_better
    assert (report.steps.value, report.steps.n) == (pytest.approx(2 / 3), 3)
    assert (report.unparsable, report.undecided) == (1, 1)
    assert [step.answer for step in measured.steps] == [0, 1, 1, 3, 3]
    assert set(report.as_json()) == {"metric", "value", "interval", "n", "signature", "parts"}


def test_nothing_to_check_is_an_error_that_shows_the_form() -> None:
    with pytest.raises(DataError, match=r"None of 2 answers.*Major premise"):
        measure_logic([[], []], Entails(), accuracy=NOTHING)
