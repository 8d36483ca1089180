"""Questions to outputs to scores: asked once, kept as they come, measured through every filter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tuneloop.core.hooks import Hooks
from tuneloop.data.schema import Origin, Problem
from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.metrics.pass_at_k import PassAtK
from tuneloop.evaluate.metrics.registry import build_metric, expand_metrics
from tuneloop.evaluate.metrics.segment import resolve_language
from tuneloop.evaluate.score import measure
from tuneloop.evaluate.stats import compare, score_set
from tuneloop.evaluate.tasks.config import ScoreConfig, TaskConfig
from tuneloop.evaluate.tasks.filters import apply_filters
from tuneloop.evaluate.tasks.questions import Question
from tuneloop.evaluate.tasks.records import TaskComparison, TaskSample, TaskScore
from tuneloop.evaluate.tasks.responder import Ask, Responder
from tuneloop.evaluate.tasks.samples import Output, OutputLog


def split_refused(
    task: TaskConfig, questions: Sequence[Question], responder: Responder
) -> tuple[list[Question], list[Problem]]:
    """Questions that can be asked, and those that cannot: too long for the model, or refused by its template."""
    asked, problems = [], []
    for question in questions:
        reason = responder.refuse(question, task.generate)
        if reason is None:
            asked.append(question)
        else:
            file, _, line = question.row.rpartition(":")
            problems.append(Problem(Origin(file, int(line)), "not_askable", reason))
    return asked, problems


def ask_questions(
    task: TaskConfig, questions: Sequence[Question], responder: Responder, log: OutputLog, *, seed: int, hooks: Hooks
) -> None:
    """Ask what the log does not hold yet.

    Raises:
        StoppedError: an end was asked for; what the log holds is not asked again.
    """
    missing = [
        Ask(place, sample, question)
        for place, question in enumerate(questions)
        for sample in range(task.generate.num_samples)
        if (place, sample) not in log.outputs
    ]
    if missing:
        responder.answer(missing, task.generate, seed=seed, hooks=hooks, take=log.add)


@dataclass(frozen=True)
class Measured:
    """A measure over all questions."""

    config: ScoreConfig
    name: str
    metric: Metric
    statistics_NK: np.ndarray
    answers: list[tuple[str | None, ...]]


def measure_outputs(
    task: TaskConfig, questions: Sequence[Question], outputs: Sequence[Sequence[Output]]
) -> list[Measured]:
    """Every measure of the task, `rouge` as three of them.

    Where a question has several outputs, pass@k looks at all of them and every other metric at the first.

    Raises:
        DataError: a reference that a metric cannot use; the row is named.
        MissingError: a metric needs a package or a sandbox that is not there.
    """
    language = resolve_language(task.language, (text for question in questions for text in question.references))
    found = []
    for config in task.scores:
        answers = [tuple(apply_filters(config.filters, output.text) for output in group) for group in outputs]
        for metric_name in expand_metrics([config.metric]):
            metric = build_metric(metric_name, language=language, options=config.options)
            label = config.name or metric.name
            if config.name and metric_name != config.metric:
                label = f"{config.name}.{metric.name}"
            found.append(Measured(config, label, metric, _statistics(metric, questions, answers), answers))
    return found


def _statistics(metric: Metric, questions: Sequence[Question], answers: Sequence[tuple[str | None, ...]]) -> np.ndarray:
    references = [question.references for question in questions]
    if isinstance(metric, PassAtK):
        return metric.statistics_of_items([[text or "" for text in group] for group in answers], references)
    where: Callable[[int], str] = lambda row: questions[row].row  # noqa: E731 - named for its type
    return measure(metric, [group[0] or "" for group in answers], references, where=where)


def score_measured(measured: Sequence[Measured], *, seed: int) -> tuple[TaskScore, ...]:
    """Values with intervals."""
    return tuple(
        TaskScore(
            name=each.name,
            filters=each.config.filters,
            score=score_set(each.metric, each.statistics_NK, seed=seed),
            without_answer=sum(text is None for group in each.answers for text in group),
        )
        for each in measured
    )


def compare_measured(before: Sequence[Measured], after: Sequence[Measured], *, seed: int) -> tuple[TaskComparison, ...]:
    """What both evaluations measured, question by question."""
    earlier = {each.name: each for each in before}
    return tuple(
        TaskComparison(
            name=each.name,
            comparison=compare(each.metric, earlier[each.name].statistics_NK, each.statistics_NK, seed=seed),
        )
        for each in after
        if each.name in earlier
    )


def build_samples(
    questions: Sequence[Question], outputs: Sequence[Sequence[Output]], measured: Sequence[Measured]
) -> list[TaskSample]:
    """Every question with what was written and what it is worth."""
    return [
        TaskSample(
            row=question.row,
            prompt=question.text,
            references=question.references,
            outputs=tuple(output.text for output in group),
            finished=tuple(output.finished for output in group),
            prompt_tokens=group[0].prompt_tokens,
            output_tokens=tuple(output.output_tokens for output in group),
            document=question.document,
            answers={each.name: each.answers[place] for each in measured if each.config.filters},
            scores={each.name: each.metric.sample_value(each.statistics_NK[place]) for each in measured},
        )
        for place, (question, group) in enumerate(zip(questions, outputs, strict=True))
    ]
