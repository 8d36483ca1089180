"""Rows to critiques, from the names of files and teachers to the record."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuneloop.augment.critique.arithmetic import criticise
from tuneloop.augment.critique.build import Critiques, assignments_of, build_critiques
from tuneloop.augment.critique.records import CritiqueRecord, TeacherError
from tuneloop.augment.critique.rows import Question, QuestionRows, read_question_rows
from tuneloop.augment.critique.truth import build_truth
from tuneloop.augment.endpoint_teacher import EndpointTeacher
from tuneloop.augment.local_teacher import LocalTeacher
from tuneloop.augment.program import ProgramTeacher
from tuneloop.augment.teacher import Assignment, Teacher
from tuneloop.core.errors import ConfigError, DataError
from tuneloop.core.hooks import Hooks
from tuneloop.core.store import hash_file, own_folder, write_jsonl
from tuneloop.data.schema import Message
from tuneloop.data.select.draw import sample_rows
from tuneloop.generate.budget import Spending
from tuneloop.generate.chat import ChatParameters, Completion
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.endpoint import CallPlan
from tuneloop.model.source import environment
from tuneloop.pipeline.opening import file_name, find_endpoint, find_model

PROGRAMS = {"arithmetic": criticise}
_TEACHER = ChatParameters(temperature=0.3, top_p=0.95, max_tokens=3200)
"""As the authors ask their teacher (arXiv:2501.17703)."""
_LOCAL_TEACHER = GenerateConfig(temperature=0.3, top_p=0.95, max_new_tokens=512)
_LOCAL_ANSWERS = GenerateConfig(temperature=0.7, top_p=0.95, max_new_tokens=512)
_ANSWERS = ChatParameters(temperature=0.7, top_p=0.95)


@dataclass(frozen=True)
class CritiqueRun:
    """What is wanted."""

    rows: Path
    out: Path
    """The new rows, JSONL; calls and record lie beside it."""
    teachers: tuple[str, ...]
    """Each `programmatic`, a model by path or name, an endpoint's URL, or a YAML file that describes one."""
    model: str | None = None
    """Of a URL: the name that it is asked for."""
    api_key_env: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    match: str = "auto"
    drop_wrong: bool = False
    limit: int | None = None
    answers_from: str | None = None
    """A model that answers the questions first, named as teachers are; None takes the answers of the rows."""
    num_answers: int = 1
    seed: int = 0

    @property
    def calls(self) -> Path:
        """The folder of the logs."""
        return self.out.with_name(self.out.name + ".calls")

    @property
    def record(self) -> Path:
        """The record of the run."""
        return self.out.with_name(self.out.name + ".record.json")


def plan_critiques(run: CritiqueRun) -> list[CallPlan]:
    """Of each teacher: calls, tokens, cost. Answers that a model has yet to write are counted as empty.

    Raises:
        ConfigError, DataError, ModelError: as `run_critiques`.
    """
    read = _read(run)
    rows = read.rows if run.answers_from is None else tuple(row for row in read.rows for _ in range(run.num_answers))
    with own_folder(run.calls), _open_teachers(run, run.teachers, _TEACHER, _LOCAL_TEACHER) as teachers:
        return [teacher.plan(assignments_of(rows)) for teacher in teachers]


def run_critiques(run: CritiqueRun, hooks: Hooks) -> CritiqueRecord:
    """Read, let answer, let criticise, check, write. Started again, nothing that was paid is paid twice.

    Raises:
        DataError: no row is usable.
        ConfigError: there is no such teacher.
        BudgetError, StoppedError: what was written is kept; the same command goes on.
    """
    truth = build_truth(run.match)
    read = _read(run)
    with own_folder(run.calls):
        rows, spent = read.rows, Spending()
        lost = 0
        if run.answers_from is not None:
            rows, lost, spent = _let_answer(run, read.rows, hooks)
        with _open_teachers(run, run.teachers, _TEACHER, _LOCAL_TEACHER) as teachers:
            critiques = build_critiques(rows, teachers, truth, drop_wrong=run.drop_wrong, hooks=hooks)
            spendings = [spent, *(teacher.spent for teacher in teachers)]
            names = tuple(teacher.name for teacher in teachers)
        if lost:
            critiques.asked += lost * len(names)
            critiques.problems["no_answer"] += lost * len(names)
        write_jsonl(run.out, [written.as_json() for written in critiques.kept])
        record = _record(run, read, critiques, names, spendings)
        record.save(run.record)
    return record


