"""From step events to one curve a round; a step that a resumed run did again counts once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tuneloop.core.events import Event, last_by_step
from tuneloop.report.folder import RunFolder
from tuneloop.report.scale import Point, running_mean, smoothing_window


@dataclass(frozen=True)
class Mark:
    """A place on the step axis with a word about it."""

    x: float
    text: str


@dataclass(frozen=True)
class Curve:
    """Training of one round; x is the number of steps since the round began, over all its stages."""

    round: int
    loss: tuple[Point, ...]
    smoothed: tuple[Point, ...]
    window: int
    """Steps that the smoothing averages over; 1 is no smoothing."""
    learning_rate: tuple[Point, ...]
    validation: tuple[Point, ...]
    skipped: tuple[Mark, ...]
    stages: tuple[Mark, ...]
    """Where each stage after the first begins."""
    kept: Mark | None
    done: int
    planned: int

    @property
    def last_loss(self) -> float | None:
        """The mean over the last steps, as many as the smoothing takes."""
        last = [value for _, value in self.loss[-self.window :]]
        return sum(last) / len(last) if last else None

    @property
    def best_validation(self) -> Point | None:
        """The step and the value of the lowest validation loss."""
        return min(self.validation, key=lambda point: point[1], default=None)


def curve_of(run: RunFolder, number: int) -> Curve | None:
    """The curve of one round, or None where no step is recorded."""
    steps = _of_round(run.of_kind("step"), number)
    if not steps:
        return None
    offsets, planned = _stage_offsets(steps)

    def place(event: Event) -> float:
        return float(offsets.get(event.get("stage", 1), 0) + event["step"])

    loss = _points(steps, "loss", place)
    window = smoothing_window(len(loss))
    means = running_mean([value for _, value in loss], window)
    checkpoint = run.checkpoints.get(number)
    # With several stages a bare step number does not say which stage it belongs to.
    kept = Mark(checkpoint.step, "") if checkpoint and len(offsets) == 1 and checkpoint.step > 0 else None
    return Curve(
        round=number,
        loss=loss,
        smoothed=tuple((x, mean) for (x, _), mean in zip(loss, means, strict=True)) if window > 1 else (),
        window=window,
        learning_rate=_points(steps, "learning_rate", place),
        validation=_points(_of_round(run.of_kind("validation"), number), "loss", place),
        skipped=tuple(
            Mark(place(event), str(event.get("reason", ""))) for event in _of_round(run.of_kind("skipped"), number)
        ),
        stages=tuple(Mark(offset, str(stage)) for stage, offset in offsets.items() if offset > 0),
        kept=kept,
        done=int(max(place(event) for event in steps)),
        planned=planned,
    )


def last_step(run: RunFolder, number: int) -> Event | None:
    """The step event with the highest (stage, step) of a round."""
    steps = _of_round(run.of_kind("step"), number)
    return steps[-1] if steps else None


def _of_round(events: Iterable[Event], number: int) -> list[Event]:
    whole = (event for event in events if isinstance(event.get("step"), int) and event.get("round", 1) == number)
    return last_by_step(iter(whole))


def _stage_offsets(steps: Sequence[Event]) -> tuple[dict[int, int], int]:
    """Steps before each stage, and steps of all stages seen."""
    lengths: dict[int, int] = {}
    for event in steps:
        stage = event.get("stage", 1)
        lengths[stage] = max(lengths.get(stage, 0), int(event.get("steps") or 0), event["step"])
    offsets, total = {}, 0
    for stage in sorted(lengths):
        offsets[stage] = total
        total += lengths[stage]
    return offsets, total


def _points(events: Iterable[Event], key: str, place: Any) -> tuple[Point, ...]:
    """Numbers only: a loss that was not finite is written as null and leaves a gap."""
    return tuple(
        (place(event), float(value))
        for event in events
        if isinstance(value := event.get(key), int | float) and abs(value) < float("inf")
    )
