"""Questions with somebody's answers, from files of any shape; and what becomes of every row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.core.errors import DataError
from tuneloop.data.ledger import Ledger
from tuneloop.data.read.files import SourceFile, find_files
from tuneloop.data.read.fingerprint import hash_source
from tuneloop.data.read.values import parse_found, probe, read_values
from tuneloop.data.records import FileLedger
from tuneloop.data.schema import Message, Origin, Problem, Row, RowError

_QUESTIONS = ("question", "query", "prompt", "instruction")
_ANSWERS = ("answer", "noisy_answer", "response", "solution")
_GOLDS = ("gold", "reference", "gold_answer")


@dataclass(frozen=True, slots=True)
class Question:
    """A question, an answer to it if there is one, and the right one if it is known."""

    origin: Origin
    question: str
    answer: str | None
    gold: str | None


@dataclass(frozen=True, slots=True)
class QuestionRows:
    """The usable rows, and the ledger of all."""

    rows: tuple[Question, ...]
    ledgers: tuple[FileLedger, ...]
    problems: tuple[Problem, ...]


def read_question_rows(path: Path, *, columns: Mapping[str, str], wants_answer: bool) -> QuestionRows:
    """Read rows with `question`, `answer` and `gold`.

    Args:
        path: a file, folder or pattern: JSONL, JSON, CSV, Parquet ..., packed or not.
        columns: the file's own names, as {"gold": "answer"} for GSM8K.
        wants_answer: a row without an answer is left out; otherwise a model answers it later.

    Raises:
        DataError: a file cannot be read, or no row is usable; the first reasons are named.
    """
    ledger = Ledger()
    found: list[Question] = []
    for file in find_files(str(path), Path()):
        ledger.open_file(file.name, sha256=hash_source(file), format_name=probe(file))
        found += _read(file, ledger, columns, wants_answer=wants_answer)
    if not found:
        reasons = "\n  ".join(str(problem) for problem in ledger.problems[:3])
        raise DataError(f"{path}: no row of it has a question to criticise an answer to:\n  {reasons}")
    ledgers = ledger.close([Row((Message("user", row.question),), row.origin) for row in found])
    return QuestionRows(tuple(found), ledgers, tuple(ledger.problems))


def _read(file: SourceFile, ledger: Ledger, columns: Mapping[str, str], *, wants_answer: bool) -> Iterator[Question]:
    for item in read_values(file):
        ledger.count(file.name)
        if isinstance(item, Problem):
            ledger.leave_out(item)
            continue
        origin = Origin(file.name, item.line)
        try:
            yield _parse(parse_found(item), origin, columns, wants_answer=wants_answer)
        except RowError as error:
            ledger.leave_out(Problem(origin, error.code, error.reason))


def _parse(value: object, origin: Origin, columns: Mapping[str, str], *, wants_answer: bool) -> Question:
    if not isinstance(value, dict):
        raise RowError("wrong_type", "a row is an object with question and answer")
    question = _text(value, "question", columns, _QUESTIONS)
    answer = _text(value, "answer", columns, _ANSWERS)
    if not question:
        raise RowError("empty_question", "there is no question")
    if wants_answer and not answer:
        raise RowError("empty_answer", "there is no answer to criticise")
    return Question(origin, question, answer if wants_answer else None, _text(value, "gold", columns, _GOLDS))


def _text(value: Mapping[str, Any], kind: str, columns: Mapping[str, str], usual: tuple[str, ...]) -> str | None:
    names = (columns[kind],) if kind in columns else usual
    found = next((value[name] for name in names if value.get(name) is not None), None)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        raise RowError("wrong_type", f"{kind} is not text")
    return str(found).strip()