def _read(run: CritiqueRun) -> QuestionRows:
    read = read_question_rows(run.rows, columns=run.columns, wants_answer=run.answers_from is None)
    drawn = sample_rows(len(read.rows), run.limit, run.seed, "questions").tolist()
    return replace(read, rows=tuple(read.rows[place] for place in sorted(drawn)))


def _let_answer(run: CritiqueRun, rows: Sequence[Question], hooks: Hooks) -> tuple[tuple[Question, ...], int, Spending]:
    """The questions with answers that a model wrote, how many it did not write, and what it cost."""
    assert run.answers_from is not None
    asked = [(row, sample) for row in rows for sample in range(run.num_answers)]
    assignments = [Assignment((Message("user", row.question),), sample=sample) for row, sample in asked]
    with _open_teachers(run, (run.answers_from,), _ANSWERS, _LOCAL_ANSWERS, role="answers-") as [teacher]:
        found = dict(teacher.write(assignments, hooks=hooks))
        spent = teacher.spent
    answered = []
    for place, (row, _) in enumerate(asked):
        result = found[place]
        if isinstance(result, Completion) and result.text.strip():
            answered.append(replace(row, answer=result.text.strip()))
    if not answered:
        raise DataError(f"{run.answers_from} answered none of the {len(asked)} questions.")
    return tuple(answered), len(asked) - len(answered), spent


@contextlib.contextmanager
def _open_teachers(
    run: CritiqueRun, names: Sequence[str], parameters: ChatParameters, local: GenerateConfig, *, role: str = ""
) -> Iterator[list[Teacher]]:
    """Each with a log of its own; a model that answers and criticises has one for each `role`, counted apart."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"the teacher '{twice[0]}' is named twice.")
    with contextlib.ExitStack() as stack:
        teachers = []
        for name in names:
            teacher = _open_teacher(run, name, parameters, local, role)
            stack.callback(teacher.close)
            teachers.append(teacher)
        yield teachers


def _open_teacher(run: CritiqueRun, name: str, parameters: ChatParameters, local: GenerateConfig, role: str) -> Teacher:
    kind, _, program = name.partition(":")
    if kind == "programmatic":
        chosen = program or "arithmetic"
        if chosen not in PROGRAMS:
            raise ConfigError(f"there is no programmatic teacher '{chosen}'. Choose {', '.join(PROGRAMS)}.")
        return ProgramTeacher(chosen, PROGRAMS[chosen])
    log = run.calls / f"{role}{file_name(name) or 'teacher'}.jsonl"
    endpoint = find_endpoint(name, model=run.model, api_key_env=run.api_key_env, parameters=parameters)
    if endpoint is not None:
        return EndpointTeacher.open(endpoint, log, environment(), seed=run.seed)
    named = find_model(name)
    return LocalTeacher(named.load(), named.renderer, local, log, name=name, sha256=named.sha256(), seed=run.seed)


def _record(
    run: CritiqueRun, read: QuestionRows, critiques: Critiques, names: tuple[str, ...], spendings: Sequence[Spending]
) -> CritiqueRecord:
    error = critiques.teacher_error
    num_right = sum(written.critique.is_right is True for written in critiques.kept)
    plan: dict[str, Any] = {
        "match": run.match,
        "drop_wrong": run.drop_wrong,
        "limit": run.limit,
        "num_answers": run.num_answers,
        "columns": dict(run.columns),
    }
    return CritiqueRecord(
        created_at=datetime.now(UTC),
        plan=plan,
        seed=run.seed,
        files=read.ledgers,
        teachers=names,
        answers_from=run.answers_from or "",
        read=sum(ledger.read for ledger in read.ledgers),
        asked=critiques.asked,
        kept=len(critiques.kept),
        problems=dict(sorted(critiques.problems.items())),
        verdicts={"right": num_right, "wrong": len(critiques.kept) - num_right},
        teacher_error=None if error is None else TeacherError(value=error[0], interval=error[1], n=critiques.judged),
        calls=sum(spending.calls for spending in spendings),
        tokens=sum(spending.tokens for spending in spendings),
        cost=sum(spending.money for spending in spendings),
        rows_sha256=hash_file(run.out),
    )
