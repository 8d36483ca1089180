"""Stopped or killed anywhere and begun again: the same bits as a run that nothing interrupted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tuneloop.batch import Batch
from tuneloop.core.errors import ConfigError, DataError, IntegrityError, StoppedError
from tuneloop.core.events import Event
from tuneloop.core.stop import Stop
from tuneloop.train import feed
from tuneloop.train import stage as stage_module
from tuneloop.train.checkpoint import Checkpoints
from tuneloop.train.config import StageConfig
from tuneloop.train.tensors import blobs_of
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig
from unit.train.training_kit import (
    STAGE,
    Killed,
    Lab,
    Watch,
    flip_bit,
    kill_at,
    manifests,
    outcome,
    random_rows,
    stop_at,
    write_shallow_model,
)

TUNES: dict[str, TuneConfig] = {
    "lora": LoraConfig(rank=2, alpha=4, dropout=0.2),
    "freeze": FreezeConfig(trainable_blocks=1),
    "full": FullConfig(),
}
TWO_STAGES = (
    STAGE.replace(num_train_epochs=1, eval_steps=2),
    STAGE.replace(num_train_epochs=1, batch_size=7, eval_steps=1, lr_scheduler_type="linear"),
)
"""Of 4 steps and of 2."""


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shallow: nothing here depends on depth."""
    return write_shallow_model(tmp_path_factory.mktemp("shallow"))


Uninterrupted = Callable[..., tuple[dict[str, Any], list[Event]]]


