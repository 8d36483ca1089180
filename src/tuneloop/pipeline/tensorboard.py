"""The curves of a run for TensorBoard, as one more listener of its events."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tuneloop.core.events import Event

_CURVES = ("loss", "learning_rate", "grad_norm", "tokens_per_s", "target_tokens_per_s", "utilisation")


class TensorBoard:
    """Writes loss, learning rate, speed, use of the device and validation loss as scalars, a folder a round."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def __call__(self, event: Event) -> None:
        """Take one event; those without a curve are left alone."""
        match event["kind"]:
            case "step":
                for name in _CURVES:
                    self._add(event, f"train/{name}", event[name])
            case "validation":
                self._add(event, "validation/loss", event["loss"])

    def _add(self, event: Event, tag: str, value: object) -> None:
        from torch.utils.tensorboard import SummaryWriter

        number = event["round"]
        if number not in self._writers:
            self._writers[number] = SummaryWriter(str(self._folder / f"round-{number}"))
        if isinstance(value, float):
            self._writers[number].add_scalar(tag, value, event["step"])
