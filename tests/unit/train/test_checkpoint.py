"""Checkpoints alone: what is kept, what is noticed, what a kill may leave behind."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tuneloop.core.errors import IntegrityError
from tuneloop.train import checkpoint as module
from tuneloop.train.checkpoint import Checkpoints, Manifest, Progress
from tuneloop.train.tensors import blobs_of
from unit.train.training_kit import Killed, flip_bit


def tensors(value: float) -> dict[str, Tensor]:
    return {"b": torch.full((3,), value), "a": torch.full((2, 2), -value)}


def save(checkpoints: Checkpoints, step: int, *, stage: int = 1, best: bool = False) -> Manifest:
    progress = Progress(stage=stage, step=step, last_train_loss=1.0 / (step + 1))
    value = 100.0 * stage + step
    return checkpoints.save(
        progress, tensors(value), tensors(value + 0.5), fingerprint={"seed": 1, "plan": "x"}, is_best=best
    )


def step_files(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.folder.glob("stage-*.json"))


def blobs(checkpoints: Checkpoints) -> set[str]:
    return {path.name for path in (checkpoints.folder / "blobs").iterdir()}


def referenced(checkpoints: Checkpoints) -> set[str]:
    manifests = [checkpoints.read(path) for path in checkpoints.folder.glob("*.json")]
    return {blob for manifest in manifests for blob in manifest.blobs}


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    saved = save(checkpoints, 4)
    newest, complaints = checkpoints.newest()
    assert newest == saved
    assert not complaints
    assert newest.fingerprint == {"seed": 1, "plan": "x"}
    weights, optimizer = checkpoints.load_weights(newest), checkpoints.load_optimizer(newest)
    assert all(torch.equal(weights[name], tensor) for name, tensor in tensors(104.0).items())
    assert all(torch.equal(optimizer[name], tensor) for name, tensor in tensors(104.5).items())


def test_views_and_other_strides_are_saved_as_their_values(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    matrix = torch.arange(6.0).reshape(2, 3)
    manifest = checkpoints.save(
        Progress(stage=1, step=1), {"w": matrix.T}, {"part": matrix[:, 1:]}, fingerprint={}, is_best=False
    )
    assert torch.equal(checkpoints.load_weights(manifest)["w"], matrix.T)
    assert torch.equal(checkpoints.load_optimizer(manifest)["part"], matrix[:, 1:])


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "not there")
    assert checkpoints.newest() == (None, [])
    assert checkpoints.best(1) is None


def test_two_and_the_best_are_kept_and_no_blob_is_left_over(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in range(1, 7):
        save(checkpoints, step, best=step in {1, 3})
        assert len(step_files(checkpoints)) == min(step, 2)
        assert blobs(checkpoints) == referenced(checkpoints)
    assert step_files(checkpoints) == ["stage-1-step-00000005.json", "stage-1-step-00000006.json"]
    best = checkpoints.best(1)
    assert best is not None
    assert best.progress.step == 3
    assert best.optimizer is None
    assert checkpoints.load_optimizer(best) == {}
    assert torch.equal(checkpoints.load_weights(best)["b"], tensors(103.0)["b"])
    assert len(blobs(checkpoints)) == 5


def test_every_stage_has_a_best_of_its_own(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 8, best=True)
    save(checkpoints, 2, stage=2, best=True)
    save(checkpoints, 4, stage=2)
    bests = [checkpoints.best(stage) for stage in (1, 2)]
    assert [best.progress.step for best in bests if best] == [8, 2]
    newest, _ = checkpoints.newest()
    assert newest is not None
    assert (newest.progress.stage, newest.progress.step) == (2, 4)


def test_newest_goes_by_number_not_by_time(tmp_path: Path) -> None:
    import os

    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 9)
    save(checkpoints, 10)
    os.utime(tmp_path / "stage-1-step-00000009.json", (4e9, 4e9))
    os.utime(tmp_path / "stage-1-step-00000010.json", (0, 0))
    newest, _ = checkpoints.newest()
    assert newest is not None
    assert newest.progress.step == 10


def test_the_tenth_stage_is_newer_than_the_ninth(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for stage in (8, 9, 10):
        save(checkpoints, 3, stage=stage)
    newest, _ = checkpoints.newest()
    assert newest is not None
    assert newest.progress.stage == 10


PARTS = ["weights", "optimizer", "manifest"]


def part_of(checkpoints: Checkpoints, manifest: Manifest, part: str) -> Path:
    if part == "manifest":
        return checkpoints.path_of(manifest)
    saved = manifest.weights if part == "weights" else manifest.optimizer
    assert saved is not None
    (blob,) = blobs_of(saved)
    return checkpoints.folder / "blobs" / blob


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_every_flipped_bit_is_noticed_and_the_older_checkpoint_is_used(part: str, tmp_path: Path) -> None:
    """Every byte of the file, one bit each. A flip that leaves a manifest's values as they were would do no harm."""
    checkpoints = Checkpoints(tmp_path)
    older = save(checkpoints, 1)
    newest = save(checkpoints, 2)
    path = part_of(checkpoints, newest, part)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in range(len(whole)):
        flip_bit(path, place, int(rng.integers(8)))
        found, complaints = checkpoints.newest()
        assert found == older, place
        assert len(complaints) == 1
        assert str(path) in complaints[0]
        path.write_bytes(whole)
    assert checkpoints.newest() == (newest, [])


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_or_cut_file_is_noticed(part: str, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    older = save(checkpoints, 1)
    path = part_of(checkpoints, save(checkpoints, 2), part)
    for size in (0, 1, path.stat().st_size - 1):
        path.write_bytes(path.read_bytes()[:size])
        found, complaints = checkpoints.newest()
        assert found == older
        assert len(complaints) == 1
    path.unlink()
    assert checkpoints.newest()[0] == older


def test_damage_to_all_is_an_error_that_names_each(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    paths = [part_of(checkpoints, save(checkpoints, step), part) for step, part in ((1, "weights"), (2, "manifest"))]
    for path in paths:
        flip_bit(path, -2)
    with pytest.raises(IntegrityError) as caught:
        checkpoints.newest()
    assert all(str(path) in str(caught.value) for path in paths)


@pytest.mark.parametrize("part", ["weights", "optimizer"])
def test_loading_checks_the_bytes_by_itself(part: str, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    manifest = save(checkpoints, 1)
    flip_bit(part_of(checkpoints, manifest, part), -1)
    with pytest.raises(IntegrityError, match="differ from the hash"):
        (checkpoints.load_weights if part == "weights" else checkpoints.load_optimizer)(manifest)


def test_a_damaged_blob_is_replaced_when_the_same_bytes_are_saved_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    flip_bit(part_of(checkpoints, save(checkpoints, 1), "weights"), -1)
    again = save(checkpoints, 1)
    assert checkpoints.newest() == (again, [])


@pytest.mark.parametrize("kind", ["step", "best"])
def test_a_damaged_manifest_does_not_stop_later_saves(kind: str, tmp_path: Path) -> None:
    """4 and 8 are saved, 8 is damaged; the run goes on from 4, and is stopped and saved at 6."""
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 4, best=True)
    newest = save(checkpoints, 8)
    flip_bit(checkpoints.path_of(newest) if kind == "step" else tmp_path / "best-1.json", -4)
    assert checkpoints.newest()[0] is not None
    if kind == "step":
        older = checkpoints.newest()[0]
        assert older is not None
        checkpoints.set_aside_newer(older)
    saved = save(checkpoints, 6)
    assert checkpoints.newest()[0] == (saved if kind == "step" else newest)


def test_a_damaged_checkpoint_does_not_count_as_one_of_the_two_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    older = save(checkpoints, 4)
    flip_bit(part_of(checkpoints, save(checkpoints, 8), "weights"), -1)
    assert checkpoints.newest()[0] == older
    checkpoints.set_aside_newer(older)
    flip_bit(part_of(checkpoints, save(checkpoints, 6), "weights"), -1)
    assert checkpoints.newest()[0] == older


WRITES = ["_put", "_publish", "_clean"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("call", [1, 2])
def test_a_kill_during_a_save_leaves_the_old_or_the_new_one(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    call: int,
    after: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    old = save(checkpoints, 2, best=True)
    calls = 0
    original = getattr(Checkpoints, name)

    def die(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise Killed
        result = original(*arguments, **options)
        if calls == call and after:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, name, staticmethod(die) if name == "_publish" else die)
        if name == "_clean" and call == 2:
            save(checkpoints, 3, best=True)
        else:
            with pytest.raises(Killed):
                save(checkpoints, 3, best=True)
    found, complaints = checkpoints.newest()
    assert found is not None
    assert not complaints
    assert found.progress.step in {2, 3}
    assert found == old or found.progress.step == 3
    assert torch.equal(checkpoints.load_weights(found)["b"], tensors(100.0 + found.progress.step)["b"])
    best = checkpoints.best(1)
    assert best is not None
    checkpoints.load_weights(best)
    save(checkpoints, 4)
    assert blobs(checkpoints) == referenced(checkpoints)
    assert len(step_files(checkpoints)) == module._KEPT
