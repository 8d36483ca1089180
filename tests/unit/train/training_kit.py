"""What tests of training share: random rows, quick models, and jobs that can be watched, stopped and killed."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tuneloop.core.events import Event
from tuneloop.core.hooks import Hooks
from tuneloop.core.stop import Stop
from tuneloop.data.tokens.block import TokenRow
from tuneloop.model.backbone import CausalModel
from tuneloop.model.hardware import Hardware
from tuneloop.model.load import load_model
from tuneloop.model.quiet import quiet_transformers
from tuneloop.train.checkpoint import Checkpoints, Manifest
from tuneloop.train.config import StageConfig
from tuneloop.train.job import TrainJob, TrainResult
from tuneloop.train.loop import fit
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import LoraConfig, TuneConfig

torch.set_num_threads(1)


def _root_conftest() -> Any:
    """The conftest of all tests, whatever other conftest was imported under that name last."""
    spec = importlib.util.spec_from_file_location("tuneloop_root_conftest", Path(__file__).parents[2] / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_conftest = _root_conftest()
FAMILIES: tuple[str, ...] = _conftest.FAMILIES
write_model: Callable[..., Path] = _conftest.write_model
alpaca_rows: Callable[[int], list[dict[str, str]]] = _conftest.alpaca_rows

HARDWARE = Hardware(torch.device("cpu"), None, 1)
VOCABULARY = 259
"""Three special tokens and the bytes: every tiny tokenizer has at least these."""


def load(folder: Path) -> CausalModel:
    """The model of a folder, on one thread of the processor."""
    return load_model(folder, HARDWARE)


def write_shallow_model(folder: Path) -> Path:
    """The tiny Llama with one block instead of three: for what does not depend on depth, in half the time."""
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        write_model(folder)
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        network.model.layers = network.model.layers[:1]
        network.config.num_hidden_layers = 1
        network.config.layer_types = None
        network.save_pretrained(folder)
    return folder


def random_rows(
    number: int, *, seed: int = 0, shortest: int = 4, longest: int = 40, name: str = "row"
) -> list[TokenRow]:
    """Conversations of random tokens; from a random place on, every token is a target."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(number):
        length = int(rng.integers(shortest, longest + 1))
        weights = np.zeros(length, dtype=np.float32)
        weights[int(rng.integers(1, length)) :] = 1.0
        rows.append(TokenRow(rng.integers(3, VOCABULARY, size=length).astype(np.int32), weights, f"{name}-{index}"))
    return rows


class Killed(BaseException):
    """Ends a job as a SIGKILL would: nothing in the product catches it, nothing is saved."""


@dataclass
class Watch:
    """Keeps every event; `react` may set `stop.requested`, or raise."""

    react: Callable[["Watch", Event], None] | None = None
    stop: Stop = field(default_factory=Stop)
    events: list[Event] = field(default_factory=list)

    def emit(self, kind: str, **values: Any) -> None:
        """Take one event."""
        self.events.append({"kind": kind, **values})
        if self.react is not None:
            self.react(self, self.events[-1])

    @property
    def hooks(self) -> Hooks:
        """What a stage is given."""
        return Hooks(self.emit, self.stop)

    def of_kind(self, kind: str) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if event["kind"] == kind]


def stop_at(kind: str, step: int, stage: int = 1) -> Callable[[Watch, Event], None]:
    """Ask for an end, as SIGTERM does, when an event comes."""

    def react(watch: Watch, event: Event) -> None:
        if (event["kind"], event.get("step"), event.get("stage")) == (kind, step, stage):
            watch.stop.requested = True

    return react


def kill_at(kind: str, step: int, stage: int = 1) -> Callable[[Watch, Event], None]:
    """Die when an event comes."""

    def react(_: Watch, event: Event) -> None:
        if (event["kind"], event.get("step"), event.get("stage")) == (kind, step, stage):
            raise Killed

    return react


STAGE = StageConfig(num_train_epochs=2, batch_size=4, micro_batch_tokens=64, learning_rate=1e-2, eval_steps=3)
"""With 14 rows: 4 steps an epoch (the last of 2 rows), 8 in all, validations after 3, 6 and 8."""


@dataclass(frozen=True)
class Lab:
    """One job that can be begun again and again on the same folder of checkpoints."""

    base: Path
    folder: Path
    tune: TuneConfig = field(default_factory=lambda: LoraConfig(rank=2, alpha=4, dropout=0.2))
    stages: tuple[StageConfig, ...] = (STAGE,)
    rows: Sequence[TokenRow] = field(default_factory=lambda: random_rows(14))
    eval_rows: Sequence[TokenRow] = field(default_factory=lambda: random_rows(5, seed=1, name="eval"))
    seed: int = 0

    @property
    def checkpoints(self) -> Checkpoints:
        """Of this job."""
        return Checkpoints(self.folder)

    def job(self) -> TrainJob:
        """A fresh model, as a new process would load it."""
        model = load(self.base)
        tuned = apply_tune(model, self.tune, seed=self.seed)
        rates = tuple(stage.learning_rate or 1e-3 for stage in self.stages)
        return TrainJob(model, tuned.trainable, self.rows, self.eval_rows, self.stages, rates, self.seed)

    def fit(
        self, watch: Watch | None = None, *, fingerprint: dict[str, Any] | None = None, accept_changes: bool = False
    ) -> TrainResult:
        """Train, or go on."""
        return self.fit_job(self.job(), watch, fingerprint=fingerprint, accept_changes=accept_changes)

    def fit_job(
        self,
        job: TrainJob,
        watch: Watch | None = None,
        *,
        fingerprint: dict[str, Any] | None = None,
        accept_changes: bool = False,
    ) -> TrainResult:
        """As `fit`, with a model that the test keeps in hand."""
        return fit(
            job,
            self.checkpoints,
            fingerprint={"plan": "p", "threads": 1} if fingerprint is None else fingerprint,
            hooks=(watch or Watch()).hooks,
            accept_changes=accept_changes,
        )


_TIMES = {"step_s", "wall_s"}


def outcome(lab: Lab, result: TrainResult) -> dict[str, Any]:
    """Everything that must not depend on interruptions: two equal values are equal runs, bit for bit."""
    newest, complaints = lab.checkpoints.newest()
    assert newest is not None
    assert not complaints
    return {
        "chosen": result.manifest.weights,
        "chosen step": (result.manifest.progress.stage, result.manifest.progress.step),
        "weights": newest.weights,
        "optimizer": newest.optimizer,
        "progress": newest.progress.model_dump(exclude=_TIMES),
        "returned": result.progress.model_dump(exclude=_TIMES),
    }


def manifests(lab: Lab) -> list[Manifest]:
    """All manifests that lie in the folder."""
    return [lab.checkpoints.read(path) for path in sorted(lab.folder.glob("*.json"))]


def flip_bit(path: Path, byte: int, bit: int = 0) -> None:
    """Change one bit of a file; a negative place counts from its end."""
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)
