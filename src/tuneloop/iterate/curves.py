"""The training of one round as rules see it: plain numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any


@dataclass(frozen=True)
class Curves:
    """Losses of the last stage of one round."""

    steps: Sequence[int]
    train_losses: Sequence[float]
    """Of the same steps."""
    validation_steps: Sequence[int]
    validation_losses: Sequence[float]
    """Of the same validation steps."""
    num_train_epochs: float
    total_steps: int
    """Steps that the stage had planned."""

    @property
    def best_step(self) -> int:
        """The step with the lowest validation loss."""
        return min(zip(self.validation_losses, self.validation_steps, strict=True))[1]

    def train_loss_around(self, step: int) -> float:
        """Mean train loss over a tenth of the stage that ends at `step`: single steps are noisy."""
        width = max(1, self.total_steps // 10)
        window = [loss for at, loss in zip(self.steps, self.train_losses, strict=True) if step - width < at <= step]
        return fmean(window) if window else float("nan")


def read_curves(
    steps: Sequence[dict[str, Any]], validations: Sequence[dict[str, Any]], *, num_train_epochs: float
) -> Curves:
    """From a round's events, one a step; values that are not finite are left out."""
    stage = max((event["stage"] for event in steps), default=1)
    steps = [event for event in steps if event["stage"] == stage and isinstance(event["loss"], float)]
    validations = [event for event in validations if event["stage"] == stage and isinstance(event["loss"], float)]
    return Curves(
        steps=[event["step"] for event in steps],
        train_losses=[event["loss"] for event in steps],
        validation_steps=[event["step"] for event in validations],
        validation_losses=[event["loss"] for event in validations],
        num_train_epochs=num_train_epochs,
        total_steps=max((event["steps"] for event in steps), default=0),
    )
