"""Files of answers to reports: what `tuneloop score hallucination` and `tuneloop score logic` compute."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuneloop.core.errors import DataError
from tuneloop.core.hooks import Hooks
from tuneloop.data.legal.record import LegalRecord
from tuneloop.evaluate.claims.checker import Checker
from tuneloop.evaluate.claims.logic import MeasuredLogic, Step, measure_logic, parse_steps, steps_of_record
from tuneloop.evaluate.claims.rate import Answer, Measured, measure_hallucination
from tuneloop.evaluate.texts import is_jsonl, parse_line, read_lines

_OUTPUT_FIELDS = ("output", "prediction", "text")
_SOURCE_FIELDS = ("source", "text", "reference")
_COUNT_FIELDS = ("source_tokens", "output_tokens")


def score_hallucination(
    predictions: Path, references: Path | None, checker: Checker, *, seed: int = 0, hooks: Hooks | None = None
) -> Measured:
    """The hallucination rate of a file of answers.

    Args:
        predictions: one answer a line. JSONL: a string, or an object with `output` (or `prediction`, `text`), `source`
            where no references are given, and if known `document`, `source_tokens`, `output_tokens`. Any other
            ending: text, one answer a line.
        references: the source of line i in line i, in the same forms (`source`, `text` or `reference`; a list of
            statutes is one source); None where the rows hold their sources.
        checker: decides.
        seed: of the bootstrap.
        hooks: asked whether to go on.

    Raises:
        DataError: a file is missing, empty or not as described, or the numbers of lines differ.
        StoppedError: an end was asked for.
    """
    rows = list(_read_rows(predictions))
    sources = [None] * len(rows) if references is None else list(_read_rows(references))
    if len(sources) != len(rows):
        raise DataError(
            f"{predictions} has {len(rows)} lines, {references} has {len(sources)}. Line i of one must belong to line "
            "i of the other."
        )
    answers = []
    for (where, row), source in zip(rows, sources, strict=True):
        given = row if isinstance(row, dict) else {}
        text = _text(given, ("source",), where) if source is None else _text(source[1], _SOURCE_FIELDS, source[0])
        document = given.get("document")
        answers.append(
            Answer(
                source=text,
                output=_text(row, _OUTPUT_FIELDS, where),
                document_id="" if document is None else str(document),
                **{name: _count(given.get(name), name, where) for name in _COUNT_FIELDS},
            )
        )
    return measure_hallucination(answers, checker, seed=seed, hooks=hooks)


def score_logic(predictions: Path, checker: Checker, *, seed: int = 0, hooks: Hooks | None = None) -> MeasuredLogic:
    """How often the conclusions of a file of reasoned answers follow from the premises that these state.

    Args:
        predictions: one answer a line: as for `score_hallucination`, or legal records with a `syllogism`.
        checker: decides.
        seed: of the bootstrap.
        hooks: asked whether to go on.

    Raises:
        DataError: the file is missing, empty or not as described, or no answer could be checked.
        StoppedError: an end was asked for.
    """
    answers = [_steps(row, where) for where, row in _read_rows(predictions)]
    return measure_logic(answers, checker, seed=seed, hooks=hooks)


def _steps(row: Any, where: str) -> list[Step]:
    if not (isinstance(row, dict) and row.get("syllogism")):
        return parse_steps(_text(row, _OUTPUT_FIELDS, where))
    try:
        return steps_of_record(LegalRecord.model_validate(row))
    except (ValidationError, RecursionError) as error:
        shown = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "nested too deep"
        raise DataError(f"{where}: not a legal record: {shown}.") from error


def _text(row: Any, fields: tuple[str, ...], where: str) -> str:
    """The text of a row: itself, or the first of the fields; a list of texts is joined line by line."""
    value = row
    if isinstance(row, dict):
        value = next((row[name] for name in fields if row.get(name) is not None), None)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        value = "\n".join(value)
    if isinstance(value, str):
        return value
    wanted = " or ".join(f"'{name}'" for name in fields)
    raise DataError(f"{where}: no text in {wanted}. Write a JSON object with {wanted}.")


def _count(value: Any, name: str, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(f"{where}: '{name}' is not a number of tokens. Write a whole number, or leave it out.")
    return value


def _read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """`file:line` and value of each line. Blank lines of JSONL are passed over, those of text are empty answers."""
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip() or not is_jsonl(path):
            yield f"{path}:{number}", parse_line(line, path, number)
