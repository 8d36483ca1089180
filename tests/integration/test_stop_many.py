"""SIGTERM at any moment, from the first row to the end: saved, exit code 5, within the time that clusters give.

A few stops run every time, fifty in the slow lane. `TUNELOOP_STOPS=100` asks for another number of them.
"""

import json
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.command_line import Running, events, start, wait_for, write_recipe
from tuneloop.core.errors import ExitCode
from tuneloop.train.checkpoint import Checkpoints
from unit.train.training_kit import alpaca_rows, write_shallow_model

STOPS = int(os.environ.get("TUNELOOP_STOPS", "50"))
GRACE_S = 10.0
BEFORE_THE_FIRST_STEP = {"phase", "machine", "tuned", "resumed"}
"""What a process tells before it trains; which of them a stop falls behind is chance."""
STAGE = {
    "num_train_epochs": 50,
    "max_steps": 24,
    "batch_size": 4,
    "eval_steps": 4,
    "save_steps": 3,
    "learning_rate": 1e-3,
    "micro_batch_tokens": 128,
}


@dataclass(frozen=True)
class Stop:
    """How a stop went."""

    code: int
    within_s: float
    saw: str
    """The last that the process told before."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stops")
    model = write_shallow_model(folder / "model")
    tune = {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.2}
    return write_recipe(folder, model, alpaca_rows(24), stages=[STAGE], tune=tune)


def train(recipe: Path, run: Path, *more: object) -> Running:
    return start("train", recipe, "--out", run, *more, log=run.with_suffix(".log"))


def outcome(run: Path) -> dict[str, Any]:
    """All that must not depend on interruptions."""
    record = json.loads((run / "records/checkpoint-1.json").read_text())
    newest, complaints = Checkpoints(run / "round-1/checkpoints").newest()
    assert newest is not None
    assert not complaints
    return {
        "weights": record["weights_sha256"],
        "loss": record["validation_loss"],
        "progress": newest.progress.model_dump(exclude={"step_s", "wall_s"}),
        "tensors": (newest.weights, newest.optimizer),
        "losses": {event["step"]: event["loss"] for event in events(run, "step")},
    }


def stop(recipe: Path, run: Path, chance: random.Random) -> Stop:
    """Begin or go on, and send SIGTERM so many events after the process began to tell, and a while later."""
    told = len(events(run))
    running = train(recipe, run)
    wanted = told + chance.randint(1, 16)
    wait_for(lambda: len(events(run)) >= wanted, running)
    time.sleep(chance.uniform(0.0, 0.03))
    seen, begun = events(run)[-1], time.monotonic()
    running.signal(signal.SIGTERM)
    code = running.finish(120).code
    return Stop(code, time.monotonic() - begun, seen["kind"])


def stop_again_and_again(recipe: Path, folder: Path, number: int) -> tuple[list[Stop], list[dict[str, Any]]]:
    """So many stops, and how the runs ended that they were spread over."""
    stops: list[Stop] = []
    outcomes = []
    while len(stops) < number:
        run = folder / f"run-{len(outcomes)}"
        chance = random.Random(len(outcomes))
        while len(stops) < number:
            stops.append(stop(recipe, run, chance))
            if stops[-1].code == ExitCode.DONE:
                # It had come to its end before.
                stops.pop()
                break
        assert train(recipe, run).finish(120).code == 0
        outcomes.append(outcome(run))
    return stops, outcomes


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stopped_at_any_moment(recipe: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert train(recipe, whole).finish(120).code == 0
    expected = outcome(whole)
    assert list(expected["losses"]) == list(range(1, 25))
    stops, outcomes = stop_again_and_again(recipe, tmp_path, STOPS)
    assert [each for each in stops if each.code != ExitCode.STOPPED or each.within_s > GRACE_S] == []
    assert [each for each in outcomes if each != expected] == []
    if STOPS >= 50:
        saw = {each.saw for each in stops}
        assert {"step", "saved", "validation"} <= saw
        assert saw & BEFORE_THE_FIRST_STEP


@pytest.mark.slow
def test_going_on_says_from_where(recipe: Path, tmp_path: Path) -> None:
    """6 of 18 rows an epoch in batches of 4: five steps an epoch."""
    run = tmp_path / "run"
    running = train(recipe, run)
    wait_for(lambda: len(events(run, "step")) >= 7, running)
    running.signal(signal.SIGTERM)
    assert running.finish(120).code == ExitCode.STOPPED
    (*_, last) = events(run, "step")
    result = train(recipe, run, "--resume").finish(120)
    assert result.code == 0
    (event,) = events(run, "resumed")
    assert (event["stage"], event["step"], event["steps"]) == (1, last["step"], 24)
    assert event["epoch"] == pytest.approx(last["step"] / 5)
    assert event["loss"] == last["loss"]
    assert f"going on from stage 1, step {last['step']} of 24 (epoch {event['epoch']:.2f}, loss " in result.err
    assert "saved 20" in result.err
