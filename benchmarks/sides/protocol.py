"""What the driver hands to a side, and what the side gives back; the standard library only."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
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
    tune: Literal["lora", "full"] = "lora"
    """LoRA on `targets`, or every weight."""
    trainable_blocks: int | None = None
    """LoRA on the last n blocks only; None: on all."""
    epochs: int = 1
    """How often the rows are seen, in the same order each time."""
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
    """The command line of a side: `side.py SETTINGS RESULT STARTED_AT *FLAGS`."""

    settings: Settings
    result: Path
    started_at: float
    """`time.time()` just before the process was started."""
    flags: tuple[str, ...] = ()

    @classmethod
    def parse(cls, arguments: list[str]) -> Call:
        """Read the arguments, and the settings file that the first one names; `--single` is one row a micro-batch."""
        settings, result, started_at, *flags = arguments
        values = json.loads(Path(settings).read_text(encoding="utf-8"))
        loaded = Settings(**values)
        if "--single" in flags:
            loaded = replace(loaded, micro_batch=1)
        return cls(loaded, Path(result), float(started_at), tuple(flags))

    def read_rows(self) -> list[dict[str, list[int]]]:
        """Read the tokenised rows as they stand in the file."""
        with Path(self.settings.rows).open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def load_rows(self) -> list[dict[str, list[int]]]:
        """Read the tokenised rows; with `--grouped`, those of each optimiser step sorted by length.

        The longest come first, so that the first step touches the most memory that any will.
        """
        rows = self.read_rows()
        if "--grouped" not in self.flags:
            return rows
        size = self.settings.batch_size
        steps = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [row for step in steps for row in sorted(step, key=lambda row: -len(row["input_ids"]))]


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
    own_loss: float | None = None
    """What the side itself lowers, where that is not the mean over the targets of the step."""


@dataclass(frozen=True)
class Result:
    """What a side reports."""

    steps: list[Step]
    begin_s: float
    """From the start of the process to the beginning of the first optimiser step."""
    first_step_s: float
    """From the start of the process to the end of the first optimiser step."""
    versions: dict[str, str]
    first_rows: list[int] | None = None
    """Which rows the first optimiser step saw, counted from 0; None: those that come first in the file."""

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
        self._begin_s = self._first_step_s = 0.0
        self._steps: list[Step] = []
        self.first_rows: list[int] | None = None
        self.begin()

    def begin(self) -> None:
        """Say that the first step starts now."""
        self._begin_s = time.time() - self._started_at
        self._mark()

    def _mark(self) -> None:
        self._marks_s = (time.monotonic(), time.process_time())

    def end_step(self, loss: float, tokens: int, target_tokens: int, own_loss: float | None = None) -> None:
        """Say that an optimiser step ends now; the next one starts at the same instant."""
        if not self._steps:
            self._first_step_s = time.time() - self._started_at
        wall_s, cpu_s = self._marks_s
        self._mark()
        self._steps.append(
            Step(
                step=len(self._steps) + 1,
                loss=loss,
                tokens=tokens,
                target_tokens=target_tokens,
                wall_s=self._marks_s[0] - wall_s,
                cpu_s=self._marks_s[1] - cpu_s,
                own_loss=own_loss,
            )
        )

    def save(self, path: Path, packages: list[str]) -> None:
        """Write a `Result` that names the versions of `packages`."""
        versions = {"python": sys.version.split()[0]} | {name: version(name) for name in packages}
        result = Result(self._steps, self._begin_s, self._first_step_s, versions, self.first_rows)
        path.write_text(json.dumps(asdict(result), indent=2), encoding="utf-8")
