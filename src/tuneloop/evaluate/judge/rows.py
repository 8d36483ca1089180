"""What is judged: answers with their prompts, from values or from files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneloop.core.errors import DataError
from tuneloop.evaluate.texts import read_values

_ANSWER = ("output", "answer", "text", "response", "completion")
_PROMPT = ("prompt", "question", "instruction", "text")
_REFERENCE = ("reference", "answer", "text")
_ID = ("id", "row")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt."""

    id: str
    prompt: str
    answer_a: str
    answer_b: str
    reference: str = ""
    """A right answer that the judge may look at; "" where there is none."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer to a prompt."""

    id: str
    prompt: str
    answer: str
    reference: str = ""
    """A right answer that the judge may look at; "" where there is none."""


def read_pairs(a: Path, b: Path, prompts: Path | None = None, references: Path | None = None) -> list[Pair]:
    """Line i of every file belongs together; where lines have ids, these must be the same.

    A `.jsonl` file holds strings or objects, as the samples of an evaluation do: {"row", "prompt", "reference",
    "output"}. Prompts and references may so stand beside the answers. Any other file holds one text a line.

    Raises:
        DataError: a file is missing, empty, not UTF-8 or not JSONL, or the lines do not belong together.
    """
    first, second = _read(a, prompts, references), _read(b, prompts, references)
    _check_length(a, len(first), b, len(second))
    pairs = []
    for line, (left, right) in enumerate(zip(first, second, strict=True), start=1):
        for what, ours, theirs in (("id", left.id, right.id), ("prompt", left.prompt, right.prompt)):
            if ours and theirs and ours != theirs:
                raise DataError(f"{b}:{line}: its {what} is {_short(theirs)}, in {a} it is {_short(ours)}.")
        row_id = left.id or right.id or str(line)
        reference = left.reference or right.reference
        pairs.append(Pair(row_id, left.prompt or right.prompt, left.answer, right.answer, reference))
    _check_rows(pairs, a)
    return pairs


def read_answers(answers: Path, prompts: Path | None = None, references: Path | None = None) -> list[Answered]:
    """Line i of every file belongs together; see `read_pairs`.

    Raises:
        DataError: as `read_pairs`; or an answer has no prompt, or an id is given twice.
    """
    rows = [
        replace(row, id=row.id or str(line)) for line, row in enumerate(_read(answers, prompts, references), start=1)
    ]
    _check_rows(rows, answers)
    return rows


def _check_rows(rows: Sequence[Pair] | Sequence[Answered], path: Path) -> None:
    seen: dict[str, int] = {}
    for line, row in enumerate(rows, start=1):
        if not row.prompt.strip():
            raise DataError(
                f"{path}:{line}: this answer has no prompt. Give --prompts, or a field 'prompt' beside the answer."
            )
        if row.id in seen:
            raise DataError(f"{path}:{line}: the id {_short(row.id)} stands in line {seen[row.id]} already.")
        seen[row.id] = line


def _read(answers: Path, prompts: Path | None, references: Path | None) -> list[Answered]:
    """Rows as the files have them: what they do not tell is empty."""
    lines = read_values(answers)
    given = {"prompt": (prompts, _PROMPT), "reference": (references, _REFERENCE)}
    beside: dict[str, list[str]] = {}
    for name, (path, fields) in given.items():
        if path is not None:
            found = read_values(path)
            _check_length(answers, len(lines), path, len(found))
            beside[name] = [_text(value, fields, f"{path}:{i}") for i, value in enumerate(found, start=1)]
    rows = []
    for line, value in enumerate(lines, start=1):
        where = f"{answers}:{line}"
        own = value if isinstance(value, dict) else {}
        told = {name: beside[name][line - 1] if name in beside else _plain(own, name, where) for name in given}
        row_id = next((str(own[name]) for name in _ID if own.get(name) is not None), "")
        rows.append(Answered(row_id, told["prompt"], _text(value, _ANSWER, where), told["reference"]))
    return rows


def _text(value: Any, fields: Sequence[str], where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        found = next((value[name] for name in fields if isinstance(value.get(name), str)), None)
        if found is not None:
            return found
    raise DataError(f"{where}: no text in this row. Write a string, or an object with '{fields[0]}'.")


def _plain(row: dict[str, Any], name: str, where: str) -> str:
    value = row.get(name, "")
    if not isinstance(value, str):
        raise DataError(f"{where}: its '{name}' is no string.")
    return value


def _check_length(one: Path, one_size: int, other: Path, other_size: int) -> None:
    if one_size != other_size:
        raise DataError(
            f"{one} has {one_size} rows, {other} has {other_size}. Line i of one must belong to line i of the other."
        )


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")  # noqa: PLR2004 - one line of a terminal
