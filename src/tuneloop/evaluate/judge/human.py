"""What people said of the same rows, and how far the judge agrees with them."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tuneloop.core.errors import DataError
from tuneloop.evaluate.agreement import agreement
from tuneloop.evaluate.judge.config import HIGHEST, LOWEST
from tuneloop.evaluate.judge.records import JudgeAgreement
from tuneloop.evaluate.ratings import Ratings

_SIDES = {"a": "a", "b": "b", "tie": "tie", "c": "tie"}


@dataclass(frozen=True, slots=True)
class HumanRating:
    """What one person said of one row."""

    id: str
    value: str
    """Of a pair: a, b or tie. Of a criterion: a number from 1 to 5."""
    criterion: str = ""
    rater: str = "human"


def read_human_verdicts(path: Path) -> list[HumanRating]:
    """Verdicts of pairs: JSONL, or CSV with a header, of `id`, `verdict` (a, b, tie) and, if wanted, `rater`.

    Raises:
        DataError: no such file, not UTF-8, or a row that cannot be used.
    """
    found = []
    for where, row in _read(path):
        verdict = _field(row, "verdict", where).casefold()
        if verdict not in _SIDES:
            raise DataError(f"{where}: the verdict '{verdict[:40]}' is none. Write a, b or tie.")
        found.append(HumanRating(_field(row, "id", where), _SIDES[verdict], "", row.get("rater") or "human"))
    return _check_once(found, path)


def read_human_scores(path: Path) -> list[HumanRating]:
    """Ratings by criteria: JSONL, or CSV with a header, of `id`, `criterion`, `score` (1 to 5) and perhaps `rater`.

    Raises:
        DataError: no such file, not UTF-8, or a row that cannot be used.
    """
    found = []
    for where, row in _read(path):
        score = _field(row, "score", where)
        try:
            is_rating = LOWEST <= float("no" if "_" in score else score) <= HIGHEST
        except ValueError:
            is_rating = False
        if not is_rating:
            raise DataError(f"{where}: the score '{score[:40]}' is no number from {LOWEST} to {HIGHEST}.")
        row_id, criterion = _field(row, "id", where), _field(row, "criterion", where)
        found.append(HumanRating(row_id, score, criterion, row.get("rater") or "human"))
    return _check_once(found, path)


def agree(
    judged: Mapping[tuple[str, str], str], humans: Sequence[HumanRating], *, is_ordinal: bool, seed: int
) -> tuple[JudgeAgreement, ...]:
    """The judge against each person, by criterion; `judged` maps (id, criterion) to what the judge said.

    Rows that only one of them rated do not count; a person without a row in common is left out.
    """
    by_person: dict[tuple[str, str], dict[str, str]] = {}
    for rating in humans:
        if (rating.id, rating.criterion) in judged:
            by_person.setdefault((rating.criterion, rating.rater), {})[rating.id] = rating.value
    found = []
    for (criterion, rater), values in sorted(by_person.items()):
        said = tuple(judged[row_id, criterion] for row_id in values)
        # The two names must differ, whatever a person is called.
        name = rater if rater != "judge" else "judge (human)"
        table = Ratings(("judge", name), tuple(values), (said, tuple(values.values())), ("judge", rater))
        report = agreement(table, "ordinal" if is_ordinal else "nominal", seed)
        found.append(JudgeAgreement(rater=rater, criterion=criterion, report=report))
    return tuple(found)


def _check_once(ratings: list[HumanRating], path: Path) -> list[HumanRating]:
    if not ratings:
        raise DataError(f"{path}: holds no ratings.")
    seen = set()
    for rating in ratings:
        key = (rating.id, rating.criterion, rating.rater)
        if key in seen:
            of = f" of '{rating.criterion}'" if rating.criterion else ""
            raise DataError(f"{path}: {rating.rater} rates {rating.id}{of} twice. Keep one.")
        seen.add(key)
    return ratings


def _read(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """`file:line` and the fields of each row, as text."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a UTF-8 text file. Excel calls it 'CSV UTF-8' when saving.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    yield from (_read_jsonl if path.suffix.lower() == ".jsonl" else _read_csv)(text, path)


def _read_jsonl(text: str, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row: Any = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not valid JSON ({error}).") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: not a JSON object.")
        yield f"{path}:{number}", {name: str(value) for name, value in row.items() if value is not None}


def _read_csv(text: str, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            cells = {name.strip(): (value or "").strip() for name, value in row.items() if isinstance(name, str)}
            if any(cells.values()):
                yield f"{path}:{reader.line_num}", cells
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not valid CSV: {error}.") from error


def _field(row: dict[str, str], name: str, where: str) -> str:
    value = row.get(name, "").strip()
    if not value:
        raise DataError(f"{where}: this row has no '{name}'. It has: {', '.join(row) or 'nothing'}.")
    return value
