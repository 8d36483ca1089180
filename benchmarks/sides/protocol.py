"""What the driver hands to a side, and what the side gives back; the standard library only."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

IGNORED_LABEL = -100
"""The label of a token that is context and not learned."""


@dataclass(frozen=True)
class Settings:
    """One training run. Every side reads the same values."""

    model: str
    """A local Hugging Face folder."""
    rows: str
    """JSON lines with `input_ids` and `labels`, in the order of training."""
    cutoff_len: int
    batch_size: int
    """Conversations in an optimiser step."""
    micro_batch: int
    """Conversations in a forward pass, where a side does not pack."""
    rank: int
    """Rank of the LoRA adapters on `targets`; their scale is 2 (alpha = 2 * rank)."""
    learning_rate: float
    schedule: Literal["constant", "linear"]
    """The learning rate stays, or falls linearly to zero."""
    threads: int
    seed: int = 0
    targets: Sequence[str] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip
    betas: Sequence[float] = (0.9, 0.999)
    max_grad_norm: float = 1.0

    def save(self, path: Path) -> None:
        """Write the settings as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")


@dataclass(frozen=True)
class Call:
    """The command line of a side: `side.py SETTINGS RESULT STARTED_AT`."""

    settings: Settings
    result: Path
    started_at: float
    """`time.time()` just before the process was started."""

    @classmethod
    def parse(cls, arguments: list[str]) -> Call:
        """Read the three arguments, and the settings file that the first one names."""
        settings, result, started_at = arguments
        values = json.loads(Path(settings).read_text(encoding="utf-8"))
        return cls(Settings(**values), Path(result), float(started_at))


@dataclass(frozen=True)
class Step:
    """One optimiser step: the mean loss of its targets in nats, what it saw, and what it cost."""

    step: int
    loss: float
    tokens: int
    """Real tokens, without padding."""
    target_tokens: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Result:
    """What a side reports."""

    steps: list[Step]
    first_step_s: float
    """From the start of the process to the end of the first optimiser step."""
    versions: dict[str, str]

    @classmethod
    def load(cls, path: Path) -> Result:
        """Read what `StepLog.save` wrote."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        steps = [Step(**step) for step in values.pop("steps")]
        return cls(steps=steps, **values)


class StepLog:
    """Takes the time at the end of each optimiser step."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._first_step_s = 0.0
        self._steps: list[Step] = []
        self.begin()

    def begin(self) -> None:
        """Say that the first step starts now."""
        self._marks_s = (time.monotonic(), time.process_time())

    def end_step(self, loss: float, tokens: int, target_tokens: int) -> None:
        """Say that an optimiser step ends now; the next one starts at the same instant."""
        if not self._steps:
            self._first_step_s = time.time() - self._started_at
        wall_s, cpu_s = self._marks_s
        self.begin()
        self._steps.append(
            Step(
                step=len(self._steps) + 1,
                loss=loss,
                tokens=tokens,
                target_tokens=target_tokens,
                wall_s=self._marks_s[0] - wall_s,
                cpu_s=self._marks_s[1] - cpu_s,
            )
        )

    def save(self, path: Path, packages: list[str]) -> None:
        """Write a `Result` that names the versions of `packages`."""
        versions = {"python": sys.version.split()[0]} | {name: version(name) for name in packages}
        result = Result(self._steps, self._first_step_s, versions)
        path.write_text(json.dumps(asdict(result), indent=2), encoding="utf-8")
