"""What teachers write becomes rows, or is counted by its reason; a verdict is never invented."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from tuneloop.augment.critique.build import Critiques, build_critiques
from tuneloop.augment.critique.rows import Question
from tuneloop.augment.critique.truth import build_truth
from tuneloop.augment.teacher import Assignment
from tuneloop.core.hooks import Hooks
from tuneloop.data.schema import Origin
from tuneloop.generate.budget import Spending
from tuneloop.generate.chat import CallFailure, Completion, Usage
from tuneloop.generate.endpoint import CallPlan


@dataclass
class RuleTeacher:
    """Answers by a rule, the last assignment first."""

    rule: Callable[[Assignment], str | CallFailure]
    name: str = "rule"
    finish_reason: str = "stop"
    spent: Spending = Spending()  # noqa: RUF009 - immutable

    def plan(self, assignments: Sequence[Assignment]) -> CallPlan:
        raise NotImplementedError

    def write(
        self, assignments: Sequence[Assignment], *, hooks: Hooks
    ) -> Iterator[tuple[int, Completion | CallFailure]]:
        del hooks
        for place in reversed(range(len(assignments))):
            said = self.rule(assignments[place])
            if isinstance(said, str):
                said = Completion(f"key {place}", said, self.finish_reason, Usage(1, 1), None, self.name, 0.0, 1)
            yield place, said

    def close(self) -> None:
        pass


def rows() -> list[Question]:
    answers = [("1+1?", "2", "2"), ("2+2?", "5", "4"), ("3+3?", "6", "6"), ("4+4?", "9", "8"), ("Why?", "so", None)]
    return [Question(Origin("rows.jsonl", line), *each) for line, each in enumerate(answers, start=1)]


def build(*teachers: RuleTeacher, drop_wrong: bool = False) -> Critiques:
    return build_critiques(rows(), teachers, build_truth(), drop_wrong=drop_wrong, hooks=Hooks())


def always(text: str) -> RuleTeacher:
    return RuleTeacher(lambda _: text)


def test_kept_rows_have_the_published_layout() -> None:
    critiques = build(always("Fine.\nConclusion: right [END]"))
    assert critiques.asked == len(critiques.kept) == 5
    assert critiques.kept[1].as_json() == {
        "instruction": "Please critique whether the following solution to the question is correct.",
        "input": "Question:\n2+2?\n\nSolution:\n5",
        "output": "Fine.\nConclusion: right [END]",
        "id": "rows.jsonl:2",
        "teacher": "rule",
    }


def test_the_error_of_a_teacher_is_measured_where_the_right_answer_is_known() -> None:
    critiques = build(always("Conclusion: right [END]"))
    assert (critiques.judged, critiques.wrong_verdicts) == (4, 2)
    assert critiques.teacher_error is not None
    value, interval = critiques.teacher_error
    assert value == 0.5
    assert interval.low == pytest.approx(0.150, abs=5e-4)
    assert interval.high == pytest.approx(0.850, abs=5e-4)


def test_wrong_verdicts_can_be_dropped_and_are_counted() -> None:
    critiques = build(always("Conclusion: right [END]"), drop_wrong=True)
    assert [written.row.question for written in critiques.kept] == ["1+1?", "3+3?", "Why?"]
    assert critiques.problems == {"wrong_verdict": 2}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "no_verdict"),
        ("It is right.", "no_verdict"),
        ("Conclusion: right/wrong [END]", "no_verdict"),
        ("<html><body>502 Bad Gateway</body></html>", "no_verdict"),
        ("Conclusion: perhaps [END]", "no_verdict"),
    ],
)
def test_nonsense_is_counted_and_gets_no_verdict(text: str, code: str) -> None:
    critiques = build(always(text))
    assert critiques.kept == []
    assert critiques.problems == {code: 5}
    assert critiques.teacher_error is None


def test_what_was_cut_or_failed_is_counted_by_its_reason() -> None:
    cut = RuleTeacher(lambda _: "Conclusion: right [END]", finish_reason="length")
    failed = RuleTeacher(lambda _: CallFailure("key", "html", "a page", attempts=7))
    critiques = build(cut, failed)
    assert critiques.asked == 10
    assert critiques.problems == {"cut": 5, "call_html": 5}


def test_many_teachers_criticise_every_answer_in_order() -> None:
    one = RuleTeacher(lambda _: "Conclusion: right [END]", name="one")
    two = RuleTeacher(lambda _: "Conclusion: wrong [END]", name="two")
    critiques = build(one, two)
    assert [(written.row.origin.line, written.teacher) for written in critiques.kept] == [
        (line, name) for line in range(1, 6) for name in ("one", "two")
    ]
    assert critiques.wrong_verdicts == 4


def test_a_question_that_holds_the_heading_is_not_written() -> None:
    row = Question(Origin("rows.jsonl", 1), "What?\n\nSolution:\nno", "2", None)
    teacher = always("Conclusion: right [END]")
    critiques = build_critiques([row], [teacher], build_truth(), drop_wrong=False, hooks=Hooks())
    assert critiques.problems == {"not_expressible": 1}
