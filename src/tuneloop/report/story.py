"""From a run folder to the views that the page shows: typed values, no markup."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from tuneloop.data.records import DatasetRecord
from tuneloop.evaluate.records import Comparison, EvalRecord, Interval, Score
from tuneloop.iterate.records import Decision, Finding
from tuneloop.report import samples as sampling
from tuneloop.report.account import Spent, elapsed_s, settings_of, spent_of, versions_of
from tuneloop.report.curves import Curve, curve_of
from tuneloop.report.folder import ProblemRow, RunFolder, read_folder
from tuneloop.report.lineage import Lineage, lineage_of
from tuneloop.report.verdict import Target, Verdict, main_metric, shown_round, target_of, verdict_of
from tuneloop.report.words import Words
from tuneloop.train.records import CheckpointRecord

Outcome = Literal["better", "worse", "no_clear_difference", "not_compared"]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval."""

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class ScoreCard:
    """One metric, before and after."""

    metric: str
    is_main: bool
    before: Estimate | None
    after: Estimate | None
    comparison: Comparison | None
    outcome: Outcome
    higher_is_better: bool
    n: int
    signature: str


@dataclass(frozen=True)
class Change:
    """One setting that a round changed."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True)
class RoundPoint:
    """The main score after one round; round 0 is the base."""

    round: int
    estimate: Estimate
    outcome: Literal["base", "accepted", "rejected", "not_judged"]


@dataclass(frozen=True)
class RoundView:
    """One turn of the loop."""

    number: int
    outcome: Literal["accepted", "rejected", "not_judged"]
    decision: Decision | None
    main: Comparison | None
    """The main score against the best model so far."""
    changed_text: str | None
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    checkpoint: CheckpointRecord | None
    evaluation: EvalRecord | None


@dataclass(frozen=True)
class SampleSet:
    """What the side-by-side section shows."""

    shown: tuple[sampling.SampleView, ...]
    rest: tuple[sampling.SampleView, ...]
    total: int
    seed: int
    file: str
    higher_is_better: dict[str, bool]
    is_paired: bool
    why_empty: str | None


@dataclass(frozen=True)
class DataView:
    """The rows of one round."""

    round: int
    record: DatasetRecord
    problems: tuple[ProblemRow, ...]
    same_as: int | None
    """An earlier round with exactly the same rows."""


@dataclass(frozen=True)
class Story:
    """Everything on the page, in its order."""

    name: str
    verdict: Verdict
    main: str | None
    target: Target | None
    shown: int | None
    """The round that the scores, the samples and the settings belong to."""
    evaluation: EvalRecord | None
    checkpoint: CheckpointRecord | None
    cards: tuple[ScoreCard, ...]
    curves: tuple[Curve, ...]
    rounds: tuple[RoundView, ...]
    points: tuple[RoundPoint, ...]
    samples: SampleSet
    data: tuple[DataView, ...]
    settings: tuple[tuple[str, str], ...]
    lineage: Lineage
    versions: dict[str, str]
    spent: tuple[Spent, ...]
    elapsed_s: float | None
    last_record: datetime | None
    recipe: str | None
    notices: tuple[str, ...]

    @property
    def main_data(self) -> DataView | None:
        """The rows of the shown round, else the latest."""
        return next((view for view in self.data if view.round == self.shown), self.data[-1] if self.data else None)


def read_story(folder: Path, words: Words) -> Story:
    """Read a run folder into its story."""
    run = read_folder(folder)
    shown = shown_round(run)
    evaluation = run.evals.get(shown or 0) or run.evals.get(0)
    metric, target = main_metric(run), target_of(run)
    curves = (curve_of(run, number) for number in run.rounds)
    return Story(
        name=run.name,
        verdict=verdict_of(run, words),
        main=metric,
        target=target if target and target.metric == metric else None,
        shown=shown,
        evaluation=evaluation,
        checkpoint=run.checkpoints.get(shown or 0),
        cards=tuple(_cards(run.evals.get(0), evaluation, metric)) if evaluation else (),
        curves=tuple(curve for curve in curves if curve),
        rounds=tuple(_round(run, number, metric) for number in run.rounds),
        points=tuple(_points(run, metric)) if metric else (),
        samples=_samples(run, evaluation, metric),
        data=tuple(_data(run)),
        settings=tuple(settings_of(run.checkpoints[shown].plan if shown in run.checkpoints else run.plan)),
        lineage=lineage_of(run),
        versions=versions_of(run.records.values()),
        spent=tuple(spent_of(run)),
        elapsed_s=elapsed_s(run),
        last_record=max((record.created_at for record in run.records.values()), default=None),
        recipe=run.recipe,
        notices=tuple(_notices(run, words)),
    )


def _cards(base: EvalRecord | None, record: EvalRecord, main: str | None) -> Iterable[ScoreCard]:
    compared = {item.metric: item for item in record.comparisons}
    for score in sorted(record.scores, key=lambda score: score.metric != main):
        comparison = compared.get(score.metric)
        earlier = base.score(score.metric) if base and comparison else None
        before = _estimate(earlier) or (Estimate(comparison.before, None) if comparison else None)
        is_base = record.round == 0
        yield ScoreCard(
            metric=score.metric,
            is_main=score.metric == main,
            before=_estimate(score) if is_base else before,
            after=None if is_base else _estimate(score),
            comparison=comparison,
            outcome=outcome_of(comparison),
            higher_is_better=score.higher_is_better,
            n=score.n,
            signature=score.signature,
        )


def _estimate(score: Score | None) -> Estimate | None:
    return Estimate(score.value, score.interval) if score else None


def outcome_of(comparison: Comparison | None) -> Outcome:
    """What a comparison says, in the key of a word."""
    if comparison is None:
        return "not_compared"
    if comparison.is_better:
        return "better"
    return "worse" if comparison.is_worse else "no_clear_difference"


def _round(run: RunFolder, number: int, metric: str | None) -> RoundView:
    decision, earlier = run.decisions.get(number), run.decisions.get(number - 1)
    prescription = earlier.prescription if earlier else None
    compared = decision.comparisons if decision else ()
    return RoundView(
        number=number,
        outcome=_judged(decision),
        decision=decision,
        main=next((item for item in compared if item.metric == metric), None),
        changed_text=prescription.text if prescription else None,
        changes=_changes(earlier),
        findings=decision.findings if decision else (),
        checkpoint=run.checkpoints.get(number),
        evaluation=run.evals.get(number),
    )


def _changes(decision: Decision | None) -> tuple[Change, ...]:
    """What the decision before a round prescribed for it, beside what the plan said until then."""
    if decision is None or decision.prescription is None:
        return ()
    return tuple(
        Change(path, _look_up(decision.plan, path), new) for path, new in decision.prescription.changes.items()
    )


def _judged(decision: Decision | None) -> Literal["accepted", "rejected", "not_judged"]:
    if decision is None:
        return "not_judged"
    return "accepted" if decision.accepted else "rejected"


def _look_up(plan: Any, path: str) -> Any:
    """The value at a dotted path, or None where the plan does not hold it."""
    here = plan
    for key in path.split("."):
        if isinstance(here, dict) and key in here:
            here = here[key]
        elif isinstance(here, list) and key.isdecimal() and int(key) < len(here):
            here = here[int(key)]
        else:
            return None
    return here


def _points(run: RunFolder, metric: str) -> Iterable[RoundPoint]:
    for number, record in run.evals.items():
        estimate = _estimate(record.score(metric))
        if estimate:
            yield RoundPoint(number, estimate, _judged(run.decisions.get(number)) if number else "base")


def _samples(run: RunFolder, record: EvalRecord | None, metric: str | None) -> SampleSet:
    after = run.samples.get(record.round, ()) if record else ()
    if record is None or not after:
        why = "samples.no_file" if record else "samples.no_eval"
        return SampleSet((), (), 0, 0, "", {}, is_paired=True, why_empty=why)
    base = run.evals.get(0)
    same_rows = base is not None and base.rows_sha256 == record.rows_sha256 and record.round > 0
    pairs = sampling.pair_up(run.samples.get(0, ()) if same_rows else (), after)
    better = {score.metric: score.higher_is_better for score in record.scores}
    if metric not in after[0].scores:
        metric = next(iter(after[0].scores), None)
    up = better.get(metric, True) if metric else True
    chosen = [
        sampling.view_of(group, pair)
        for group, pair in sampling.choose(pairs, metric, higher_is_better=up, seed=record.seed)
    ]
    return SampleSet(
        shown=tuple(view for view in chosen if view.group != "more"),
        rest=tuple(view for view in chosen if view.group == "more"),
        total=len(after),
        seed=record.seed,
        file=record.samples,
        higher_is_better=better,
        is_paired=same_rows or base is None or record.round == 0,
        why_empty=None,
    )


def _data(run: RunFolder) -> Iterable[DataView]:
    first: dict[str, int] = {}
    for number, record in run.datasets.items():
        same_as = first.setdefault(record.rows_sha256, number)
        yield DataView(number, record, run.problems.get(number, ()), same_as if same_as != number else None)


def _notices(run: RunFolder, words: Words) -> Iterable[str]:
    for what in run.damage:
        yield words("damaged", what=what)
    for file in run.changed_samples:
        yield words("samples.changed", file=file)
    for number, event in {event.get("round", 1): event for event in run.of_kind("generated")}.items():
        if number not in run.evals:
            yield words("generating", round=number, done=event.get("done"), total=event.get("total"))