@pytest.fixture(scope="module")
def uninterrupted(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """How a job ends that nothing interrupts, and its events; each kind of job is done once."""
    known: dict[str, tuple[dict[str, Any], list[Event]]] = {}

    def get(kind: str, stages: tuple[StageConfig, ...] = (STAGE,)) -> tuple[dict[str, Any], list[Event]]:
        key = f"{kind} {stages}"
        if key not in known:
            lab = Lab(tiny_model, tmp_path_factory.mktemp("whole"), tune=TUNES[kind], stages=stages)
            watch = Watch()
            known[key] = outcome(lab, lab.fit(watch)), watch.events
        return known[key]

    return get


def of_steps(events: list[Event], kind: str) -> dict[tuple[int, int], float]:
    """(stage, step) -> loss; where a step was done twice, the later one."""
    return {(event["stage"], event["step"]): event["loss"] for event in events if event["kind"] == kind}


def test_a_job_has_the_expected_shape(uninterrupted: Uninterrupted) -> None:
    """14 rows in batches of 4 for two epochs: what the interruptions below rely on."""
    result, events = uninterrupted("lora")
    assert [event["step"] for event in events if event["kind"] == "step"] == list(range(1, 9))
    assert [event["step"] for event in events if event["kind"] == "validation"] == [3, 6, 8]
    assert [event["step"] for event in events if event["kind"] == "saved"] == [3, 6, 8]
    assert result["progress"]["finished"]
    assert result["progress"]["total_steps"] == 8


def fast_or_slow(cases: list[tuple[Any, ...]], fast: set[tuple[Any, ...]]) -> list[Any]:
    """A few cases at every run, all of them in the slow lane."""
    return [pytest.param(*case, marks=[] if case in fast else [pytest.mark.slow]) for case in cases]


STOPS = fast_or_slow(
    [(kind, step) for kind in TUNES for step in range(1, 9)],
    {("lora", 1), ("lora", 3), ("lora", 4), ("lora", 8), ("freeze", 4), ("full", 6)},
)


@pytest.mark.parametrize(("kind", "step"), STOPS)
def test_stopped_after_a_step(
    kind: str, step: int, tiny_model: Path, tmp_path: Path, uninterrupted: Uninterrupted
) -> None:
    """4 is the border of an epoch, 8 the last step; after 3, 6 and 8 the stop falls into the validation."""
    expected, events = uninterrupted(kind)
    lab = Lab(tiny_model, tmp_path, tune=TUNES[kind])
    first = Watch(stop_at("step", step))
    with pytest.raises(StoppedError):
        lab.fit(first)
    newest, _ = lab.checkpoints.newest()
    assert newest is not None
    assert newest.progress.step == step
    assert not newest.progress.finished
    second = Watch()
    assert outcome(lab, lab.fit(second)) == expected
    assert [event["step"] for event in second.of_kind("resumed")] == [step]
    assert [event["step"] for event in second.of_kind("step")] == list(range(step + 1, 9))
    for name in ("step", "validation"):
        assert of_steps(first.events + second.events, name) == of_steps(events, name)


def test_stopped_before_the_first_step(tiny_model: Path, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    lab = Lab(tiny_model, tmp_path)
    watch = Watch()
    watch.stop.requested = True
    with pytest.raises(StoppedError):
        lab.fit(watch)
    assert watch.of_kind("step") == []
    assert outcome(lab, lab.fit()) == uninterrupted("lora")[0]


class _StopInside(Stop):
    """Is asked to end at the n-th time that a loop looks."""

    def __init__(self, look: int) -> None:
        super().__init__()
        self.left = look

    def check(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.requested = True
        super().check()


@pytest.mark.parametrize("look", [1, 2, pytest.param(3, marks=pytest.mark.slow), 5])
def test_stopped_in_the_middle_of_a_validation(
    look: int, tiny_model: Path, tmp_path: Path, uninterrupted: Uninterrupted
) -> None:
    """Validation has several batches; the one that was cut off is done again from its beginning."""
    expected, events = uninterrupted("lora")
    lab = Lab(tiny_model, tmp_path)
    stopped = Watch(stop=_StopInside(look))
    with pytest.raises(StoppedError):
        lab.fit(stopped)
    assert len(stopped.of_kind("validation")) < 3
    watch = Watch()
    assert outcome(lab, lab.fit(watch)) == expected
    assert of_steps(stopped.events + watch.events, "validation") == of_steps(events, "validation")


@pytest.mark.slow
def test_stopped_again_and_again(tiny_model: Path, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    """One step a start, in both stages."""
    expected, _ = uninterrupted("lora", TWO_STAGES)
    lab = Lab(tiny_model, tmp_path, stages=TWO_STAGES)

    def stop_at_once(watch: Watch, event: Event) -> None:
        if event["kind"] == "step":
            watch.stop.requested = True

    starts = 0
    while True:
        starts += 1
        try:
            result = lab.fit(Watch(stop_at_once))
        except StoppedError:
            continue
        break
    assert starts == 7
    assert outcome(lab, result) == expected


KILLS = fast_or_slow(
    [
        *(("step", step) for step in range(1, 9)),
        *((kind, step) for kind in ("validation", "saved") for step in (3, 6, 8)),
    ],
    {("step", 1), ("step", 5), ("validation", 6), ("validation", 8), ("saved", 3)},
)


@pytest.mark.parametrize(("kind", "step"), KILLS)
def test_killed(kind: str, step: int, tiny_model: Path, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    expected, events = uninterrupted("lora")
    lab = Lab(tiny_model, tmp_path)
    first = Watch(kill_at(kind, step))
    with pytest.raises(Killed):
        lab.fit(first)
    second = Watch()
    assert outcome(lab, lab.fit(second)) == expected
    assert of_steps(first.events + second.events, "step") == of_steps(events, "step")
    # Lost work is at most what was done since the last save.
    assert len(second.of_kind("step")) <= 8 - max((at for at in (3, 6, 8) if at < step), default=0)


TWO_STAGE_KILLS = fast_or_slow(
    [("step", 1, 3), ("saved", 1, 4), ("step", 2, 1), ("validation", 2, 1), ("saved", 2, 1), ("step", 2, 2)],
    {("saved", 1, 4), ("validation", 2, 1)},
)


@pytest.mark.parametrize(("kind", "stage", "step"), TWO_STAGE_KILLS)
def test_killed_in_either_of_two_stages(
    kind: str, stage: int, step: int, tiny_model: Path, tmp_path: Path, uninterrupted: Uninterrupted
) -> None:
    expected, _ = uninterrupted("freeze", TWO_STAGES)
    lab = Lab(tiny_model, tmp_path, tune=TUNES["freeze"], stages=TWO_STAGES)
    with pytest.raises(Killed):
        lab.fit(Watch(kill_at(kind, step, stage)))
    assert outcome(lab, lab.fit()) == expected


@pytest.mark.parametrize("step", [6, 8])
def test_killed_between_the_two_manifests_of_a_save(
    step: int, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the validation loss falls at every validation (of rows that are trained on), so each is the best so far."""
    whole = Lab(tiny_model, tmp_path / "whole", tune=FullConfig(), eval_rows=random_rows(14)[:5])
    watch = Watch()
    expected = outcome(whole, whole.fit(watch))
    losses = list(of_steps(watch.events, "validation").values())
    assert losses == sorted(losses, reverse=True)
    lab = replace(whole, folder=tmp_path / "killed")
    publish = Checkpoints._publish
    published: list[tuple[str, int]] = []

    def die_between(path: Path, manifest: Any) -> None:
        if published and published[-1][1] == step == manifest.progress.step:
            raise Killed
        publish(path, manifest)
        published.append((path.name, manifest.progress.step))

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_publish", staticmethod(die_between))
        with pytest.raises(Killed):
            lab.fit()
    if step == 6:
        # From here on nothing is better any more: the best of the whole run is the one of the kill.
        monkeypatch.setattr(stage_module, "mean_loss", lambda *_, **__: 1e9)
        assert lab.fit().manifest.progress.step == step
    else:
        assert outcome(lab, lab.fit()) == expected


def test_a_finished_job_does_nothing_more(tiny_model: Path, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    lab = Lab(tiny_model, tmp_path)
    lab.fit()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    watch = Watch()
    assert outcome(lab, lab.fit(watch)) == uninterrupted("lora")[0]
    assert [event["kind"] for event in watch.events] == ["resumed"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_second_stage_begins_with_what_the_first_one_kept(
    keep: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses are made up so that the first of four steps is the best; the second stage has rate nearly 0."""
    losses = iter(range(1, 10))
    monkeypatch.setattr(stage_module, "mean_loss", lambda *_, **__: float(next(losses)))
    stages = (
        STAGE.replace(num_train_epochs=1, eval_steps=1, keep=keep),
        STAGE.replace(max_steps=1, learning_rate=1e-30, keep="last"),
    )
    lab = Lab(tiny_model, tmp_path, stages=stages)
    seen: dict[int, dict[str, torch.Tensor]] = {}

    def look(watch: Watch, event: Event) -> None:
        del watch
        if event["kind"] == "saved" and event["stage"] == 1:
            newest, _ = lab.checkpoints.newest()
            assert newest is not None
            seen[event["step"]] = lab.checkpoints.load_weights(newest)

    result = lab.fit(Watch(look))
    last = lab.checkpoints.load_weights(result.manifest)
    kept, other = (1, 4) if keep == "best" else (4, 1)
    assert all(torch.allclose(last[name], tensor, rtol=0, atol=1e-20) for name, tensor in seen[kept].items())
    assert not all(torch.allclose(last[name], tensor, rtol=0, atol=1e-20) for name, tensor in seen[other].items())
    assert (result.progress.stage, result.progress.best_step) == (2, 1)


OVERFIT = STAGE.replace(num_train_epochs=6, eval_steps=1, lr_scheduler_type="constant", learning_rate=3e-2)
"""24 steps on rows that say nothing about the held-out ones: their loss falls first and rises then."""


def validations(watch: Watch) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in watch.of_kind("validation")}


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["best", "last"])
def test_keep_best_or_last(keep: str, tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path, tune=FullConfig(), stages=(OVERFIT.replace(keep=keep),))
    job, watch = lab.job(), Watch()
    result = lab.fit_job(job, watch)
    losses = validations(watch)
    best_step = min(losses, key=lambda step: losses[step])
    assert best_step < 24
    assert result.progress.best_step == best_step
    assert result.progress.best_loss == losses[best_step]
    assert result.progress.last_validation_loss == losses[24]
    assert result.manifest.progress.step == (best_step if keep == "best" else 24)
    saved = lab.checkpoints.load_weights(result.manifest)
    assert all(torch.equal(parameter, saved[name]) for name, parameter in job.trainable.items())
    assert not job.model.network.training


@pytest.mark.parametrize("interrupted", [False, True])
def test_early_stopping(
    interrupted: bool,  # noqa: FBT001 - a parameter of pytest
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    """Ends after two validations without a lower loss, counted over a restart too."""
    lab = Lab(tiny_model, tmp_path, tune=FullConfig(), stages=(OVERFIT.replace(early_stopping_patience=2),))
    watch = Watch()
    if interrupted:
        best_so_far: list[float] = []

        def stop_after_the_first_rise(watch: Watch, event: Event) -> None:
            if event["kind"] == "validation":
                watch.stop.requested = bool(best_so_far) and event["loss"] > min(best_so_far)
                best_so_far.append(event["loss"])

        watch.react = stop_after_the_first_rise
        with pytest.raises(StoppedError):
            lab.fit(watch)
        watch.react = None
        watch.stop.requested = False
    result = lab.fit(watch)
    losses = validations(watch)
    best_step = min(losses, key=lambda step: losses[step])
    last = max(losses)
    assert last < 24
    in_a_row = 0
    for step in sorted(losses):
        in_a_row = 0 if losses[step] <= min(losses[at] for at in losses if at <= step) else in_a_row + 1
        assert (in_a_row == 2) == (step == last)
    assert [(event["step"], event["best_step"]) for event in watch.of_kind("early_stop")] == [(last, best_step)]
    assert result.progress.finished
    assert result.manifest.progress.step == best_step
    assert lab.fit(Watch()).manifest == result.manifest


def test_without_held_out_rows_the_last_step_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path, eval_rows=())
    watch = Watch()
    result = lab.fit(watch)
    assert watch.of_kind("validation") == []
    assert [event["step"] for event in watch.of_kind("saved")] == [3, 6, 8]
    assert result.manifest.progress.step == 8
    assert result.progress.best_loss is None


def test_no_rows_is_an_error_not_a_success(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows"):
        Lab(tiny_model, tmp_path, rows=()).fit()


def test_by_default_validation_comes_twice_an_epoch_and_at_the_end(tiny_model: Path, tmp_path: Path) -> None:
    """5 steps an epoch: every ceil(5 / 2) = 3 steps, and after the last."""
    stage = STAGE.replace(eval_steps=None, batch_size=3)
    watch = Watch()
    Lab(tiny_model, tmp_path, stages=(stage,)).fit(watch)
    assert [event["step"] for event in watch.of_kind("validation")] == [3, 6, 9, 10]


def test_another_fingerprint_is_refused_by_name(tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path)
    with pytest.raises(StoppedError):
        lab.fit(Watch(stop_at("step", 4)), fingerprint={"plan": "p", "threads": 1, "torch": "2.0"})
    before = manifests(lab)
    watch = Watch()
    with pytest.raises(ConfigError) as caught:
        lab.fit(watch, fingerprint={"plan": "p", "threads": 2, "device": "cpu"})
    message = str(caught.value)
    for part in ("threads: was 1, is 2", "torch: was '2.0', is None", "device: was None, is 'cpu'", "--accept-changes"):
        assert part in message
    assert "plan" not in message
    assert watch.events == []
    assert manifests(lab) == before


def test_another_fingerprint_is_accepted_when_asked_and_recorded(
    tiny_model: Path, tmp_path: Path, uninterrupted: Uninterrupted
) -> None:
    lab = Lab(tiny_model, tmp_path)
    with pytest.raises(StoppedError):
        lab.fit(Watch(stop_at("step", 4)), fingerprint={"threads": 1})
    watch = Watch()
    result = lab.fit(watch, fingerprint={"threads": 2}, accept_changes=True)
    assert [event["differences"] for event in watch.of_kind("resumed")] == [["threads: was 1, is 2"]]
    assert outcome(lab, result) == uninterrupted("lora")[0]
    newest, _ = lab.checkpoints.newest()
    assert newest is not None
    assert newest.fingerprint == {"threads": 2}


@pytest.mark.parametrize("part", ["weights", "optimizer", "manifest"])
def test_a_damaged_newest_checkpoint_is_told_and_the_older_one_used(
    part: str, tiny_model: Path, tmp_path: Path, uninterrupted: Uninterrupted
) -> None:
    lab = Lab(tiny_model, tmp_path)
    with pytest.raises(Killed):
        lab.fit(Watch(kill_at("step", 7)))
    newest, _ = lab.checkpoints.newest()
    assert newest is not None
    assert newest.progress.step == 6
    saved = newest.weights if part == "weights" else newest.optimizer
    (blob,) = blobs_of(saved or {})
    path = lab.checkpoints.path_of(newest) if part == "manifest" else tmp_path / "blobs" / blob
    flip_bit(path, path.stat().st_size // 2, 3)
    watch = Watch()
    assert outcome(lab, lab.fit(watch)) == uninterrupted("lora")[0]
    assert [str(path) in event["reason"] for event in watch.of_kind("damaged")] == [True]
    assert [event["step"] for event in watch.of_kind("resumed")] == [3]


def test_if_all_checkpoints_are_damaged_nothing_is_trained(tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path)
    with pytest.raises(Killed):
        lab.fit(Watch(kill_at("step", 7)))
    for path in tmp_path.glob("stage-*.json"):
        flip_bit(path, -3)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    watch = Watch()
    with pytest.raises(IntegrityError):
        lab.fit(watch)
    assert watch.events == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_damaged_best_checkpoint_never_comes_out(tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path, tune=FullConfig(), stages=(OVERFIT,))
    result = lab.fit()
    flip_bit(tmp_path / "blobs" / min(blobs_of(result.manifest.weights)), -1)
    with pytest.raises(IntegrityError):
        lab.fit()


@pytest.mark.slow
def test_at_every_save_two_manifests_and_no_orphan(tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path, tune=FullConfig(), stages=(OVERFIT,))
    counts: list[int] = []

    def look(watch: Watch, event: Event) -> None:
        del watch
        if event["kind"] == "saved":
            found = manifests(lab)
            used = {blob for manifest in found for blob in manifest.blobs}
            assert used == {path.name for path in (tmp_path / "blobs").iterdir()}
            counts.append(sum(manifest.optimizer is not None for manifest in found))

    lab.fit(Watch(look))
    assert counts == [1, *[2] * 23]


def visited(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The rows of every training step from now on, in the order of the steps."""
    ledger: list[list[str]] = []
    original = feed.Feed.batches

    def note(self: feed.Feed, step: int, *, last: bool) -> list[Batch]:
        chosen = self.epochs.rows_of_step(self.config.batch_size, step)
        ledger.append([self.job.rows[index].origin for index in chosen])
        return original(self, step, last=last)

    monkeypatch.setattr(feed.Feed, "batches", note)
    return ledger


@pytest.mark.parametrize("interruption", ["none", "stopped", "killed"])
def test_every_row_is_visited_once_an_epoch(
    interruption: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = visited(monkeypatch)
    lab = Lab(tiny_model, tmp_path)
    if interruption == "stopped":
        with pytest.raises(StoppedError):
            lab.fit(Watch(stop_at("step", 5)))
    elif interruption == "killed":
        with pytest.raises(Killed):
            lab.fit(Watch(kill_at("step", 5)))
        # Steps 4 and 5 were not saved and are done again: the ledger goes back to the save at 3.
        again = ledger[3:5]
        del ledger[3:]
    lab.fit()
    if interruption == "killed":
        assert ledger[3:5] == again
    assert [len(step) for step in ledger] == [4, 4, 4, 2] * 2
    names = sorted(row.origin for row in lab.rows)
    epochs = [[name for step in ledger[begin : begin + 4] for name in step] for begin in (0, 4)]
    assert [sorted(epoch) for epoch in epochs] == [names, names]
    assert epochs[0] != epochs[1]
    assert epochs[0] != [row.origin for row in lab.rows]


def test_the_events_of_steps_add_up(uninterrupted: Uninterrupted) -> None:
    result, events = uninterrupted("full")
    steps = [event for event in events if event["kind"] == "step"]
    rows = random_rows(14)
    assert sum(event["tokens"] for event in steps) == 2 * sum(len(row.ids) for row in rows)
    assert sum(event["target_tokens"] for event in steps) == 2 * sum(row.num_targets for row in rows)
    assert result["progress"]["tokens"] == sum(event["tokens"] for event in steps)
    assert result["progress"]["target_tokens"] == sum(event["target_tokens"] for event in steps)
    assert {event["steps"] for event in steps} == {8}
    assert result["progress"]["last_train_loss"] == steps[-1]["loss"]


def test_stages_differ_in_their_orders(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = visited(monkeypatch)
    stage = STAGE.replace(num_train_epochs=1)
    Lab(tiny_model, tmp_path, stages=(stage, stage)).fit()
    assert ledger[:4] != ledger[4:]


def test_seconds_go_on_counting_over_starts(tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path)
    with pytest.raises(StoppedError):
        lab.fit(Watch(stop_at("step", 4)))
    newest, _ = lab.checkpoints.newest()
    assert newest is not None
    progress = lab.fit().progress
    assert progress.wall_s > newest.progress.wall_s > 0
    assert progress.step_s > newest.progress.step_s > 0


def test_other_rows_than_those_of_the_checkpoint_change_what_comes_out(
    tiny_model: Path, tmp_path: Path, uninterrupted: Uninterrupted
) -> None:
    """The comparison with the uninterrupted run can fail."""
    lab = Lab(tiny_model, tmp_path)
    with pytest.raises(StoppedError):
        lab.fit(Watch(stop_at("step", 4)))
    other = replace(lab, rows=random_rows(14, seed=99))
    assert outcome(other, other.fit())["weights"] != uninterrupted("lora")[0]["weights"]
