"""Score texts against references, from values or from two files: no model is needed."""

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from tuneloop.core.errors import DataError
from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.metrics.registry import build_metric, expand_metrics
from tuneloop.evaluate.metrics.segment import resolve_language
from tuneloop.evaluate.records import Score
from tuneloop.evaluate.stats import score_set

References = Sequence[str | Sequence[str]]
"""The right answer of each sample, or several that are all right."""


@dataclass(frozen=True)
class ScoreReport:
    """A metric over a set, and over each of its samples."""

    score: Score
    items: tuple[float, ...]
    """One value a sample, in order. For BLEU and chrF their mean is not the score of the set."""


def score_files(
    metric_name: str, predictions: Path, references: Path, *, language: str = "auto", seed: int = 0
) -> list[ScoreReport]:
    """Score line i of one file against line i of the other; one report a metric (`rouge` gives three).

    A `.jsonl` file holds one JSON string or `{"text": ...}` a line, and references may be lists of strings; any
    other file holds one text a line. A byte order mark is accepted.

    Raises:
        ConfigError: the metric or the language is not known.
        DataError: a file is missing, empty, not UTF-8 or not JSONL, or the numbers of lines differ.
    """
    expand_metrics([metric_name])
    answers = [_only_text(value, predictions, line) for line, value in enumerate(_read_rows(predictions), start=1)]
    right_answers = _read_rows(references)
    if len(answers) != len(right_answers):
        shorter, longer = sorted([(len(answers), predictions), (len(right_answers), references)])
        raise DataError(
            f"{longer[1]}:{shorter[0] + 1}: this line has no partner: {longer[1]} has {longer[0]} lines, "
            f"{shorter[1]} has {shorter[0]}. Line i of one must answer line i of the other."
        )
    return _score(
        metric_name,
        answers,
        right_answers,
        language=language,
        seed=seed,
        where=lambda row: f"{references}:{row + 1}",
    )


def score_values(
    metric_name: str, predictions: Sequence[str], references: References, *, language: str = "auto", seed: int = 0
) -> list[ScoreReport]:
    """Score texts against their references; one report a metric (`rouge` gives three).

    Raises:
        ConfigError: the metric or the language is not known.
        DataError: no texts, different numbers of them, or a reference that is an empty list.
    """
    if len(predictions) != len(references):
        raise DataError(
            f"{len(predictions)} predictions and {len(references)} references. "
            f"Each prediction needs one reference or one list of them."
        )
    return _score(
        metric_name,
        predictions,
        references,
        language=language,
        seed=seed,
        where=lambda row: f"references, row {row + 1}",
    )


def measure(
    metric: Metric,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    where: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> np.ndarray:
    """The statistics of every sample, shape [N, K]: what `score_set` and `compare` take.

    `where` says which row an error is about.

    Raises:
        DataError: a reference that the metric cannot use.
    """
    rows: list[np.ndarray] = []
    for row, (prediction, accepted) in enumerate(zip(predictions, references, strict=True)):
        try:
            rows.append(metric.statistics(prediction, accepted))
        except DataError as error:
            raise DataError(f"{where(row)}: {error}") from error
    return np.array(rows)


def _score(
    metric_name: str,
    predictions: Sequence[str],
    references: References,
    *,
    language: str,
    seed: int,
    where: Callable[[int], str],
) -> list[ScoreReport]:
    names = expand_metrics([metric_name])
    accepted = [[item] if isinstance(item, str) else list(item) for item in references]
    for row, texts in enumerate(accepted):
        if not texts:
            raise DataError(f"{where(row)}: an empty list of references. Give at least one, or leave the row out.")
    known_language = resolve_language(language, (text for texts in accepted for text in texts))
    reports = []
    for name in names:
        metric = build_metric(name, language=known_language)
        statistics_NK = measure(metric, predictions, accepted, where=where)
        items = tuple(metric.sample_value(statistics_K) for statistics_K in statistics_NK)
        reports.append(ScoreReport(score_set(metric, statistics_NK, seed=seed), items))
    return reports


def _read_rows(path: Path) -> list[str | list[str]]:
    """One text (or list of texts) a line; the row of index i stands in line i + 1."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Check the path.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Name a readable text file.") from error
    # Split at newlines alone: str.splitlines would also cut a text at U+2028 or at a form feed.
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    is_jsonl = path.suffix.lower() == ".jsonl"
    while lines and not (lines[-1].strip() if is_jsonl else lines[-1]):
        lines.pop()
        if not is_jsonl:
            break
    if not lines:
        raise DataError(f"{path}:1: the file is empty. Write one text a line.")
    parse = _parse_json_line if is_jsonl else _parse_plain_line
    return [parse(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def _parse_plain_line(line: bytes, where: str) -> str:
    try:
        return line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 (byte {error.start + 1} of the line). Save the file as UTF-8.") from error


def _parse_json_line(line: bytes, where: str) -> str | list[str]:
    text = _parse_plain_line(line, where)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DataError(
            f'{where}: not valid JSON ({error}). Write one string or one {{"text": ...}} a line.'
        ) from error
    if isinstance(value, dict):
        value = value.get("text")
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise DataError(f'{where}: no text in this row. Write one string or one {{"text": ...}} a line.')


def _only_text(value: str | list[str], path: Path, line: int) -> str:
    if isinstance(value, str):
        return value
    raise DataError(f"{path}:{line}: a prediction is one text, not a list. Only references may be lists.")
