"""Every call of a save to the disk fails in turn: killed, disk full, disk broken. The old checkpoint or the new one."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tuneloop.core import store
from tuneloop.core.errors import DiskError, IntegrityError
from tuneloop.train import tensors as tensors_module
from tuneloop.train.checkpoint import Checkpoints, Progress
from unit.train.training_kit import Killed

CALLS = ("open", "write", "fsync", "replace", "unlink", "mkdir", "chmod")
FAULTS: dict[str, int | None] = {"killed": None, "full": errno.ENOSPC, "broken": errno.EIO}


@dataclass
class Disk:
    """Counts calls to the disk and notes them; at one of them it fails.

    A killed process does nothing any more: from its death on, every call fails, tidying up too.
    """

    fail_at: int | None = None
    number: int | None = None
    """The error; None: death."""
    log: list[tuple[str, str, str]] = field(default_factory=list)
    """Call, path, and where it went to."""

    def note(self, call: str, arguments: tuple[Any, ...]) -> bool:
        """Note a call; whether it fails. May raise at once for one who is dead already."""
        dead = self.fail_at is not None and self.number is None and len(self.log) >= self.fail_at
        if dead:
            raise Killed
        target = arguments[0]
        path = str(Path(f"/proc/self/fd/{target}").readlink() if isinstance(target, int) else target)
        self.log.append((call, path, str(arguments[1]) if call == "replace" else ""))
        return len(self.log) == self.fail_at

    def fail(self) -> None:
        if self.number is None:
            raise Killed
        raise OSError(self.number, os.strerror(self.number))


@contextmanager
def on_disk(disk: Disk) -> Iterator[Disk]:
    """All calls within the block go through the disk."""

    def watched(call: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(*arguments: Any, **options: Any) -> Any:
            if disk.note(call, arguments):
                if call == "write":
                    original(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                disk.fail()
            return original(*arguments, **options)

        return replacement

    def write_bytes(path: Path, content: bytes) -> int:
        if disk.note("write", (path,)):
            whole_file(path, content[: len(content) // 2])
            disk.fail()
        return whole_file(path, content)

    whole_file = Path.write_bytes
    with pytest.MonkeyPatch.context() as patch:
        for call in CALLS:
            patch.setattr(os, call, watched(call, getattr(os, call)))
        patch.setattr(Path, "write_bytes", write_bytes)
        yield disk


@pytest.fixture(autouse=True)
def small_blobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files to a save."""
    monkeypatch.setattr(tensors_module.write_shards, "__kwdefaults__", {"blob_bytes": 64})


