"""Two that want the same folder: exactly one has it, and nothing that a dead one left is in the way."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tuneloop.core.errors import LockedError
from tuneloop.core.store import own_folder

Own = Callable[[Path], AbstractContextManager[None]]


def owners_of_double_starts(folder: Path, own: Own, number: int) -> list[int]:
    """Two threads start together, so often; returns how many had the folder at once. flock knows open files only."""
    counts = []
    for _ in range(number):
        start, tried = threading.Barrier(2), threading.Barrier(2)
        owners: list[int] = []

        def work(start: threading.Barrier, tried: threading.Barrier, owners: list[int]) -> None:
            start.wait()
            try:
                with own(folder):
                    owners.append(1)
                    tried.wait()
            except LockedError:
                tried.wait()

        threads = [threading.Thread(target=work, args=(start, tried, owners)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts.append(len(owners))
    return counts


def test_of_a_hundred_double_starts_exactly_one_owns_the_folder(tmp_path: Path) -> None:
    assert owners_of_double_starts(tmp_path, own_folder, 100) == [1] * 100


def test_a_lock_by_the_presence_of_a_file_is_caught(tmp_path: Path) -> None:
    """The planted bug: it looks first and makes the file then, so two may find nothing."""

    @contextmanager
    def look_then_make(folder: Path) -> Iterator[None]:
        path = folder / "lock"
        if path.exists():
            raise LockedError
        threading.Event().wait(0.001)
        path.touch()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    assert 2 in owners_of_double_starts(tmp_path, look_then_make, 20)


_HOLD = """
import sys, time
from pathlib import Path
from tuneloop.core.store import own_folder
with own_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_killed_owner_leaves_no_lock_behind(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError), own_folder(tmp_path):
            pass
        process.kill()
    with own_folder(tmp_path):
        pass


@pytest.mark.parametrize("moment", [0.0, 4e9])
def test_the_time_of_the_lock_file_means_nothing(moment: float, tmp_path: Path) -> None:
    with own_folder(tmp_path):
        os.utime(tmp_path / ".lock", (moment, moment))
        with pytest.raises(LockedError), own_folder(tmp_path):
            pass
    with own_folder(tmp_path):
        pass
