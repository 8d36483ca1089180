"""Training jobs in processes of their own that can be killed: forked from a server that has imported everything."""

import contextlib
import json
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.command_line import _servers
from tuneloop.core.store import hash_json
from tuneloop.train.config import StageConfig
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig
from unit.train.training_kit import STAGE, Lab, Watch, outcome

TUNES: dict[str, TuneConfig] = {
    "lora": LoraConfig(rank=2, alpha=4, dropout=0.2),
    "freeze": FreezeConfig(trainable_blocks=1),
    "full": FullConfig(),
}
ACCUMULATED, PACKED = 64, 512
"""Tokens of a micro-batch: a step of several, or all rows of a step packed into one."""


@dataclass(frozen=True)
class Case:
    """One kind of training."""

    tune: str
    optimizer: str
    micro_batch_tokens: int
    stages: int

    def lab(self, model: Path, folder: Path) -> Lab:
        """Sixteen steps, saved every third and at every second validation."""
        one: StageConfig = STAGE.replace(
            optimizer=self.optimizer,
            micro_batch_tokens=self.micro_batch_tokens,
            num_train_epochs=4 // self.stages,
            eval_steps=4,
            save_steps=3,
            save_minutes=0.0005,
        )
        return Lab(model, folder, tune=TUNES[self.tune], stages=(one,) * self.stages)


CASES = [
    Case("lora", "adamw", ACCUMULATED, 1),
    Case("full", "adafactor", PACKED, 2),
    Case("freeze", "adamw", PACKED, 1),
    Case("lora", "adafactor", PACKED, 1),
    Case("full", "adamw", ACCUMULATED, 2),
    Case("freeze", "adafactor", ACCUMULATED, 2),
    Case("lora", "adamw", PACKED, 2),
    Case("full", "adafactor", ACCUMULATED, 1),
    Case("freeze", "adamw", ACCUMULATED, 2),
    Case("lora", "adafactor", ACCUMULATED, 2),
    Case("full", "adamw", PACKED, 1),
    Case("freeze", "adafactor", PACKED, 1),
]
"""Every two values of two settings meet at least once."""


def _train(case: Case, model: Path, folder: Path, plant: str | None) -> None:
    """What a killed process does: note every step, train, write the outcome."""
    lab = case.lab(model, folder / "checkpoints")
    if plant == "chance goes on":
        _forget_the_step_in_chance()
    descriptor = os.open(folder / "steps.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(_: Watch, event: dict[str, Any]) -> None:
        if event["kind"] == "step":
            line = json.dumps([event["stage"], event["step"], event["loss"], event["grad_norm"]])
            os.write(descriptor, line.encode() + b"\n")

    os.write(descriptor, b"\n")
    found = outcome(lab, lab.fit(Watch(note)))
    (folder / "outcome").write_text(hash_json(json.loads(json.dumps(found, default=lambda v: v.model_dump()))))


def _forget_the_step_in_chance() -> None:
    """The planted bug: dropout goes on from wherever the generator stands, which a restart does not know."""
    from tuneloop.train import stage

    stage.derive_seed = lambda *_: 0  # type: ignore[assignment]
    original, calls = stage.torch.manual_seed, []

    def once(seed: int) -> None:
        if not calls:
            original(seed)
        calls.append(seed)

    stage.torch.manual_seed = once  # type: ignore[assignment]


def steps_of(folder: Path) -> dict[tuple[int, int], tuple[float, float]]:
    """(stage, step) -> loss and gradient norm; where a step was done twice, the later one."""
    lines = (folder / "steps.jsonl").read_text().split("\n")[:-1]
    return {(s, n): (loss, norm) for s, n, loss, norm in map(json.loads, filter(None, lines))}


def lines_of(folder: Path) -> list[bytes]:
    """What the processes noted so far: an empty line where one began, and a line a step."""
    path = folder / "steps.jsonl"
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


@dataclass(frozen=True)
class Moment:
    """When a process is killed: so many steps after it began, and a while later."""

    steps: int
    later_s: float


def random_moment(chance: random.Random) -> Moment:
    """One in four meets a process that still loads; the while is as long as a few steps with their saves."""
    return Moment(max(0, chance.randint(-4, 11)), chance.uniform(0.0, 0.05))


def train(case: Case, model: Path, folder: Path, *, kill: Moment | None, plant: str | None = None) -> bool:
    """Run a process until it ends, or is killed; returns whether it was."""
    folder.mkdir(parents=True, exist_ok=True)
    before = len(lines_of(folder))
    process = _servers.Process(target=_train, args=(case, model, folder, plant), daemon=True)
    process.start()
    if kill is not None:
        while len(lines_of(folder)) <= before + kill.steps and process.is_alive():
            time.sleep(0.001)
        process.join(kill.later_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid or 0, signal.SIGKILL)
    process.join(120)
    code = process.exitcode
    process.close()
    assert code in {0, -signal.SIGKILL}, code
    return code != 0


def train_through_kills(
    case: Case, model: Path, folder: Path, *, kills: int, chance: random.Random, plant: str | None = None
) -> int:
    """Kill at random moments, then let it end; returns how many kills met it alive."""
    for done in range(kills):
        if not train(case, model, folder, kill=random_moment(chance), plant=plant):
            return done
    train(case, model, folder, kill=None, plant=plant)
    return kills
