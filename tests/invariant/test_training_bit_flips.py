"""One bit of a saved file changes: it is noticed before anything uses the file, and never where nothing changed."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tuneloop.core import store
from tuneloop.core.errors import IntegrityError
from tuneloop.core.events import Event
from tuneloop.train import tensors as tensors_module
from tuneloop.train.checkpoint import Checkpoints
from unit.train.training_kit import STAGE, Lab, Watch, flip_bit, outcome, write_shallow_model


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shallow_model(tmp_path_factory.mktemp("shallow"))


@pytest.fixture(scope="module")
def trained(shallow: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(shallow, tmp_path_factory.mktemp("trained"), stages=(STAGE,))
    lab.fit()
    return lab


def files(checkpoints: Checkpoints) -> list[Path]:
    return sorted(path for path in checkpoints.folder.rglob("*") if path.is_file())


def is_noticed(checkpoints: Checkpoints, path: Path) -> bool:
    """Whether going on, taking the best, or going back to the older checkpoint meets the damage, and says where."""
    complaints: list[str] = []
    try:
        complaints += checkpoints.newest()[1]
        best = checkpoints.best(1)
        assert best is not None
        checkpoints.load_weights(best)
        for place in checkpoints.folder.glob("stage-*.json"):
            manifest = checkpoints.read(place)
            checkpoints.load_weights(manifest)
            checkpoints.load_optimizer(manifest)
    except IntegrityError as error:
        complaints.append(str(error))
    except Exception:  # noqa: BLE001 - whoever stumbles over damaged bytes took them for whole
        return False
    return any(str(path) in complaint for complaint in complaints)


def flips(checkpoints: Checkpoints, number: int) -> Iterator[tuple[Path, int]]:
    """Flip a random bit, let it be looked at, and put it back."""
    chance = random.Random(0)
    for _ in range(number):
        path = chance.choice(files(checkpoints))
        byte, bit = chance.randrange(path.stat().st_size), chance.randrange(8)
        flip_bit(path, byte, bit)
        yield path, byte
        flip_bit(path, byte, bit)


def unnoticed(checkpoints: Checkpoints, number: int) -> list[str]:
    return [f"{path.name} {byte}" for path, byte in flips(checkpoints, number) if not is_noticed(checkpoints, path)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [150, 1000])
def test_every_flipped_bit_is_noticed(number: int, trained: Lab) -> None:
    assert unnoticed(trained.checkpoints, number) == []


@pytest.mark.parametrize("number", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_no_false_alarm(number: int, trained: Lab) -> None:
    manifest, _ = trained.checkpoints.newest()
    assert manifest is not None
    for _ in range(number):
        assert trained.checkpoints.newest() == (manifest, [])
        assert len(trained.checkpoints.load_weights(manifest)) == len(manifest.weights)


def test_files_that_are_not_hashed_again_are_caught(trained: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: what has the right name is taken for whole."""
    monkeypatch.setattr(store, "hash_file", lambda path: path.name.partition(".")[0])
    monkeypatch.setattr(tensors_module, "read_blob", lambda folder, name: (folder / name).read_bytes())
    assert unnoticed(trained.checkpoints, 60) != []


def test_training_announces_it_and_goes_on_from_the_last_good_one(shallow: Path, tmp_path: Path) -> None:
    whole = Lab(shallow, tmp_path / "whole", stages=(STAGE,))
    expected = outcome(whole, whole.fit())
    lab = Lab(shallow, tmp_path / "damaged", stages=(STAGE,))
    lab.fit()
    newest, _ = lab.checkpoints.newest()
    assert newest is not None
    older = [path for path in lab.folder.glob("stage-*.json") if path != lab.checkpoints.path_of(newest)]
    (blob, *_) = sorted(newest.blobs - lab.checkpoints.read(older[0]).blobs)
    flip_bit(lab.folder / "blobs" / blob, 100)
    watch = Watch()
    assert outcome(lab, lab.fit(watch)) == expected

    def of(kind: str, look: Callable[[Event], object]) -> list[object]:
        return [look(event) for event in watch.of_kind(kind)]

    assert of("damaged", lambda event: blob in event["reason"]) == [True]
    assert of("resumed", lambda event: event["step"]) == [6]


def test_an_exported_file_has_the_hash_of_its_record(trained: Lab, tmp_path: Path) -> None:
    """What an export's record keeps of each file tells a flipped bit, wherever it is."""
    from tuneloop.core.store import hash_file
    from tuneloop.deploy.adapter import write_adapter

    job = trained.job()
    trained.fit_job(job)
    write_adapter(job.model, tmp_path, base="tiny")
    assert load_file(tmp_path / "adapter_model.safetensors")
    recorded = {path: hash_file(path) for path in tmp_path.iterdir()}
    chance = random.Random(0)
    for _ in range(100):
        path = chance.choice(sorted(recorded))
        byte, bit = chance.randrange(path.stat().st_size), chance.randrange(8)
        flip_bit(path, byte, bit)
        assert hash_file(path) != recorded[path]
        flip_bit(path, byte, bit)
    assert {path: hash_file(path) for path in tmp_path.iterdir()} == recorded
