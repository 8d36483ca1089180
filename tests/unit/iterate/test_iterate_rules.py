"""The rules on made curves: when they fire, when they do not, and what they change."""

import math
from collections.abc import Callable, Sequence

import pytest

from tuneloop.data.config import DataConfig, FileSpec
from tuneloop.iterate.curves import Curves, read_curves
from tuneloop.iterate.diagnose import Diagnosis, diagnose
from tuneloop.iterate.rules.overfitting import find_overfitting, prescribe_fewer_epochs
from tuneloop.iterate.rules.undertraining import find_undertraining, prescribe_more_epochs
from tuneloop.plan import Plan
from tuneloop.train.config import StageConfig

PLAN = Plan(data=DataConfig(train=(FileSpec(path="a.jsonl"),)), stages=(StageConfig(), StageConfig(num_train_epochs=4)))


def curves(
    validation: Sequence[float],
    train: Callable[[int], float] = lambda step: 2.0 - 0.01 * step,
    *,
    every: int = 10,
    epochs: float = 4.0,
) -> Curves:
    """A validation every `every` steps, and a training loss at each step."""
    total = every * len(validation)
    steps = list(range(1, total + 1))
    return Curves(
        steps=steps,
        train_losses=[train(step) for step in steps],
        validation_steps=list(range(every, total + 1, every)),
        validation_losses=list(validation),
        num_train_epochs=epochs,
        total_steps=total,
    )


@pytest.mark.parametrize(
    ("validation", "fires"),
    [
        ([1.5, 1.2, 1.0, 1.3], True),
        ([1.0, 1.1, 1.2, 1.3], True),
        ([1.5, 1.0, 1.021, 1.021], True),
        # Two per cent are noise.
        ([1.5, 1.0, 1.019, 1.019], False),
        ([1.5, 1.3, 1.1, 1.0], False),
        # It rose on the way and came back.
        ([1.0, 1.4, 1.2, 1.01], False),
        ([1.0], False),
        ([], False),
    ],
)
def test_overfitting(validation: list[float], *, fires: bool) -> None:
    assert (find_overfitting(curves(validation)) is not None) is fires


@pytest.mark.parametrize("train", [lambda _: 1.0, lambda step: 1.0 + 0.01 * step])
def test_overfitting_needs_a_falling_training_loss(train: Callable[[int], float]) -> None:
    """Where both rise it is something else: a learning rate that is too high."""
    assert find_overfitting(curves([1.5, 1.0, 1.3, 1.6], train)) is None


def test_overfitting_without_training_losses() -> None:
    bare = Curves([], [], [10, 20], [1.0, 2.0], 4.0, 20)
    assert find_overfitting(bare) is None
    assert find_undertraining(Curves([], [], [10, 20], [2.0, 1.0], 4.0, 20)) is None


def test_overfitting_says_what_it_saw() -> None:
    made = curves([1.5, 1.0, 1.2, 1.4])
    finding = find_overfitting(made)
    assert finding is not None
    assert finding.rule == "overfitting"
    assert finding.evidence == {"best_step": 20, "last_step": 40, "best_loss": 1.0, "last_loss": 1.4}
    # A tenth of 40 steps is 4: the mean of steps 17 to 20 and of 37 to 40.
    assert finding.text == (
        "Validation loss rose from 1.000 (step 20) to 1.400 (step 40) while training loss fell from 1.815 to 1.615: "
        "the rows are being learned by heart."
    )


@pytest.mark.parametrize(
    ("validation", "epochs", "expected"),
    [
        ([1.5, 1.0, 1.2, 1.4], 4.0, 2.0),
        ([1.0, 1.1, 1.2, 1.4], 4.0, 1.0),
        ([1.5, 1.2, 1.0, 1.4], 3.0, 2.25),
        ([1.5, 1.0, 1.4], 1.0, 0.67),
        # Never less than a quarter of an epoch.
        ([1.0, 1.2, 1.4, 1.5, 1.6], 1.0, 0.25),
        ([1.0, 1.2, 1.4, 1.5, 1.6], 0.5, 0.25),
    ],
)
def test_fewer_epochs(validation: list[float], epochs: float, expected: float) -> None:
    made = curves(validation, epochs=epochs)
    finding = find_overfitting(made)
    assert finding is not None
    remedy = prescribe_fewer_epochs(finding, made)
    assert remedy is not None
    assert remedy.changes == {"stages.-1.num_train_epochs": expected}
    assert remedy.text == f"Train {expected:g} epochs instead of {epochs:g}."
    assert PLAN.with_changes(remedy.changes).stages == (StageConfig(), StageConfig(num_train_epochs=expected))


