"""NaN and infinity: shown at their step, not applied, and after five in a row the end."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tuneloop.batch import Batch, Counts, Model
from tuneloop.core.errors import ExitCode, NonFiniteError, StoppedError
from tuneloop.core.events import Event
from tuneloop.objectives.sft import Sft
from tuneloop.train import stage as stage_module
from tuneloop.train import step as step_module
from tuneloop.train.job import TrainJob
from tuneloop.tune.config import FreezeConfig
from unit.train.training_kit import STAGE, Lab, Watch, outcome, stop_at, write_shallow_model


@dataclass
class Poisoned(Sft):
    """Spoils loss or gradient of chosen steps, counted from 1; every step has a single micro-batch."""

    steps: set[int]
    what: str
    value: float = math.nan
    calls: int = field(default=0)

    def loss(self, model: Model, batch: Batch, counts: Counts) -> Tensor:
        loss = super().loss(model, batch, counts)
        self.calls += 1
        if self.calls in self.steps:
            if self.what == "loss":
                return loss * self.value
            loss.register_hook(lambda gradient: gradient * self.value)
        return loss


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shallow: nothing here depends on depth."""
    return write_shallow_model(tmp_path_factory.mktemp("shallow"))


Poison = Callable[..., None]
ONE_BATCH = STAGE.replace(micro_batch_tokens=4096, eval_steps=4)


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    """Spoil steps of whatever is trained from now on; steps of one process are counted."""

    def put(steps: set[int], what: str = "loss", value: float = math.nan) -> None:
        monkeypatch.setattr(stage_module, "build_objective", lambda _: Poisoned(steps, what, value))

    return put


@pytest.fixture
def lab(tiny_model: Path, tmp_path: Path) -> Lab:
    return Lab(tiny_model, tmp_path, stages=(ONE_BATCH,))


def weights_by_step(lab: Lab) -> tuple[dict[int, dict[str, Tensor]], Callable[[Watch, Event], None], TrainJob]:
    """The trainable weights after each step, filled while the job runs."""
    job = lab.job()
    seen = {0: {name: parameter.detach().clone() for name, parameter in job.trainable.items()}}

    def look(watch: Watch, event: Event) -> None:
        del watch
        if event["kind"] == "step":
            seen[event["step"]] = {name: parameter.detach().clone() for name, parameter in job.trainable.items()}

    return seen, look, job


KINDS = [("loss", math.nan), ("loss", math.inf), ("loss", -math.inf), ("gradient", math.nan), ("gradient", math.inf)]


@pytest.mark.parametrize(("what", "value"), KINDS)
def test_a_spoiled_step_is_told_and_not_applied(what: str, value: float, poison: Poison, lab: Lab) -> None:
    bad = {2, 5, 8}
    poison(bad, what, value)
    seen, look, job = weights_by_step(lab)
    watch = Watch(look)
    result = lab.fit_job(job, watch)
    assert {event["step"] for event in watch.of_kind("skipped")} == bad
    for step in range(1, 9):
        is_same = all(torch.equal(seen[step][name], tensor) for name, tensor in seen[step - 1].items())
        assert is_same is (step in bad)
    assert all(torch.isfinite(tensor).all() for tensor in seen[8].values())
    assert (result.progress.skipped, result.progress.skipped_in_a_row) == (3, 1)
    newest, _ = lab.checkpoints.newest()
    assert newest is not None
    state = lab.checkpoints.load_optimizer(newest)
    assert {float(tensor) for name, tensor in state.items() if name.startswith("step/")} == {5.0}
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


@pytest.mark.parametrize(("what", "value"), KINDS)
def test_events_show_what_it_was_and_stay_json(what: str, value: float, poison: Poison, lab: Lab) -> None:
    poison({3}, what, value)
    watch = Watch()
    lab.fit(watch)
    event = watch.of_kind("step")[2]
    shown = event["loss"] if what == "loss" else event["grad_norm"]
    assert shown == str(value * 1.0) if what == "loss" else shown in {"nan", "inf"}
    if what == "gradient":
        assert isinstance(event["loss"], float)
    assert f"{what if what == 'loss' else 'gradient norm'} {shown}" in watch.of_kind("skipped")[0]["reason"]
    json.dumps(watch.events, allow_nan=False)


def test_five_in_a_row_end_the_run(poison: Poison, lab: Lab) -> None:
    poison({2, 3, 4, 5, 6})
    seen, look, job = weights_by_step(lab)
    watch = Watch(look)
    with pytest.raises(NonFiniteError) as caught:
        lab.fit_job(job, watch)
    assert caught.value.exit_code == ExitCode.NON_FINITE == 4
    assert "step 6" in str(caught.value)
    assert "stages.0.learning_rate" in str(caught.value)
    assert [event["step"] for event in watch.of_kind("skipped")] == [2, 3, 4, 5, 6]
    assert all(torch.equal(parameter, seen[1][name]) for name, parameter in job.trainable.items())


def test_four_in_a_row_do_not_and_a_good_step_begins_the_count_again(poison: Poison, lab: Lab) -> None:
    stage = ONE_BATCH.replace(num_train_epochs=3)
    poison({1, 2, 3, 4, 6, 7, 8, 9})
    longer = Lab(lab.base, lab.folder, stages=(stage,))
    progress = longer.fit().progress
    assert (progress.skipped, progress.skipped_in_a_row, progress.step) == (8, 0, 12)


