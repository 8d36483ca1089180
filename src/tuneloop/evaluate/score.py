"""Score texts against references, from values or from two files: no model is needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuneloop.core.errors import DataError
from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.metrics.options import MetricOptions
from tuneloop.evaluate.metrics.pass_at_k import PassAtK
from tuneloop.evaluate.metrics.registry import build_metric, expand_metrics
from tuneloop.evaluate.metrics.segment import resolve_language
from tuneloop.evaluate.records import Comparison, Score
from tuneloop.evaluate.stats import compare, score_set
from tuneloop.evaluate.texts import read_texts

References = Sequence[str | Sequence[str]]
"""The right answer of each sample, or several that are all right."""
Predictions = Sequence[str | Sequence[str]]
"""The answer to each sample; for pass@k several programs may answer one."""


@dataclass(frozen=True)
class ScoreReport:
    """A metric over a set, and over each of its samples."""

    score: Score
    items: tuple[float, ...]
    """One value a sample, in order. For BLEU and chrF their mean is not the score of the set."""
    comparison: Comparison | None = None
    """Other answers to the same samples against these, paired."""


@dataclass(frozen=True)
class _Task:
    """What is scored, and how an error says where."""

    predictions: Predictions
    references: References
    language: str
    seed: int
    options: MetricOptions | None
    where: Callable[[int], str]
    earlier: Predictions | None = None


def score_files(  # noqa: PLR0913 - what is compared, and three settings
    metric_name: str,
    predictions: Path,
    references: Path,
    *,
    language: str = "auto",
    seed: int = 0,
    options: MetricOptions | None = None,
    against: Path | None = None,
) -> list[ScoreReport]:
    """Score line i of one file against line i of the other; one report a metric (`rouge` gives four).

    Files are read by `texts.read_texts`. `against` holds other answers to the same references: each report then
    says how much better or worse the predictions are.

    Raises:
        ConfigError: the metric, the language or an option is not known.
        DataError: a file is missing, empty, not UTF-8 or not JSONL, or the numbers of lines differ.
        MissingError: the metric needs a package, or a sandbox, that is not there.
    """
    expand_metrics([metric_name])
    answers = read_texts(predictions)
    right_answers = read_texts(references)
    _check_answers(metric_name, answers, predictions, references, len(right_answers))
    earlier = None
    if against is not None:
        earlier = read_texts(against)
        _check_answers(metric_name, earlier, against, references, len(right_answers))
    task = _Task(
        answers,
        right_answers,
        language,
        seed,
        options,
        lambda row: f"{references}:{row + 1}",
        earlier,
    )
    return _score(metric_name, task)


def _check_answers(metric_name: str, answers: Predictions, path: Path, references: Path, wanted: int) -> None:
    for line, value in enumerate(answers, start=1):
        if not isinstance(value, str) and not metric_name.startswith("pass@"):
            raise DataError(f"{path}:{line}: a prediction is one text, not a list. Only references may be lists.")
    if len(answers) != wanted:
        shorter, longer = sorted([(len(answers), path), (wanted, references)])
        raise DataError(
            f"{longer[1]}:{shorter[0] + 1}: this line has no partner: {longer[1]} has {longer[0]} lines, "
            f"{shorter[1]} has {shorter[0]}. Line i of one must answer line i of the other."
        )


def score_values(
    metric_name: str,
    predictions: Predictions,
    references: References,
    *,
    language: str = "auto",
    seed: int = 0,
    options: MetricOptions | None = None,
) -> list[ScoreReport]:
    """Score texts against their references; one report a metric (`rouge` gives four).

    Raises:
        ConfigError: the metric, the language or an option is not known.
        DataError: no texts, different numbers of them, or a reference that is an empty list.
        MissingError: the metric needs a package, or a sandbox, that is not there.
    """
    if len(predictions) != len(references):
        raise DataError(
            f"{len(predictions)} predictions and {len(references)} references. "
            f"Each prediction needs one reference or one list of them."
        )
    where: Callable[[int], str] = lambda row: f"references, row {row + 1}"  # noqa: E731 - named for its type
    return _score(metric_name, _Task(predictions, references, language, seed, options, where))


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


def _score(metric_name: str, task: _Task) -> list[ScoreReport]:
    accepted = [[item] if isinstance(item, str) else list(item) for item in task.references]
    for row, texts in enumerate(accepted):
        if not texts:
            raise DataError(f"{task.where(row)}: an empty list of references. Give at least one, or leave the row out.")
    known_language = resolve_language(task.language, (text for texts in accepted for text in texts))
    reports = []
    for name in expand_metrics([metric_name]):
        metric = build_metric(name, language=known_language, options=task.options)
        earlier_NK = None if task.earlier is None else _measure_all(metric, task.earlier, accepted, task.where)
        statistics_NK = _measure_all(metric, task.predictions, accepted, task.where)
        items = tuple(metric.sample_value(statistics_K) for statistics_K in statistics_NK)
        comparison = None if earlier_NK is None else compare(metric, earlier_NK, statistics_NK, seed=task.seed)
        reports.append(ScoreReport(score_set(metric, statistics_NK, seed=task.seed), items, comparison))
    return reports


def _measure_all(
    metric: Metric, predictions: Predictions, references: Sequence[Sequence[str]], where: Callable[[int], str]
) -> np.ndarray:
    if isinstance(metric, PassAtK):
        programs = [[item] if isinstance(item, str) else item for item in predictions]
        return metric.statistics_of_items(programs, references)
    texts = []
    for row, item in enumerate(predictions):
        if not isinstance(item, str):
            raise DataError(f"{where(row)}: {metric.name} takes one answer a row, not a list.")
        texts.append(item)
    return measure(metric, texts, references, where=where)
