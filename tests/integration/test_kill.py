"""Real processes, killed and stopped at random moments: whatever happens, the same bits come out in the end.

Few cases run every time; all of them in the slow lane. The seeds are fixed, the moments are not: a machine decides
where in a step a signal arrives.
"""

import itertools
import json
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.command_line import (
    LEARNS,
    Result,
    Running,
    events,
    learnable_rows,
    start,
    tree,
    tuneloop,
    wait_for,
    write_recipe,
)
from tuneloop.core.errors import ExitCode
from tuneloop.train.checkpoint import Checkpoints
from unit.train.training_kit import alpaca_rows

LONG = {
    "num_train_epochs": 50,
    "max_steps": 60,
    "batch_size": 4,
    "eval_steps": 3,
    "learning_rate": 1e-3,
    "micro_batch_tokens": 128,
}
CONFIGS: dict[str, dict[str, object]] = {
    "lora": {"tune": {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.2}, "stages": [LONG]},
    "freeze": {"tune": {"kind": "freeze", "trainable_blocks": 1}, "stages": [LONG | {"keep": "last"}]},
    "full": {"tune": {"kind": "full"}, "stages": [LONG | {"batch_size": 8, "weight_decay": 0.1}]},
    "two stages": {
        "tune": {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.1},
        "stages": [LONG | {"max_steps": 30}, LONG | {"max_steps": 30, "lr_scheduler_type": "linear"}],
    },
    "stream": {
        "data": {"train": ["rows.jsonl"], "eval_fraction": 0, "streaming": True, "shuffle_window": 8},
        "tune": {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.1},
        "stages": [LONG],
    },
}


@dataclass(frozen=True)
class Task:
    """A recipe and how its training ends when nothing interrupts it."""

    recipe: Path
    expected: dict[str, Any]
    losses: dict[tuple[int, int], float]


def outcome(run: Path) -> dict[str, Any]:
    """All that must not depend on interruptions."""
    record = json.loads((run / "records/checkpoint-1.json").read_text())
    newest, complaints = Checkpoints(run / "round-1/checkpoints").newest()
    assert newest is not None
    assert not complaints
    cost = {name: record["cost"][name] for name in ("steps", "tokens", "target_tokens")}
    names = ("step", "weights_sha256", "train_loss", "validation_loss", "skipped_steps", "base_hash")
    progress = newest.progress.model_dump(exclude={"step_s", "wall_s"})
    return (
        {name: record[name] for name in names}
        | cost
        | progress
        | {
            "newest weights": newest.weights,
            "newest optimizer": newest.optimizer,
        }
    )


def losses_by_step(run: Path) -> dict[tuple[int, int], float]:
    """Where a step was done twice, the later one."""
    return {(event["stage"], event["step"]): event["loss"] for event in events(run, "step")}


@pytest.fixture(scope="module")
def task(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Task]:
    made: dict[str, Task] = {}

    def get(name: str) -> Task:
        if name not in made:
            folder = tmp_path_factory.mktemp("task")
            recipe = write_recipe(folder, tiny_model, alpaca_rows(24), **CONFIGS[name])
            assert tuneloop("train", recipe, "--out", folder / "out").code == 0
            assert steps_so_far(folder / "out") == 60
            made[name] = Task(recipe, outcome(folder / "out"), losses_by_step(folder / "out"))
        return made[name]

    return get


def assert_as_uninterrupted(run: Path, task: Task) -> None:
    assert outcome(run) == task.expected
    assert losses_by_step(run) == task.losses
    checkpoints = run / "round-1/checkpoints"
    used = {blob for path in checkpoints.glob("*.json") for blob in Checkpoints.read(path).blobs}
    assert {path.name for path in (checkpoints / "blobs").iterdir()} == used


def steps_so_far(run: Path) -> int:
    return len(events(run, "step"))