def values(step: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    weights = {"a": torch.full((3, 8), float(step)), "b": torch.arange(5.0) + step}
    return weights, {"exp_avg/a": -weights["a"], "step/a": torch.tensor([float(step)])}


def save(checkpoints: Checkpoints, step: int) -> None:
    weights, optimizer = values(step)
    checkpoints.save(Progress(stage=1, step=step, best_step=step), weights, optimizer, fingerprint={}, is_best=True)


def third_state(checkpoints: Checkpoints, allowed: set[int]) -> str | None:
    """What is wrong with a folder after a failure; None: it holds a whole checkpoint of an allowed step."""
    try:
        return _third_state(checkpoints, allowed)
    except IntegrityError as error:
        return str(error)


def _third_state(checkpoints: Checkpoints, allowed: set[int]) -> str | None:
    newest, complaints = checkpoints.newest()
    if newest is None or complaints:
        return f"not whole: {complaints}"
    if newest.progress.step not in allowed:
        return f"step {newest.progress.step}"
    for manifest in (newest, checkpoints.best(1)):
        if manifest is None:
            return "the best is gone"
        weights, optimizer = values(manifest.progress.step)
        found = checkpoints.load_weights(manifest)
        if any(not torch.equal(found[name], tensor) for name, tensor in weights.items()):
            return "other weights"
        found = checkpoints.load_optimizer(manifest)
        if manifest.optimizer is not None and any(not torch.equal(found[name], t) for name, t in optimizer.items()):
            return "another optimiser"
    return None


def fail_everywhere(folder: Path, number: int | None) -> list[str]:
    """Save steps 1 to 3, and fail at each call of the fourth save; returns what was wrong at which call."""
    with on_disk(Disk()) as whole:
        prepare(folder / "whole")
        before = len(whole.log)
        save(Checkpoints(folder / "whole"), 4)
    calls = len(whole.log) - before
    assert calls > 40
    assert {call for call, _, _ in whole.log[before:]} == set(CALLS)
    wrong = []
    ready = prepare(folder / "ready").folder
    for place in range(1, calls + 1):
        checkpoints = Checkpoints(shutil.copytree(ready, folder / str(place)))
        # A call that only tidies up may fail without a word.
        with on_disk(Disk(place, number)) as disk, contextlib.suppress(Killed if number is None else DiskError):
            save(checkpoints, 4)
        name = f"{place} {disk.log[place - 1]}"
        if problem := third_state(checkpoints, {3, 4}):
            wrong.append(f"{name}: {problem}")
            continue
        # Nothing has to be cleaned up by hand, and nothing is left over.
        save(checkpoints, 5)
        used = {blob for path in checkpoints.folder.glob("*.json") for blob in checkpoints.read(path).blobs}
        left = {path.name for path in (checkpoints.folder / "blobs").iterdir()} - used
        if problem := third_state(checkpoints, {5}) or (left and f"left over: {left}"):
            wrong.append(f"{name}: after the next save: {problem}")
    return wrong


def prepare(folder: Path) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for step in (1, 2, 3):
        save(checkpoints, step)
    return checkpoints


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_save_that_fails_at_any_call_leaves_the_old_or_the_new_one(fault: str, tmp_path: Path) -> None:
    assert fail_everywhere(tmp_path, FAULTS[fault]) == []


def put_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: the manifest is published before the files that it names."""
    waiting: list[tuple[Any, ...]] = []
    put, clean = store.put_blobs, Checkpoints._clean

    def promise(folder: Path, suffix: str, contents: Any) -> list[str]:
        import hashlib

        contents = list(contents)
        waiting.append((folder, suffix, contents))
        return [hashlib.sha256(b"".join(pieces)).hexdigest() + suffix for pieces in contents]

    def keep_promises(self: Checkpoints) -> None:
        while waiting:
            put(*waiting.pop())
        clean(self)

    monkeypatch.setattr(tensors_module, "put_blobs", promise)
    monkeypatch.setattr(Checkpoints, "_clean", keep_promises)


@pytest.mark.slow
def test_a_manifest_that_is_published_first_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_later(monkeypatch)
    assert fail_everywhere(tmp_path, FAULTS["killed"]) != []


def lost_with_the_power(log: list[tuple[str, str, str]]) -> list[str]:
    """What a manifest relies on, when it is renamed, that is not on the disk for good; and what goes too early.

    The disk that is modelled may lose all bytes of a file that was not synced, and all names of a folder that was
    not synced since.
    """
    unsynced_bytes: set[str] = set()
    unsynced_names: dict[str, str] = {}
    wrong = []
    for call, path, target in log:
        match call:
            case "write":
                unsynced_bytes.add(path)
            case "fsync":
                unsynced_bytes.discard(path)
                unsynced_names = {name: folder for name, folder in unsynced_names.items() if folder != path}
            case "replace":
                if path in unsynced_bytes:
                    wrong.append(f"{target} has bytes that were not synced")
                if target.endswith(".json"):
                    wrong += [f"{target} relies on {name}" for name in unsynced_names if name.endswith(".safetensors")]
                unsynced_names[target] = str(Path(target).parent)
            case "unlink" if not path.endswith(".part"):
                wrong += [f"{path} goes before {name} is there" for name in unsynced_names]
    # A save that has returned is there for good.
    return wrong + [f"{name} is not there for good" for name in unsynced_names]


def log_of_a_save(folder: Path) -> list[tuple[str, str, str]]:
    checkpoints = prepare(folder)
    with on_disk(Disk()) as disk:
        save(checkpoints, 4)
    return disk.log


def test_whatever_a_manifest_names_is_on_the_disk_for_good_before(tmp_path: Path) -> None:
    log = log_of_a_save(tmp_path)
    assert lost_with_the_power(log) == []
    # Few syncs: one a file, one for the folder of each group, two a manifest.
    files = sum(call == "replace" for call, _, _ in log)
    assert sum(call == "fsync" for call, _, _ in log) == files + 2 + 2


@pytest.mark.parametrize("plant", ["no sync of files", "no sync of folders"])
def test_a_sync_that_is_left_out_is_caught(plant: str, tmp_path: Path) -> None:
    checkpoints = prepare(tmp_path)
    with on_disk(Disk()) as disk, pytest.MonkeyPatch.context() as patch:
        sync = os.fsync
        spared = os.path.isdir if plant == "no sync of files" else os.path.isfile
        patch.setattr(os, "fsync", lambda handle: sync(handle) if spared(f"/proc/self/fd/{handle}") else None)
        save(checkpoints, 4)
    assert lost_with_the_power(disk.log) != []
