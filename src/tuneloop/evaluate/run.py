"""A model and held-out rows to samples, and samples to scores: the same way before and after."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuneloop.core.errors import DataError, NonFiniteError
from tuneloop.core.hooks import Hooks
from tuneloop.core.stop import Stop
from tuneloop.data.batches import build_batch
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message, Row
from tuneloop.data.tokens.block import TokenRow
from tuneloop.evaluate.config import EvaluateConfig
from tuneloop.evaluate.metrics.loss import TokenLoss
from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.metrics.registry import build_metric, expand_metrics
from tuneloop.evaluate.metrics.segment import resolve_language
from tuneloop.evaluate.records import Comparison, Sample, Score
from tuneloop.evaluate.stats import compare, score_set
from tuneloop.evaluate.tasks.samples import Output, OutputLog
from tuneloop.generate.answer import Generated
from tuneloop.generate.engine import Engine
from tuneloop.model.backbone import CausalModel
from tuneloop.objectives.measure import measure_batches

_LOSS_BUDGET_TOKENS = 1024


@dataclass(frozen=True)
class HeldOut:
    """The frozen rows of a run: what every evaluation of it looks at."""

    rows: Sequence[Row]
    tokens: Sequence[TokenRow]
    """The same rows, rendered."""


def evaluate_model(  # noqa: PLR0913 - an evaluation is made of these
    model: CausalModel,
    renderer: Renderer,
    held_out: HeldOut,
    config: EvaluateConfig,
    *,
    seed: int,
    hooks: Hooks,
    log: OutputLog | None = None,
) -> list[Sample]:
    """The loss of every row, and the model's own answer to its last question; plain text asks nothing.

    Args:
        model: with its adapter, if it has one.
        renderer: of its prompt contract.
        held_out: the rows.
        config: what is measured, and how answers are chosen.
        seed: of answers that are drawn by chance.
        hooks: "generated" tells how many are answered.
        log: keeps each answer as it comes; those that it has already are not asked for again.

    Raises:
        StoppedError: an end was asked for.
        NonFiniteError: the loss of a row is not a number.
    """
    losses = row_losses(model, held_out.tokens, stop=hooks.stop)
    for row, loss in zip(held_out.rows, losses, strict=True):
        if not math.isfinite(loss):
            raise NonFiniteError(f"{row.origin}: the model's loss on this row is {loss}: its weights are not sound.")
    asked = [index for index, row in enumerate(held_out.rows) if not row.is_text]
    answers = _answer(model, renderer, {index: held_out.rows[index] for index in asked}, config, seed, hooks, log)
    references = [_reference(renderer, row, held_out.tokens[index]) for index, row in enumerate(held_out.rows)]
    metrics = _metrics(config, [references[index] for index in asked]) if asked else []
    return [
        Sample(
            row=str(row.origin),
            prompt=show_conversation(row.before_answer()),
            reference=references[index],
            output=answers[index].text if index in answers else "",
            output_tokens=answers[index].output_tokens if index in answers else 0,
            finished=answers[index].finished if index in answers else True,
            loss=losses[index],
            target_tokens=held_out.tokens[index].num_targets,
            scores=_sample_values(metrics, answers[index].text, references[index]) if index in answers else {},
            is_text=row.is_text,
        )
        for index, row in enumerate(held_out.rows)
    ]


def _answer(  # noqa: PLR0913 - all of them are what an answer depends on
    model: CausalModel,
    renderer: Renderer,
    rows: Mapping[int, Row],
    config: EvaluateConfig,
    seed: int,
    hooks: Hooks,
    log: OutputLog | None,
) -> dict[int, Output]:
    """The answer to each row by its place, those of the log first."""
    answers = {} if log is None else {place: output for (place, _), output in log.outputs.items()}
    if answers:
        hooks.emit("resumed_outputs", done=len(answers), total=len(rows))
    missing = [place for place in rows if place not in answers]
    if not missing:
        return answers
    prompts = [renderer.encode_prompt(rows[place].before_answer(), tools=rows[place].tools) for place in missing]

    def keep(number: int, generated: Generated) -> None:
        output = Output(
            question=missing[number],
            text=renderer.decode(generated.ids),
            prompt_tokens=len(prompts[number]),
            output_tokens=len(generated.ids),
            finished=generated.finished,
        )
        answers[missing[number]] = output
        if log is not None:
            log.add(output)

    engine = Engine(model, renderer.contract.stop_ids, config.generate)
    engine.generate(prompts, seed=seed, hooks=hooks, keys=missing, on_answer=keep)
    return answers


def _reference(renderer: Renderer, row: Row, tokens: TokenRow) -> str:
    """The right answer as the model would write it: where it calls tools, in the words of the template."""
    if not row.messages[-1].tool_calls:
        return row.answer()
    targets = np.flatnonzero(tokens.weights)
    breaks = np.flatnonzero(np.diff(targets) > 1)
    return renderer.decode(tokens.ids[targets[breaks[-1] + 1 if len(breaks) else 0 :]])


def show_conversation(messages: Sequence[Message]) -> str:
    """What a person reads: a single question as it is, longer conversations with the speakers' names."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def row_losses(model: CausalModel, rows: Sequence[TokenRow], *, stop: Stop) -> list[float]:
    """Mean negative log-likelihood a target token of each row, in nats, unweighted.

    Raises:
        StoppedError: an end was asked for.
    """
    order = sorted(range(len(rows)), key=lambda index: (-len(rows[index].ids), index))
    losses = [0.0] * len(rows)
    for chosen in _groups(rows, order):
        batch = build_batch([rows[index] for index in chosen])
        for _, nll_N in measure_batches(model, [batch], stop=stop):
            sums_S = np.zeros(len(chosen))
            counts_S = np.bincount(batch.conversation_N.numpy(), minlength=len(chosen))
            np.add.at(sums_S, batch.conversation_N.numpy(), nll_N.double().numpy())
            for place, index in enumerate(chosen):
                losses[index] = float(sums_S[place] / counts_S[place])
    return losses