def kill_in_training(run: Path, running: Running, chance: random.Random, *, within_s: float) -> bool:
    """Wait until it trains, then a random while, then SIGKILL; False where it had come to its end before."""
    before = steps_so_far(run)
    wait_for(lambda: steps_so_far(run) > before, running)
    time.sleep(chance.uniform(0.0, within_s))
    running.signal(signal.SIGKILL)
    code = running.finish().code
    assert code in {0, -signal.SIGKILL}
    return code != 0


def train_through_kills(task: Task, run: Path, *, kills: int, seed: int) -> int:
    """Kill and begin again, then let it end; returns how many kills met it alive."""
    chance = random.Random(seed)
    done = 0
    while done < kills:
        running = start("train", task.recipe, "--out", run, log=run.with_suffix(".log"))
        if not kill_in_training(run, running, chance, within_s=0.2):
            break
        done += 1
        saved = [(event["stage"], event["step"]) for event in events(run, "saved")]
        newest, complaints = Checkpoints(run / "round-1/checkpoints").newest()
        assert not complaints
        # The last save that was told is there: lost work is at most what came after it.
        at = (newest.progress.stage, newest.progress.step) if newest else (1, 0)
        assert at >= max(saved, default=(1, 0))
    assert start("train", task.recipe, "--out", run, log=run.with_suffix(".log")).finish().code == 0
    return done


