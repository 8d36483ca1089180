"""SIGKILL at random moments over twelve kinds of training: the same bits as when nothing interrupts.

A few kills run every time, two hundred in the slow lane. `TUNELOOP_KILLS` asks for another number of them.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pytest

from integration.kill_kit import CASES, Case, steps_of, train, train_through_kills
from tuneloop.train.checkpoint import Checkpoints
from unit.train.training_kit import write_shallow_model

KILLS = int(os.environ.get("TUNELOOP_KILLS", "200"))


@dataclass(frozen=True)
class Whole:
    """How a kind of training ends when nothing interrupts it."""

    outcome: str
    steps: dict[tuple[int, int], tuple[float, float]]


def whole_of(folder: Path) -> Whole:
    """What lies in a folder of a process that ended by itself."""
    return Whole((folder / "outcome").read_text(), steps_of(folder))


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shallow_model(tmp_path_factory.mktemp("shallow"))


@pytest.fixture(scope="module")
def whole(shallow: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Whole]:
    made: dict[Case, Whole] = {}

    def get(case: Case) -> Whole:
        if case not in made:
            folder = tmp_path_factory.mktemp("whole")
            assert not train(case, shallow, folder, kill=None)
            made[case] = whole_of(folder)
            assert len(made[case].steps) == 16
        return made[case]

    return get


def differs(folder: Path, expected: Whole) -> list[str]:
    """What came out otherwise than without kills."""
    newest, complaints = Checkpoints(folder / "checkpoints").newest()
    assert newest is not None
    blobs = {path.name for path in (folder / "checkpoints/blobs").iterdir()}
    used = {blob for path in (folder / "checkpoints").glob("*.json") for blob in Checkpoints.read(path).blobs}
    found = {
        "outcome": (folder / "outcome").read_text() == expected.outcome,
        "losses": steps_of(folder) == expected.steps,
        "whole": not complaints,
        "tidy": blobs == used,
    }
    return [name for name, is_equal in found.items() if not is_equal]


def kill_until(
    number: int,
    cases: list[Case],
    model: Path,
    folder: Path,
    whole: Callable[[Case], Whole],
    *,
    plant: str | None = None,
) -> dict[str, list[str]]:
    """Kill so often, over the cases in turn, at most four times a run; returns the runs that came out otherwise."""
    done, run, wrong = 0, 0, {}
    while done < number:
        case, chance = cases[run % len(cases)], random.Random(run)
        place = folder / str(run)
        expected = whole(case)
        done += train_through_kills(
            case,
            model,
            place,
            kills=min(4, number - done),
            chance=chance,
            plant=plant,
        )
        if differences := differs(place, expected):
            wrong[f"{case} seed {run}"] = differences
        run += 1
    return wrong


def test_every_two_values_of_two_settings_meet() -> None:
    settings = [(case.tune, case.optimizer, case.micro_batch_tokens, case.stages) for case in CASES]
    for first, second in combinations(range(4), 2):
        met = {(case[first], case[second]) for case in settings}
        assert met == {(a[first], b[second]) for a in settings for b in settings}


@pytest.mark.slow
def test_five_kills_over_two_kinds_of_training(shallow: Path, tmp_path: Path, whole: Callable[[Case], Whole]) -> None:
    assert kill_until(5, CASES[:2], shallow, tmp_path, whole) == {}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_kills_over_twelve_kinds_of_training(
    shallow: Path, tmp_path: Path, whole: Callable[[Case], Whole]
) -> None:
    assert kill_until(KILLS, CASES, shallow, tmp_path, whole) == {}


@pytest.mark.slow
def test_chance_that_goes_on_over_steps_is_caught(shallow: Path, tmp_path: Path) -> None:
    """The planted bug: dropout is no function of the step. Without kills nothing shows; with them it must."""
    case = CASES[0]
    assert not train(case, shallow, tmp_path / "whole", kill=None, plant="chance goes on")
    expected = whole_of(tmp_path / "whole")
    assert kill_until(4, [case], shallow, tmp_path, lambda _: expected, plant="chance goes on") != {}
