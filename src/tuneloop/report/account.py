"""What was set, what was installed, and what it cost."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from tuneloop.core.records import Record
from tuneloop.report import figures
from tuneloop.report.folder import RunFolder


@dataclass(frozen=True)
class Spent:
    """What one phase cost."""

    phase: Literal["train", "eval", "base"]
    round: int
    wall_s: float
    tokens: int | None = None
    peak_memory_bytes: int | None = None
    utilisation: float | None = None
    """Useful operations a second as a share of what the device can do."""
    from_events: bool = False

    @property
    def tokens_per_s(self) -> float | None:
        """Over the wall time of the phase."""
        return self.tokens / self.wall_s if self.tokens and self.wall_s > 0 else None


def settings_of(plan: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """The scalars of the sections that decide how the weights move."""
    for section in ("seed", "tune", "stages", "data", "train"):
        for path, value in _flat(section, plan.get(section)):
            if not (section == "data" and path.split(".")[1] in {"train", "eval"}):
                yield path, value


def _flat(path: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{path}.{key}", item)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _flat(f"{path}.{index}", item)
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value))
    elif value is not None:
        yield path, written(value)


def written(value: Any) -> str:
    """A plain value as a recipe would say it."""
    match value:
        case None:
            return "—"
        case bool():
            return "true" if value else "false"
        case float():
            return figures.plain(value)
        case _:
            return str(value)


def versions_of(records: Iterable[Record]) -> dict[str, str]:
    """Package -> version; all of them where records differ."""
    seen: dict[str, list[str]] = {}
    for record in sorted(records, key=lambda record: record.created_at):
        for name, version in record.versions.items():
            known = seen.setdefault(name, [])
            if version not in known:
                known.append(version)
    return {name: ", ".join(versions) for name, versions in seen.items()}


def spent_of(run: RunFolder) -> Iterable[Spent]:
    """Every phase that left its time, in the order of the run."""
    for number in [0, *run.rounds]:
        checkpoint, evaluation = run.checkpoints.get(number), run.evals.get(number)
        if checkpoint:
            cost = checkpoint.cost
            yield Spent("train", number, cost.wall_s, cost.tokens, cost.peak_memory_bytes, cost.utilisation)
        elif number:
            walls = [event.get("wall_s") for event in run.of_kind("step") if event.get("round", 1) == number]
            known = [float(wall) for wall in walls if isinstance(wall, int | float)]
            if known:
                yield Spent("train", number, max(known), from_events=True)
        if evaluation:
            phase = "eval" if number else "base"
            yield Spent(phase, number, evaluation.wall_s, evaluation.generated_tokens)


def elapsed_s(run: RunFolder) -> float | None:
    """Seconds from the first event to the last, pauses between starts included."""
    times = []
    for event in run.events:
        try:
            times.append(datetime.fromisoformat(str(event.get("time"))))
        except ValueError:
            continue
    return (max(times) - min(times)).total_seconds() if len(times) > 1 else None
