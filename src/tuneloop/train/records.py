"""What training leaves behind: a checkpoint that names its rows, its base and its cost."""

from typing import Literal

from tuneloop.core.config import Config
from tuneloop.core.records import Record


class TrainCost(Config):
    """What was spent, over all starts of the run."""

    wall_s: float
    steps: int
    tokens: int
    """Real tokens processed, no padding."""
    target_tokens: int
    tokens_per_s: float
    peak_memory_bytes: int
    """Highest resident memory of the process, or device memory on an accelerator."""
    target_tokens_per_s: float | None = None
    utilisation: float | None = None
    """Useful operations a second as a share of what the device can do (`train.meter`), over all steps."""


class CheckpointRecord(Record):
    """The chosen checkpoint of one round."""

    kind: Literal["checkpoint"] = "checkpoint"
    round: int = 1
    base: str
    """The model source, as in the recipe."""
    base_hash: str
    step: int
    manifest: str
    """The manifest's path, relative to the run folder."""
    weights_sha256: str
    tune: str
    """A short description for people: `lora rank 16 on all linear layers of blocks 15..29`."""
    trainable_parameters: int
    total_parameters: int
    train_loss: float | None
    """Of the step before the checkpoint; None where no step was applied."""
    validation_loss: float | None = None
    skipped_steps: int = 0
    """Updates that were not applied because loss or gradient was not finite."""
    device: str
    precision: str
    threads: int
    cost: TrainCost
