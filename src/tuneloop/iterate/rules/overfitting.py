"""Validation loss rises while training loss falls: fewer epochs."""

from tuneloop.iterate.curves import Curves
from tuneloop.iterate.records import Finding, Prescription

_RISE = 0.02


def find_overfitting(curves: Curves) -> Finding | None:
    """Fires where the last validation loss is more than 2 % above the lowest, and training loss fell since then."""
    if len(curves.validation_losses) < 2:  # noqa: PLR2004 - a rise needs two points
        return None
    best_step, last_step = curves.best_step, curves.validation_steps[-1]
    best, last = min(curves.validation_losses), curves.validation_losses[-1]
    train_then, train_now = curves.train_loss_around(best_step), curves.train_loss_around(last_step)
    if last <= best * (1 + _RISE) or not train_now < train_then:
        return None
    return Finding(
        rule="overfitting",
        text=(
            f"Validation loss rose from {best:.3f} (step {best_step}) to {last:.3f} (step {last_step}) while training "
            f"loss fell from {train_then:.3f} to {train_now:.3f}: the rows are being learned by heart."
        ),
        evidence={"best_step": best_step, "last_step": last_step, "best_loss": best, "last_loss": last},
    )


def prescribe_fewer_epochs(finding: Finding, curves: Curves) -> Prescription | None:
    """As many epochs as led to the lowest validation loss; None where that is what the plan says already."""
    share = int(finding.evidence["best_step"]) / curves.total_steps
    epochs = round(max(curves.num_train_epochs * share, 0.25), 2)
    if epochs >= curves.num_train_epochs:
        return None
    return Prescription(
        rule=finding.rule,
        text=f"Train {epochs:g} epochs instead of {curves.num_train_epochs:g}.",
        changes={"stages.-1.num_train_epochs": epochs},
    )