def test_the_count_goes_on_over_a_restart(poison: Poison, lab: Lab) -> None:
    poison({2, 3, 4})
    with pytest.raises(StoppedError):
        lab.fit(Watch(stop_at("step", 4)))
    poison({1, 2})
    watch = Watch()
    with pytest.raises(NonFiniteError, match="step 6"):
        lab.fit(watch)
    assert [event["step"] for event in watch.of_kind("skipped")] == [5, 6]


def test_a_skipped_step_does_not_shift_the_others(poison: Poison, lab: Lab, tmp_path: Path) -> None:
    """The rows, the rate and the dropout of a step depend on its number, not on what became of earlier ones."""
    clean, spoiled = Watch(), Watch()
    lab.fit(clean)
    poison({2})
    Lab(lab.base, tmp_path / "spoiled", stages=lab.stages).fit(spoiled)
    for name in ("learning_rate", "tokens", "target_tokens"):
        assert [event[name] for event in spoiled.of_kind("step")] == [event[name] for event in clean.of_kind("step")]
    assert spoiled.of_kind("step")[0]["loss"] == clean.of_kind("step")[0]["loss"]


def test_a_poisoned_frozen_weight_ends_the_run_before_anything_moves(lab: Lab) -> None:
    frozen = Lab(lab.base, lab.folder, tune=FreezeConfig(trainable_blocks=1), stages=lab.stages)
    seen, look, job = weights_by_step(frozen)
    with torch.no_grad():
        job.model.base.get_input_embeddings().weight[5] = math.nan
    for row in frozen.rows:
        row.ids[0] = 5
    watch = Watch(look)
    with pytest.raises(NonFiniteError, match="step 5"):
        frozen.fit_job(job, watch)
    assert all(torch.equal(parameter, seen[0][name]) for name, parameter in job.trainable.items())


def test_a_poisoned_trained_weight_is_not_spread(lab: Lab) -> None:
    """One NaN among the trained weights: every loss is NaN, and no other weight becomes it."""
    frozen = Lab(lab.base, lab.folder, tune=FreezeConfig(trainable_blocks=1), stages=lab.stages)
    job = frozen.job()
    with torch.no_grad():
        next(iter(job.trainable.values()))[0, 0] = math.nan
    with pytest.raises(NonFiniteError):
        frozen.fit_job(job)
    assert sum(int(torch.isnan(parameter).sum()) for parameter in job.trainable.values()) == 1


def test_a_validation_that_is_not_finite_is_shown_and_never_the_best(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([math.nan, 2.0, math.inf, 3.0])
    monkeypatch.setattr(stage_module, "mean_loss", lambda *_, **__: next(losses))
    watch = Watch()
    stage = ONE_BATCH.replace(eval_steps=2)
    result = Lab(lab.base, lab.folder, stages=(stage,)).fit(watch)
    assert [event["loss"] for event in watch.of_kind("validation")] == ["nan", 2.0, "inf", 3.0]
    assert (result.progress.best_step, result.progress.best_loss) == (4, 2.0)
    assert result.manifest.progress.step == 4


def spoiled_wrongly(lab: Lab, poison: Poison) -> list[int]:
    """Spoil 100 random steps of 300, in every way; returns the steps that were told or applied otherwise."""
    chance = random.Random(0)
    wrong: list[int] = []
    for number, (what, value) in enumerate(KINDS):
        bad = set(chance.sample(range(1, 61), 20))
        poison(bad, what, value)
        stage = ONE_BATCH.replace(num_train_epochs=15, max_skipped_steps=61, learning_rate=1e-3)
        one = Lab(lab.base, lab.folder / str(number), stages=(stage,))
        seen, look, job = weights_by_step(one)
        watch = Watch(look)
        one.fit_job(job, watch)
        told = {event["step"] for event in watch.of_kind("skipped")}
        for step in range(1, 61):
            moved = any(not torch.equal(seen[step][name], tensor) for name, tensor in seen[step - 1].items())
            finite = all(torch.isfinite(tensor).all() for tensor in seen[step].values())
            if (step in told) != (step in bad) or moved != (step not in bad) or not finite:
                wrong.append(step)
    return wrong


@pytest.mark.slow
def test_a_hundred_spoiled_steps(lab: Lab, poison: Poison) -> None:
    assert spoiled_wrongly(lab, poison) == []


@pytest.mark.slow
def test_a_gate_that_looks_at_the_loss_alone_is_caught(
    lab: Lab, poison: Poison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: a gradient that is not finite is applied where the loss is."""
    monkeypatch.setattr(step_module, "clip_grad_norm_", lambda parameters, _: torch.ones(()) if parameters else None)
    assert spoiled_wrongly(lab, poison) != []


def test_resuming_through_skipped_steps_gives_the_same_bits(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the poison hangs on the step's own rows, so that it is the same after a restart."""

    class SpoiledRows(Sft):
        def loss(self, model: Model, batch: Batch, counts: Counts) -> Tensor:
            loss = super().loss(model, batch, counts)
            return loss * math.nan if int(batch.ids_T[0]) % 3 == 0 else loss

    monkeypatch.setattr(stage_module, "build_objective", lambda _: SpoiledRows())
    whole = Lab(lab.base, tmp_path / "whole", stages=lab.stages)
    expected = outcome(whole, whole.fit())
    assert 0 < expected["progress"]["skipped"] < 8
    for step in (2, 5):
        cut = Lab(lab.base, tmp_path / str(step), stages=lab.stages)
        with pytest.raises(StoppedError):
            cut.fit(Watch(stop_at("step", step)))
        assert outcome(cut, cut.fit()) == expected
