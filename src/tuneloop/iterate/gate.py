"""Accept or reject: a round's model is kept only if it measures better, and nothing protected clearly falls."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuneloop.core.errors import ConfigError
from tuneloop.evaluate.records import Comparison, Score
from tuneloop.iterate.config import IterateConfig, Target, parse_target


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and why."""

    accepted: bool
    reason: str
    target_met: bool


def judge(comparisons: Sequence[Comparison], scores: Sequence[Score], config: IterateConfig) -> Verdict:
    """Judge a model by its scores and by its comparison with the best one so far, on the same rows.

    The main metric is the target's, else the first one measured. It must be better with its whole paired 95 %
    interval, and no protected metric may be worse with its whole interval.

    Raises:
        ConfigError: the target or a protected metric is not among those measured.
    """
    target = parse_target(config.target) if config.target else None
    main = _main(comparisons, target)
    protected = [_find(comparisons, name, "iterate.protect") for name in config.protect] or list(comparisons)
    fallen = [comparison for comparison in protected if comparison.is_worse]
    target_met = target is not None and any(
        score.metric == main.metric and target.is_met_by(score.value) for score in scores
    )
    num_rows = scores[0].n
    is_enough = num_rows >= config.min_rows
    if not is_enough:
        reason = f"{num_rows} held-out rows are too few to tell (iterate.min_rows = {config.min_rows}); {_say(main)}"
    elif fallen:
        reason = "clearly worse: " + ", ".join(map(_say, fallen))
    elif not main.is_better:
        reason = f"not clearly better: {_say(main)}"
    else:
        reason = f"clearly better: {_say(main)}"
    return Verdict(accepted=is_enough and main.is_better and not fallen, reason=reason, target_met=target_met)


def main_metric(metrics: Sequence[str], config: IterateConfig) -> str:
    """The metric that decides.

    Raises:
        ConfigError: the target names one that is not measured.
    """
    if config.target is None:
        return metrics[0]
    target = parse_target(config.target)
    if target.metric not in metrics:
        raise ConfigError(f"iterate.target: '{target.metric}' is not measured. Measured are: {', '.join(metrics)}.")
    return target.metric


def _main(comparisons: Sequence[Comparison], target: Target | None) -> Comparison:
    return comparisons[0] if target is None else _find(comparisons, target.metric, "iterate.target")


def _find(comparisons: Sequence[Comparison], name: str, field: str) -> Comparison:
    for comparison in comparisons:
        if comparison.metric == name:
            return comparison
    raise ConfigError(f"{field}: '{name}' is not measured. Measured are: {', '.join(c.metric for c in comparisons)}.")


def _say(comparison: Comparison) -> str:
    text = f"{comparison.metric} {comparison.before:.3g} to {comparison.after:.3g}"
    if comparison.interval is None:
        return f"{text} (one row: no interval)"
    low, high = comparison.interval.low, comparison.interval.high
    return f"{text} (95 % interval of the difference {low:+.3g} to {high:+.3g})"