def _groups(rows: Sequence[TokenRow], order: Sequence[int]) -> list[list[int]]:
    """Neighbours of the order, up to the token budget."""
    groups: list[list[int]] = []
    room = 0
    for index in order:
        length = len(rows[index].ids)
        if not groups or length > room:
            groups.append([])
            room = max(_LOSS_BUDGET_TOKENS, length)
        groups[-1].append(index)
        room -= length
    return groups


def score_samples(samples: Sequence[Sample], config: EvaluateConfig, *, seed: int) -> tuple[Score, ...]:
    """Every metric of the recipe over the samples, and the loss; each with its interval.

    Raises:
        DataError: there are no samples.
    """
    _require(samples)
    return tuple(
        score_set(metric, statistics_NK, seed=seed, resamples=config.resamples)
        for metric, statistics_NK in _statistics(samples, config)
    )


def compare_samples(
    before: Sequence[Sample], after: Sequence[Sample], config: EvaluateConfig, *, seed: int
) -> tuple[Comparison, ...]:
    """Every metric before and after, paired row by row.

    Raises:
        DataError: there are no samples, or they are not of the same rows.
    """
    _require(before)
    if [sample.row for sample in before] != [sample.row for sample in after]:
        raise DataError("Two evaluations compare only over the same rows in the same order.")
    return tuple(
        compare(metric, before_NK, after_NK, seed=seed, resamples=config.resamples)
        for (metric, before_NK), (_, after_NK) in zip(
            _statistics(before, config), _statistics(after, config), strict=True
        )
    )


def _require(samples: Sequence[Sample]) -> None:
    if not samples:
        raise DataError("There are no held-out rows. Name data.eval files, or raise data.eval_fraction.")


def _metrics(config: EvaluateConfig, references: Sequence[str]) -> list[Metric]:
    language = resolve_language(config.language, references)
    return [build_metric(name, language=language) for name in expand_metrics(config.metrics)]


def _statistics(samples: Sequence[Sample], config: EvaluateConfig) -> list[tuple[Metric, np.ndarray]]:
    """Each metric with its statistics, [N, K]; plain text has a loss only."""
    loss = TokenLoss()
    answered = [sample for sample in samples if not sample.is_text]
    metrics = _metrics(config, [sample.reference for sample in answered]) if answered else []
    pairs: list[tuple[Metric, np.ndarray]] = [
        (metric, np.array([metric.statistics(sample.output, [sample.reference]) for sample in answered]))
        for metric in metrics
    ]
    return [*pairs, (loss, np.array([loss.of_sample(sample) for sample in samples]))]


def _sample_values(metrics: Sequence[Metric], text: str, reference: str) -> dict[str, float]:
    return {metric.name: metric.sample_value(metric.statistics(text, [reference])) for metric in metrics}