@pytest.mark.slow
def test_killed_three_times(task: Callable[[str], Task], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train_through_kills(task("lora"), run, kills=3, seed=0) == 3
    assert_as_uninterrupted(run, task("lora"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_killed_five_times_each(name: str, task: Callable[[str], Task], tmp_path: Path) -> None:
    """Twenty kills over four kinds of training."""
    done = 0
    for number in itertools.count():
        run = tmp_path / f"run-{number}"
        done += train_through_kills(task(name), run, kills=5 - done, seed=number)
        assert_as_uninterrupted(run, task(name))
        if done >= 5:
            break


CRASHES = {"max_steps": 3, "batch_size": 4, "eval_steps": 1, "learning_rate": 1e-3, "micro_batch_tokens": 512}
"""Three saves: the last one lets go of the first."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_calls_that_change_the_disk(tiny_model: Path, tmp_path: Path) -> None:
    """fsync, rename and unlink, every second one: never a third state between the old and the new."""
    recipe = write_recipe(tmp_path, tiny_model, alpaca_rows(24), stages=[CRASHES])
    count = tmp_path / "count"
    whole = tmp_path / "whole"
    assert start("train", recipe, "--out", whole, log=tmp_path / "log", count=count).finish().code == 0
    calls, expected = int(count.read_text()), outcome(whole)
    assert calls > 40
    different = []
    # Every publication is four calls (sync, rename, sync, tidy up), so that every second one meets each of them.
    for number in range(1, calls + 1, 2):
        run = tmp_path / f"run-{number}"
        killed = start("train", recipe, "--out", run, log=tmp_path / "log", die_at=number).finish()
        assert killed.code == -signal.SIGKILL
        assert start("train", recipe, "--out", run, log=tmp_path / "log").finish().code == 0
        if outcome(run) != expected:
            different.append(number)
    assert different == []


def stop_in_training(task: Task, run: Path, number: signal.Signals, *, step: int) -> Result:
    running = start("train", task.recipe, "--out", run, log=run.with_suffix(".log"))
    assert wait_for(lambda: steps_so_far(run) >= step, running)
    begun = time.monotonic()
    running.signal(number)
    result = running.finish()
    # Ten seconds is the promise; a machine that is busy with other things gets some more.
    assert time.monotonic() - begun < 30
    return result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number", "step"),
    [
        ("lora", signal.SIGTERM, 5),
        ("lora", signal.SIGINT, 6),
        ("freeze", signal.SIGTERM, 1),
        ("full", signal.SIGTERM, 30),
        ("two stages", signal.SIGTERM, 29),
        ("two stages", signal.SIGTERM, 35),
    ],
)
def test_stopped_by_a_signal(
    name: str, number: signal.Signals, step: int, task: Callable[[str], Task], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    stopped = stop_in_training(task(name), run, number, step=step)
    assert stopped.code == ExitCode.STOPPED == 5
    assert "StoppedError: Stopped by a signal." in stopped.err
    assert "Traceback" not in stopped.err
    newest, _ = Checkpoints(run / "round-1/checkpoints").newest()
    assert newest is not None
    assert newest.progress.total_steps == steps_so_far(run)
    again = start("train", task(name).recipe, "--out", run, "--resume", log=run.with_suffix(".log")).finish()
    assert again.code == 0
    assert_as_uninterrupted(run, task(name))
    assert steps_so_far(run) == 60


@pytest.mark.slow
def test_a_second_signal_ends_at_once(task: Callable[[str], Task], tmp_path: Path) -> None:
    run = tmp_path / "run"
    running = start("train", task("lora").recipe, "--out", run, log=tmp_path / "log")
    assert wait_for(lambda: steps_so_far(run) >= 5, running)
    # Both arrive while the process stands still, so that no step comes between them.
    running.signal(signal.SIGSTOP)
    running.signal(signal.SIGTERM)
    running.signal(signal.SIGINT)
    running.signal(signal.SIGCONT)
    assert running.finish().code in {-signal.SIGTERM, -signal.SIGINT}
    assert start("train", task("lora").recipe, "--out", run, log=tmp_path / "log").finish().code == 0
    assert_as_uninterrupted(run, task("lora"))


def finished_files(run: Path) -> dict[str, Any]:
    """Everything that a whole run leaves for others: weights, contracts, answers."""
    # Cards name records by hash, and records say when they were made.
    found: dict[str, Any] = {
        name: content for name, content in tree(run / "export").items() if not name.endswith("README.md")
    }
    # The order of this list is that of a set, another one in each process; see tests/unit/deploy.
    adapter = json.loads(found["adapter/adapter_config.json"])
    found["adapter/adapter_config.json"] = adapter | {"target_modules": sorted(adapter["target_modules"])}
    for number in (0, 1):
        found[f"samples of round {number}"] = (run / f"round-{number}/eval/samples.jsonl").read_bytes()
    return found


PHASES: dict[str, Callable[[Path], bool]] = {
    "rows": lambda run: bool(events(run, "phase")),
    "answers of the base": lambda run: bool(events(run, "generated")),
    "steps": lambda run: steps_so_far(run) > 3,
    "validation": lambda run: bool(events(run, "validation")),
    "answers of the model": lambda run: any(event["round"] == 1 for event in events(run, "generated")),
    "export": lambda run: any(event["name"] == "export" for event in events(run, "phase")),
}


@pytest.fixture(scope="module")
def whole_run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("whole")
    evaluate = {"metrics": ["exact_match"], "generate": {"max_new_tokens": 8, "batch_size": 1}, "resamples": 100}
    recipe = write_recipe(folder, tiny_model, learnable_rows(32), stages=LEARNS, evaluate=evaluate)
    assert tuneloop("run", recipe, "--out", folder / "out").code == 0
    return recipe, folder / "out"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("phase", PHASES)
def test_a_whole_run_stopped_or_killed_in_every_phase(
    phase: str, number: signal.Signals, whole_run: tuple[Path, Path], tmp_path: Path
) -> None:
    """The export is not long enough to be stopped in its middle: it may end by itself."""
    recipe, expected = whole_run
    run = tmp_path / "run"
    running = start("run", recipe, "--out", run, log=tmp_path / "log")
    assert wait_for(lambda: PHASES[phase](run), running)
    running.signal(number)
    cut = running.finish()
    assert cut.code in ({5, 0} if number == signal.SIGTERM else {-number})
    if phase != "export":
        assert cut.code != 0
    again = start("run", recipe, "--out", run, log=tmp_path / "log").finish()
    assert again.code == 0
    assert outcome(run) == outcome(expected)
    assert finished_files(run) == finished_files(expected)
    assert not list((run / "export").glob(".*"))
    assert not list(run.glob("round-*/eval/outputs-*"))
