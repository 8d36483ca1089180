"""A judgement as a person reads it in a terminal."""

from collections.abc import Iterator

from tuneloop.evaluate.agreement import Coefficient
from tuneloop.evaluate.judge.records import JudgeAgreement, JudgeRecord, PairsResult, RubricResult
from tuneloop.evaluate.records import Interval
from tuneloop.generate.endpoint import CallPlan
from tuneloop.generate.endpoint_config import EndpointConfig


def render_judgement(record: JudgeRecord) -> list[str]:
    """Lines: the numbers with their intervals, what has no verdict, agreement with people, cost, warnings."""
    lines = [f"judge {record.judge} at {record.base_url}: {record.judged} of {record.num_rows} rows judged"]
    if record.pairs is not None:
        lines += _pairs(record.pairs)
    if record.rubric is not None:
        lines += _rubric(record.rubric)
    if record.without_verdict:
        reasons = ", ".join(f"{reason} {number}" for reason, number in record.without_verdict.items())
        lines.append(f"replies without a verdict: {reasons}")
    lines += [_agreement(found) for found in record.agreement]
    spent = record.spent
    cost = "" if spent.money is None else f", {spent.money:.4f} {spent.currency}"
    guess = f" ({spent.estimated_calls} calls estimated from characters)" if spent.estimated_calls else ""
    lines.append(
        f"paid so far: {spent.calls} calls, {spent.prompt_tokens:,} tokens in, {spent.completion_tokens:,} out"
        f"{guess}{cost}"
    )
    return lines + [f"warning: {text}" for text in record.warnings]


def render_plan(plan: CallPlan, config: EndpointConfig) -> list[str]:
    """Lines: what would be asked, and what it would cost at most."""
    missing = plan.calls - plan.in_log
    lines = [f"{plan.calls} calls to {config.model} at {config.base_url}, of which {plan.in_log} are answered already"]
    most = f"about {plan.input_tokens:,} tokens in (estimated from characters) and at most {plan.output_tokens:,} out"
    lines.append(f"to make: {missing} calls, {most}")
    if plan.cost is not None:
        lines.append(f"cost: at most about {plan.cost:.4f} {config.currency}")
    if plan.spent.calls:
        money = f", {plan.spent.money:.4f} {config.currency}" if config.price_input is not None else ""
        lines.append(f"paid so far: {plan.spent.calls} calls, {plan.spent.tokens:,} tokens{money}")
    return lines


def _pairs(result: PairsResult) -> Iterator[str]:
    win_rate, bias, length = result.win_rate, result.position_bias, result.length
    yield f"A wins {result.wins}, ties {result.ties}, B wins {result.losses} (a win is one in both orders)"
    yield f"win rate of A {_value(win_rate.value, win_rate.interval)}, ties as half"
    yield (
        f"win rate of A at equal length {_value(length.win_rate, length.interval)}; mean length A "
        f"{length.mean_length_a:,.0f}, B {length.mean_length_b:,.0f} characters"
        + ("" if length.longer_wins is None else f"; the longer one wins {100 * length.longer_wins:.0f} %")
    )
    yield (
        f"position bias {_value(bias.value, bias.interval)}: {result.flips_to_first} flips to the first place, "
        f"{result.flips_to_second} to the second; one order says tie {result.half_ties}"
    )


def _rubric(result: RubricResult) -> Iterator[str]:
    width = max(len(score.metric) for score in (*result.criteria, result.overall))
    for score in (*result.criteria, result.overall):
        yield f"{score.metric:<{width}}  {_value(score.value, score.interval)} of 5"
    if result.spread is not None:
        yield f"spread between runs of one answer: {result.spread:.2f}"


def _agreement(found: JudgeAgreement) -> str:
    parts = found.report.parts
    what = f" on {found.criterion}" if found.criterion else ""
    kappa = parts.cohen_kappa if parts.scale == "nominal" else parts.cohen_kappa_quadratic
    name = "Cohen's kappa" if parts.scale == "nominal" else "quadratic kappa"
    return (
        f"agreement with {found.rater}{what}: {_coefficient(parts.raw_agreement, percent=True)} equal, "
        f"{name} {_coefficient(kappa)}, alpha {_value(found.report.value, found.report.interval)} "
        f"(n = {found.report.n}, {parts.reading})"
    )


def _coefficient(found: Coefficient, *, percent: bool = False) -> str:
    if found.value is None:
        return f"none ({found.reason.removesuffix('.')})"
    return f"{100 * found.value:.0f} %" if percent else f"{found.value:.2f}"


def _value(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "none"
    return f"{value:.3f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else "")
