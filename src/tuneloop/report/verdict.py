"""One sentence that says how the run ended, and the few that must stand beside it."""

import re
from dataclasses import dataclass
from typing import Literal

from tuneloop.evaluate.records import Comparison, EvalRecord
from tuneloop.report import figures
from tuneloop.report.curves import curve_of
from tuneloop.report.folder import RunFolder
from tuneloop.report.words import Words

State = Literal["accepted", "rejected", "measured", "trained", "training", "prepared", "empty"]
_TARGET = re.compile(r"\s*([\w.@-]+)\s*(>=|<=|>|<)\s*(-?[\d.]+(?:e-?\d+)?)\s*")


@dataclass(frozen=True)
class Target:
    """`rouge_l >= 0.45`, taken apart."""

    text: str
    metric: str
    value: float


@dataclass(frozen=True)
class Verdict:
    """How the run ended."""

    state: State
    sentence: str
    """Begins with the word for the state."""
    more: tuple[str, ...] = ()


def shown_round(run: RunFolder) -> int | None:
    """The round that the report is about: the last accepted one, else the last one that got furthest."""
    accepted = [number for number, decision in run.decisions.items() if decision.accepted]
    evaluated = [number for number in run.evals if number > 0]
    for candidates in (accepted, list(run.decisions), evaluated, list(run.checkpoints), run.rounds):
        if candidates:
            return max(candidates)
    return None


def target_of(run: RunFolder) -> Target | None:
    """The target of the last decision, or of the plan."""
    texts = [run.decisions[number].target for number in sorted(run.decisions, reverse=True)]
    iterate = run.plan.get("iterate")
    texts.append(iterate.get("target") if isinstance(iterate, dict) else None)
    for text in texts:
        match = _TARGET.fullmatch(text) if isinstance(text, str) else None
        if text and match:
            return Target(text, match[1], float(match[3]))
    return None


def main_metric(run: RunFolder) -> str | None:
    """The metric that the run was judged by: that of the target, else the first one compared, else measured."""
    target, number = target_of(run), shown_round(run)
    record = run.evals.get(number or 0) or run.evals.get(0)
    if record is None:
        return None
    if target and record.score(target.metric):
        return target.metric
    decision = run.decisions.get(number or 0)
    for items in (decision.comparisons if decision else (), record.comparisons, record.scores):
        if items:
            return items[0].metric
    return None


def verdict_of(run: RunFolder, words: Words) -> Verdict:
    """The sentence for what is there."""
    number = shown_round(run)
    evaluation = run.evals.get(number or 0)
    decision = run.decisions.get(number or 0)
    if decision:
        state: State = "accepted" if decision.accepted else "rejected"
        return Verdict(state, _measured_sentence(run, evaluation, state, words), _more(run, number or 0, words))
    if evaluation:
        return Verdict(
            "measured", _measured_sentence(run, evaluation, "measured", words), _got_worse(evaluation, words)
        )
    return _unmeasured(run, number, words)


def change_sentence(comparison: Comparison, words: Words) -> str:
    """`exact match rose from 0.00 to 0.81 (95 % interval of the gain 0.71 to 0.90)`, without a full stop."""
    interval = comparison.interval
    ends = (interval.low, interval.high) if interval else ()
    digits = figures.digits_for([comparison.before, comparison.after])
    names = {
        "metric": words.metric(comparison.metric),
        "before": figures.score(comparison.before, digits),
        "after": figures.score(comparison.after, digits),
    }
    clear = comparison.is_better or comparison.is_worse
    if comparison.difference == 0:
        text = words("stayed", **names)
    elif clear or interval is None:
        text = words("rose" if comparison.difference > 0 else "fell", **names)
    else:
        text = words("unclear", **names)
    if interval is None:
        return text + words("interval.none")
    kind = "change" if not clear else "gain" if comparison.difference > 0 else "drop"
    if kind == "drop":
        ends = (-interval.high, -interval.low)
    low, high = (figures.score(end, digits) for end in ends)
    return text + words(f"interval.{kind}", level=words.level(interval.level), low=low, high=high)


def _measured_sentence(run: RunFolder, evaluation: EvalRecord | None, state: State, words: Words) -> str:
    metric = main_metric(run)
    lead = words(state)
    decision = run.decisions.get(shown_round(run) or 0)
    if evaluation is None or metric is None:
        return f"{lead}: {decision.reason}" if decision else lead
    comparison = next((item for item in evaluation.comparisons if item.metric == metric), None)
    if comparison is None and decision:
        comparison = next((item for item in decision.comparisons if item.metric == metric), None)
    score = evaluation.score(metric)
    if comparison:
        change = change_sentence(comparison, words)
    elif score:
        change = words("reached", metric=words.metric(metric), after=figures.score(score.value))
    else:
        return f"{lead}: {decision.reason}" if decision else lead
    rows = words.many("held_out", score.n if score else evaluation.num_samples)
    return words("verdict.line", lead=lead, change=change, rows=rows)


def _more(run: RunFolder, number: int, words: Words) -> tuple[str, ...]:
    decision = run.decisions[number]
    evaluation = run.evals.get(number)
    last = max(run.decisions)
    lines = []
    if decision.accepted and last > 1:
        lines.append(words("best_round", round=number, rounds=last))
    if not decision.accepted:
        lines.append(words("base_stays"))
    if decision.target:
        lines.append(words("target.met" if decision.target_met else "target.not_met", target=decision.target))
    worse = _got_worse(evaluation, words) if evaluation else ()
    return (*lines, *worse)


def _got_worse(evaluation: EvalRecord, words: Words) -> tuple[str, ...]:
    worse = [words.metric(item.metric) for item in evaluation.comparisons if item.is_worse]
    return (words("got_worse", metrics=", ".join(worse)),) if worse else ()


def _unmeasured(run: RunFolder, number: int | None, words: Words) -> Verdict:
    checkpoint = run.checkpoints.get(number or 0)
    if checkpoint:
        rest = words(
            "trained.rest",
            steps=words.many("steps", checkpoint.cost.steps),
            loss=figures.loss(checkpoint.train_loss),
        )
        return Verdict("trained", words("verdict.plain", lead=words("trained"), rest=rest))
    curve = curve_of(run, number) if number else None
    if curve:
        rest = words("training.rest", step=figures.count(curve.done), steps=figures.count(curve.planned), round=number)
        return Verdict("training", words("verdict.plain", lead=words("training"), rest=rest))
    if run.datasets:
        kept = run.datasets[max(run.datasets)].kept
        rest = words("prepared.rest", rows=words.many("rows", kept))
        return Verdict("prepared", words("verdict.plain", lead=words("prepared"), rest=rest))
    if 0 in run.evals:
        return Verdict("measured", _measured_sentence(run, run.evals[0], "measured", words))
    return Verdict("empty", words("verdict.plain", lead=words("empty"), rest=words("empty.rest")))