def test_no_fewer_epochs_than_the_fewest() -> None:
    made = curves([1.0, 1.2, 1.4, 1.5, 1.6], epochs=0.25)
    finding = find_overfitting(made)
    assert finding is not None
    assert prescribe_fewer_epochs(finding, made) is None
    assert diagnose(made) == Diagnosis((finding,), None)


@pytest.mark.parametrize(
    ("validation", "fires"),
    [
        ([2.0, 1.5, 1.2], True),
        ([1.5, 1.4], True),
        ([2.0, 1.0, 0.994], True),
        # Half a per cent is standing still.
        ([2.0, 1.0, 0.996], False),
        ([2.0, 1.0, 1.0], False),
        ([2.0, 1.0, 1.1], False),
        # Still falling, but it was lower before.
        ([1.0, 1.5, 1.2], False),
        ([1.0], False),
        ([], False),
    ],
)
def test_undertraining(validation: list[float], *, fires: bool) -> None:
    assert (find_undertraining(curves(validation)) is not None) is fires


@pytest.mark.parametrize("train", [lambda _: 1.0, lambda step: 1.0 - 0.0001 * step, lambda step: 1.0 + 0.01 * step])
def test_undertraining_needs_a_falling_training_loss(train: Callable[[int], float]) -> None:
    assert find_undertraining(curves([2.0, 1.5, 1.2], train)) is None


def test_more_epochs() -> None:
    made = curves([2.0, 1.5, 1.2], epochs=1.5)
    finding = find_undertraining(made)
    assert finding is not None
    assert finding.evidence == {"last_step": 30, "loss_before": 1.5, "last_loss": 1.2}
    assert "validation 1.500 to 1.200, training 1.810 to 1.710 (steps 20 to 30)" in finding.text
    remedy = prescribe_more_epochs(finding, made)
    assert remedy.changes == {"stages.-1.num_train_epochs": 3.0}
    assert remedy.text == "Train 3 epochs instead of 1.5."
    changed = PLAN.with_changes(remedy.changes)
    assert changed.stages[-1].num_train_epochs == 3.0
    assert changed.replace(stages=PLAN.stages) == PLAN


@pytest.mark.parametrize(
    ("validation", "rules", "remedy"),
    [
        ([1.5, 1.0, 1.2, 1.4], ["overfitting"], 2.0),
        ([2.0, 1.5, 1.2], ["undertraining"], 8.0),
        ([1.5, 1.0, 1.0, 1.0], [], None),
        ([], [], None),
    ],
)
def test_diagnose(validation: list[float], rules: list[str], remedy: float | None) -> None:
    found = diagnose(curves(validation))
    assert [finding.rule for finding in found.findings] == rules
    if remedy is None:
        assert found.prescription is None
    else:
        assert found.prescription is not None
        assert found.prescription.rule == rules[0]
        assert found.prescription.changes == {"stages.-1.num_train_epochs": remedy}


def test_the_rules_never_contradict_each_other() -> None:
    for a in range(8, 13):
        for b in range(8, 13):
            for c in range(8, 13):
                assert len(diagnose(curves([a / 10, b / 10, c / 10])).findings) <= 1


def test_best_step_is_the_first_of_equals() -> None:
    assert curves([1.5, 1.0, 1.2, 1.0]).best_step == 20


def test_train_loss_is_a_mean_of_a_tenth() -> None:
    made = curves([1.0] * 5, float)
    assert made.train_loss_around(50) == (46 + 47 + 48 + 49 + 50) / 5
    assert made.train_loss_around(2) == 1.5
    assert math.isnan(made.train_loss_around(0))
    short = curves([1.0], float, every=3)
    assert short.train_loss_around(3) == 3.0


def event(step: int, loss: object, *, stage: int = 1, steps: int = 8) -> dict[str, object]:
    return {"stage": stage, "step": step, "loss": loss, "steps": steps}


def test_read_curves_takes_the_last_stage() -> None:
    made = read_curves(
        [event(1, 9.0), event(2, 8.0), event(1, 3.0, stage=2, steps=4), event(2, 2.0, stage=2, steps=4)],
        [event(2, 9.5), event(2, 2.5, stage=2)],
        num_train_epochs=2.0,
    )
    assert made == Curves([1, 2], [3.0, 2.0], [2], [2.5], 2.0, 4)


def test_read_curves_leaves_out_what_is_not_finite() -> None:
    """As the loop writes it into events: by name."""
    made = read_curves(
        [event(1, 3.0), event(2, "nan"), event(3, 2.0)], [event(1, "inf"), event(3, 2.5)], num_train_epochs=2.0
    )
    assert (made.steps, made.validation_steps, made.validation_losses) == ([1, 3], [3], [2.5])


def test_read_curves_of_nothing() -> None:
    made = read_curves([], [], num_train_epochs=1.0)
    assert made == Curves([], [], [], [], 1.0, 0)
    assert diagnose(made) == Diagnosis((), None)
