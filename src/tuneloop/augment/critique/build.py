"""Answers to critiques: asked of teachers, read strictly, checked against what is known to be right."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tuneloop.augment.critique.rows import Question
from tuneloop.augment.critique.truth import Truth
from tuneloop.augment.critique.wording import prompt_of
from tuneloop.augment.teacher import Assignment, Teacher
from tuneloop.core.hooks import Hooks
from tuneloop.data.content import Critique
from tuneloop.data.formats.critique import parse_verdict, write_layout
from tuneloop.data.schema import RowError
from tuneloop.evaluate.proportions import wilson_interval
from tuneloop.evaluate.records import Interval
from tuneloop.generate.chat import CallFailure, Completion


@dataclass(frozen=True, slots=True)
class Written:
    """A critique that is kept."""

    critique: Critique
    row: Question
    teacher: str

    def as_json(self) -> dict[str, str]:
        """The published layout, and where it came from."""
        return write_layout(self.critique) | {"id": str(self.row.origin), "teacher": self.teacher}


@dataclass
class Critiques:
    """What came out of all answers and teachers: asked = kept + each named reason."""

    asked: int = 0
    kept: list[Written] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    judged: int = 0
    """Verdicts about answers whose right answer is known."""
    wrong_verdicts: int = 0
    """Of these, those that are not true."""

    @property
    def teacher_error(self) -> tuple[float, Interval] | None:
        """The share of verdicts that are not true, with Wilson's interval; None where no right answer is known."""
        if not self.judged:
            return None
        return self.wrong_verdicts / self.judged, wilson_interval(self.wrong_verdicts, self.judged)


def assignments_of(rows: Sequence[Question]) -> list[Assignment]:
    """What a teacher is asked about each row."""
    return [
        Assignment(
            prompt_of(row.question, row.answer or ""),
            {"question": row.question, "answer": row.answer or "", "gold": row.gold},
        )
        for row in rows
    ]


def build_critiques(
    rows: Sequence[Question], teachers: Sequence[Teacher], truth: Truth, *, drop_wrong: bool, hooks: Hooks
) -> Critiques:
    """Have every answer criticised by every teacher; the critiques come in the order of rows, then teachers.

    Args:
        rows: with their answers.
        teachers: one or several.
        truth: whether an answer is right, where that is known.
        drop_wrong: leave out critiques whose verdict is not true.
        hooks: hear how far it is.

    Raises:
        StoppedError, BudgetError: what was written is in the teachers' logs, and the next run goes on.
    """
    assignments = assignments_of(rows)
    found: dict[tuple[int, int], Completion | CallFailure] = {}
    for number, teacher in enumerate(teachers):
        for place, result in teacher.write(assignments, hooks=hooks):
            found[place, number] = result
    critiques = Critiques(asked=len(rows) * len(teachers))
    for (place, number), result in sorted(found.items(), key=lambda item: item[0]):
        try:
            written = _read(result, rows[place], teachers[number].name)
            _check(written, truth, critiques, drop_wrong=drop_wrong)
        except RowError as error:
            critiques.problems[error.code] += 1
        else:
            critiques.kept.append(written)
    return critiques


def _read(result: Completion | CallFailure, row: Question, teacher: str) -> Written:
    """What a teacher wrote, as a critique; it is never given a verdict that it does not say."""
    if isinstance(result, CallFailure):
        raise RowError(f"call_{result.kind}", result.message)
    if result.is_cut:
        raise RowError("cut", "the critique reached the limit of tokens")
    text = result.text.strip()
    verdict = parse_verdict(text)
    if verdict is None:
        raise RowError("no_verdict", "the critique does not end in a verdict")
    critique = Critique(row.question, row.answer or "", text, verdict)
    write_layout(critique)
    return Written(critique, row, teacher)


def _check(written: Written, truth: Truth, critiques: Critiques, *, drop_wrong: bool) -> None:
    is_right = truth(written.row.answer or "", written.row.gold)
    if is_right is None:
        return
    critiques.judged += 1
    if is_right != written.critique.is_right:
        critiques.wrong_verdicts += 1
        if drop_wrong:
            raise RowError("wrong_verdict", "the verdict is not true")
