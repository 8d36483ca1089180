"""Saves behind the training thread: what is written is what was there when the save was asked for."""

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tuneloop.core.errors import DiskError
from tuneloop.core.events import be_silent
from tuneloop.train.checkpoint import Checkpoints, Manifest, Progress
from tuneloop.train.saver import Saver
from unit.train.training_kit import STAGE, Lab, Watch, outcome, write_shallow_model


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Writing begins when it is set."""
    event, save = threading.Event(), Checkpoints.save

    def wait_and_save(self: Checkpoints, *arguments: Any, **options: Any) -> Manifest:
        assert event.wait(30)
        return save(self, *arguments, **options)

    monkeypatch.setattr(Checkpoints, "save", wait_and_save)
    return event


def begin(saver: Saver, step: int, weights: dict[str, Tensor], *, wait: bool = False) -> None:
    saver.save(Progress(stage=1, step=step), weights, {"m/w": weights["w"] * 2}, is_best=False, wait=wait)


def saved_weights(folder: Path) -> Tensor:
    checkpoints = Checkpoints(folder)
    newest, complaints = checkpoints.newest()
    assert newest is not None
    assert not complaints
    return checkpoints.load_weights(newest)["w"]


def weights_after_a_change(folder: Path, gate: threading.Event) -> Tensor:
    """Ask for a save, change the weights, and only then let it write."""
    weights = {"w": torch.zeros(4, 3).T}
    with Saver(Checkpoints(folder), {}, be_silent) as saver:
        begin(saver, 1, weights)
        weights["w"].add_(1.0)
        gate.set()
    return saved_weights(folder)


def test_what_is_saved_is_what_was_there(tmp_path: Path, gate: threading.Event) -> None:
    assert torch.equal(weights_after_a_change(tmp_path, gate), torch.zeros(3, 4))


def test_a_save_without_a_copy_is_caught(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: the thread writes what the training thread goes on changing."""
    monkeypatch.setattr(Saver, "_copy", lambda _, __, tensors: dict(tensors))
    assert not torch.equal(weights_after_a_change(tmp_path, gate), torch.zeros(3, 4))


def test_training_goes_on_while_it_writes_and_the_next_save_waits(tmp_path: Path, gate: threading.Event) -> None:
    watch = Watch()
    with Saver(Checkpoints(tmp_path), {}, watch.emit) as saver:
        begin(saver, 1, {"w": torch.ones(2)})
        saver.poll()
        assert watch.events == []
        assert not list(tmp_path.glob("*.json"))
        threading.Timer(0.05, gate.set).start()
        begin(saver, 2, {"w": torch.ones(2) * 2})
        assert [event["step"] for event in watch.of_kind("saved")] == [1]
    assert [event["step"] for event in watch.of_kind("saved")] == [1, 2]
    assert all(event["blocked_s"] >= 0 < event["write_s"] for event in watch.events)
    assert torch.equal(saved_weights(tmp_path), torch.ones(2) * 2)


def test_one_that_waits_is_there_when_it_returns_and_copies_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Saver, "_copy", lambda *_: pytest.fail("copied"))
    with Saver(Checkpoints(tmp_path), {}, be_silent) as saver:
        begin(saver, 1, {"w": torch.ones(2)}, wait=True)
        assert torch.equal(saved_weights(tmp_path), torch.ones(2))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("call", ["poll", "save", "wait", "leaving"])
def test_an_error_of_the_thread_comes_out_of_the_next_call(call: str, tmp_path: Path) -> None:
    saver = Saver(Checkpoints(tmp_path), {}, be_silent)

    def call_it() -> None:
        with saver:
            begin(saver, 1, {"w": torch.ones(2)})
            if call == "save":
                begin(saver, 2, {"w": torch.ones(2)})
            elif call == "wait":
                saver.wait()
            while call == "poll":
                saver.poll()

    with pytest.raises(DiskError, match="No space left"):
        call_it()
    # Told once.
    saver.wait()


@pytest.mark.usefixtures("full_disk")
def test_it_does_not_hide_another_error(tmp_path: Path) -> None:
    def fail() -> None:
        with Saver(Checkpoints(tmp_path), {}, be_silent) as saver:
            begin(saver, 1, {"w": torch.ones(2)})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert "failed too" in caught.value.__notes__[0]


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shallow_model(tmp_path_factory.mktemp("shallow"))


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"save_steps": 2}, [2, 3, 4, 6, 8]),
        ({"save_minutes": 1e-9}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"save_minutes": None}, [3, 6, 8]),
    ],
)
def test_saves_by_steps_and_by_time_change_nothing(
    changes: dict[str, Any], steps: list[int], shallow: Path, tmp_path: Path
) -> None:
    """Validation, and so a save, comes after 3, 6 and 8."""
    plain = Lab(shallow, tmp_path / "plain")
    saving = Lab(shallow, tmp_path / "saving", stages=(STAGE.replace(**changes),))
    watch = Watch()
    expected = outcome(plain, plain.fit())
    assert outcome(saving, saving.fit(watch)) == expected
    assert [event["step"] for event in watch.of_kind("saved")] == steps


def test_a_full_disk_ends_training_with_its_own_error(shallow: Path, tmp_path: Path, full_disk: None) -> None:
    del full_disk
    watch = Watch()
    with pytest.raises(DiskError, match="Free space"):
        Lab(shallow, tmp_path, stages=(STAGE.replace(save_steps=1),)).fit(watch)
    # At the latest the save after the next step tells.
    assert len(watch.of_kind("step")) <= 2
