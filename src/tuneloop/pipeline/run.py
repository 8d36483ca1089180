"""The whole loop: measure the base, train, measure again, decide, go round or export, tell the story."""

from dataclasses import dataclass
from typing import Any

from tuneloop.core.errors import ConfigError
from tuneloop.core.events import last_by_step
from tuneloop.evaluate.records import EvalRecord
from tuneloop.evaluate.run import compare_samples
from tuneloop.iterate.curves import Curves, read_curves
from tuneloop.iterate.diagnose import Diagnosis, diagnose
from tuneloop.iterate.gate import Verdict, judge
from tuneloop.iterate.records import Decision
from tuneloop.pipeline.export import export_round
from tuneloop.pipeline.rounds import evaluate_base, evaluate_round, train_round
from tuneloop.pipeline.session import Session
from tuneloop.plan import Plan
from tuneloop.report.page import write_report


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    accepted_round: int | None
    """The round whose model was exported; None where the base was kept."""
    decisions: tuple[Decision, ...]
    before: EvalRecord
    after: EvalRecord
    """Of the accepted round, else of the last one."""


def run_loop(session: Session) -> RunResult:
    """Go round until the target holds, nothing can be improved by rule, or `max_rounds` is reached.

    Raises:
        ConfigError: there are no held-out rows, so nothing could be decided.
    """
    if not session.data.eval_rows:
        raise ConfigError(
            "data: no held-out rows, so nothing could be measured. Name data.eval files or raise data.eval_fraction; "
            "or train without measuring: tuneloop train."
        )
    before = evaluate_base(session)
    plan, best, decisions = session.plan, 0, []
    for number in range(1, session.plan.iterate.max_rounds + 1):
        train_round(session, plan, number)
        evaluation = evaluate_round(session, plan, number)
        decision = _decide(session, plan, number, best, evaluation)
        decisions.append(decision)
        best = number if decision.accepted else best
        write_report(session.folder.path)
        if decision.prescription is None:
            break
        plan = plan.with_changes(decision.prescription.changes)
    if best:
        export_round(session, plan_of_round(session, best), best, session.plan.deploy.export)
    session.log.emit("finished", round=len(decisions), accepted_round=best or None)
    write_report(session.folder.path)
    after = session.folder.read_eval(best or len(decisions))
    return RunResult(best or None, tuple(decisions), before, after)


def plan_of_round(session: Session, number: int) -> Plan:
    """The plan that a round was trained with: the recipe, and what every decision before it changed."""
    plan = session.plan
    for decision in session.folder.decisions()[: number - 1]:
        if decision.prescription is not None:
            plan = plan.with_changes(decision.prescription.changes)
    return plan


def _decide(session: Session, plan: Plan, number: int, best: int, evaluation: EvalRecord) -> Decision:
    path = session.folder.record("decision", number)
    if path.exists():
        return Decision.load(path)
    config = session.plan.iterate
    comparisons = compare_samples(
        session.folder.read_samples(best), session.folder.read_samples(number), plan.evaluate, seed=plan.seed
    )
    verdict = judge(comparisons, evaluation.scores, config)
    is_content = verdict.target_met if config.target else verdict.accepted
    diagnosis = Diagnosis((), None) if verdict.accepted and is_content else diagnose(_curves(session, plan, number))
    is_last = number == config.max_rounds
    prescription = None if is_last else diagnosis.prescription
    decision = Decision(
        **session.provenance(plan, evaluation.hash, session.folder.read_eval(best).hash),
        round=number,
        accepted=verdict.accepted,
        reason=_reason(verdict, best),
        target=config.target,
        target_met=verdict.target_met,
        comparisons=comparisons,
        findings=diagnosis.findings,
        prescription=prescription,
        stop_reason=None if prescription else _stop_reason(verdict, diagnosis, session.plan, is_last=is_last),
    )
    decision.save(path)
    session.log.emit("decided", round=number, accepted=decision.accepted, reason=decision.reason)
    return decision


def _reason(verdict: Verdict, best: int) -> str:
    against = f"round {best}" if best else "the base"
    return f"Against {against}: {verdict.reason}."


def _stop_reason(verdict: Verdict, diagnosis: Diagnosis, plan: Plan, *, is_last: bool) -> str:
    config = plan.iterate
    if verdict.accepted and config.target and verdict.target_met:
        return f"The target holds: {config.target}."
    if verdict.accepted and not config.target:
        return "The model is better, and no target asks for more."
    if is_last:
        return f"max_rounds = {config.max_rounds} is reached."
    if diagnosis.findings:
        return "A rule fired, and it has no remedy left."
    return "No rule fired: the curves do not say what to change."


def _curves(session: Session, plan: Plan, number: int) -> Curves:
    def of_kind(kind: str) -> list[dict[str, Any]]:
        return last_by_step(session.folder.round_events(kind, number))

    return read_curves(of_kind("step"), of_kind("validation"), num_train_epochs=plan.stages[-1].num_train_epochs)
