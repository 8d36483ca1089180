"""The target is missed and both losses still fall: train on."""

from tuneloop.iterate.curves import Curves
from tuneloop.iterate.records import Finding, Prescription

_STILL_FALLING = 0.005


def find_undertraining(curves: Curves) -> Finding | None:
    """Fires where the last validation was the lowest, and both losses fell by more than 0.5 % since the one before."""
    if len(curves.validation_losses) < 2:  # noqa: PLR2004 - a fall needs two points
        return None
    before, last = curves.validation_losses[-2:]
    step_before, last_step = curves.validation_steps[-2:]
    train_before, train_last = curves.train_loss_around(step_before), curves.train_loss_around(last_step)
    falls = last < before * (1 - _STILL_FALLING) and train_last < train_before * (1 - _STILL_FALLING)
    if not falls or last > min(curves.validation_losses):
        return None
    return Finding(
        rule="undertraining",
        text=(
            f"The target is missed, and at the end both losses still fell: validation {before:.3f} to {last:.3f}, "
            f"training {train_before:.3f} to {train_last:.3f} (steps {step_before} to {last_step})."
        ),
        evidence={"last_step": last_step, "loss_before": before, "last_loss": last},
    )


def prescribe_more_epochs(finding: Finding, curves: Curves) -> Prescription:
    """Twice the epochs, from the base again, so that the learning rate decays once and over the whole way."""
    epochs = round(curves.num_train_epochs * 2, 2)
    return Prescription(
        rule=finding.rule,
        text=f"Train {epochs:g} epochs instead of {curves.num_train_epochs:g}.",
        changes={"stages.-1.num_train_epochs": epochs},
    )
