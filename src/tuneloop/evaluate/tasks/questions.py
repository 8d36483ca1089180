"""The rows of a file to the questions of a task, every row accounted for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.core.errors import ConfigError, DataError
from tuneloop.core.store import hash_json
from tuneloop.data.ledger import Ledger
from tuneloop.data.read.files import SourceFile, find_files
from tuneloop.data.read.fingerprint import hash_source
from tuneloop.data.read.values import Found, parse_found, probe, read_values
from tuneloop.data.records import FileLedger
from tuneloop.data.schema import Message, Origin, Problem, Row, RowError
from tuneloop.data.select.draw import sample_rows
from tuneloop.evaluate.tasks.config import TaskConfig
from tuneloop.evaluate.tasks.wording import compute, render


@dataclass(frozen=True)
class Question:
    """What a model is asked, and what counts as right."""

    row: str
    """Where it came from: `file:line`."""
    messages: tuple[Message, ...]
    references: tuple[str, ...]
    document: str
    """What the answer is about."""

    @property
    def text(self) -> str:
        """What a person reads: the last question."""
        return self.messages[-1].content

    @property
    def hash(self) -> str:
        """Over everything that decides its score."""
        turns = [[message.role, message.content] for message in self.messages]
        return hash_json({"turns": turns, "references": self.references})


@dataclass(frozen=True)
class Questions:
    """All questions of a task, and what became of every row."""

    asked: tuple[Question, ...]
    ledgers: tuple[FileLedger, ...]
    problems: tuple[Problem, ...]

    @property
    def hash(self) -> str:
        """Two evaluations compare only where this is equal."""
        return hash_json([question.hash for question in self.asked])


def read_questions(task: TaskConfig, path: Path, *, limit: int | None = None, seed: int = 0) -> Questions:
    """Read rows (JSONL, JSON, CSV, Parquet ..., packed or not) and turn each into a question.

    `limit` questions are drawn by the seed, in the order of the file; the others are counted as `not_drawn`, and rows
    that `where` leaves out as `not_selected`.

    Raises:
        DataError: a file cannot be read, or no row becomes a question; the first reasons are named.
        ConfigError: a row that is shown as an example lacks a column.
    """
    shown = _shots(task)
    ledger = Ledger()
    found: list[tuple[Origin, Question]] = []
    for file in find_files(str(path), Path()):
        ledger.open_file(file.name, sha256=hash_source(file), format_name=probe(file))
        found += _read(task, file, ledger, shown)
    drawn = set(sample_rows(len(found), limit, seed, "questions").tolist())
    for place, (origin, _) in enumerate(found):
        if place not in drawn:
            ledger.leave_out(Problem(origin, "not_drawn", f"only {limit} questions were asked for"))
    asked = [found[place] for place in sorted(drawn)]
    if not asked:
        reasons = "\n  ".join(str(problem) for problem in ledger.problems[:3])
        raise DataError(f"{path}: no row of it becomes a question of task {task.name}:\n  {reasons}")
    ledgers = ledger.close([Row(question.messages, origin) for origin, question in asked])
    return Questions(tuple(question for _, question in asked), ledgers, tuple(ledger.problems))


def _shots(task: TaskConfig) -> tuple[Message, ...]:
    """The turns that stand before every question."""
    turns: list[Message] = []
    for number, columns in enumerate(task.shots):
        try:
            answer = render(task.shot, columns) if task.shot else _texts(compute(task.reference, columns))[0]
            turns += [Message("user", render(task.prompt, columns)), Message("assistant", answer)]
        except RowError as error:
            raise ConfigError(f"task {task.name}: shots.{number}: {error}") from error
    return tuple(turns)


def _read(
    task: TaskConfig, file: SourceFile, ledger: Ledger, shown: tuple[Message, ...]
) -> Iterator[tuple[Origin, Question]]:
    for found in read_values(file):
        ledger.count(file.name)
        if isinstance(found, Problem):
            ledger.leave_out(found)
            continue
        origin = Origin(file.name, found.line)
        try:
            yield origin, _ask(task, _columns(task, found), str(origin), shown)
        except RowError as error:
            ledger.leave_out(Problem(origin, error.code, error.reason))


def _columns(task: TaskConfig, found: Found) -> dict[str, Any]:
    columns = parse_found(found)
    if not isinstance(columns, dict):
        raise RowError("wrong_type", "a row of a task is an object with columns")
    if task.where and not compute(task.where, columns):
        raise RowError("not_selected", f"'{task.where}' is false")
    return columns


def _ask(task: TaskConfig, columns: Mapping[str, Any], where: str, shown: tuple[Message, ...]) -> Question:
    prompt = render(task.prompt, columns)
    if not prompt:
        raise RowError("empty_prompt", "the prompt is empty")
    system = render(task.system, columns) if task.system else ""
    document = compute(task.document, columns) if task.document else prompt
    return Question(
        row=where,
        messages=(*((Message("system", system),) if system else ()), *shown, Message("user", prompt)),
        references=_texts(compute(task.reference, columns)),
        document="\n".join(document) if isinstance(document, list) else str(document),
    )


def _texts(value: Any) -> tuple[str, ...]:
    """The references of a row: a number or truth value becomes its text."""
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise RowError("empty_answer", "the list of references is empty")
    for each in values:
        if each is None or isinstance(each, dict | list):
            raise RowError("wrong_type", "a reference is neither a text nor a number")
    return tuple(str(each) for each in values)
