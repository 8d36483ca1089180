"""How a tool names the keys that it shares with the Hugging Face Trainer, and what it does where they are absent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STAGE = "stages.0."
"""Where the fields of the one stage of an imported recipe lie."""

ADAM_FIELDS = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
"""tuneloop's defaults; the Trainer's are the same."""

# transformers 5: training_args.py
TRAINER_DEFAULTS: dict[str, Any] = {
    "num_train_epochs": 3.0,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "learning_rate": 5e-5,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "seed": 42,
    "gradient_checkpointing": False,
    **ADAM_FIELDS,
}


@dataclass(frozen=True)
class Fixed:
    """A number that a tool takes whatever the config says."""

    value: float
    by: str
    """The key that makes it so."""


@dataclass(frozen=True)
class Dialect:
    """A tool's names and defaults."""

    names: Mapping[str, str] = field(default_factory=dict)
    """The Trainer's name -> the tool's."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The Trainer's name -> the tool's default."""
    packed: bool = False
    """Whether a row of a batch is a packed sequence, not a conversation."""
    world_size: int = 1
    """Processes that the config itself names."""
    fixed: Mapping[str, Fixed] = field(default_factory=dict)
    """The Trainer's name -> what a way of tuning or an optimiser makes of it."""

    def key(self, name: str) -> str:
        """The tool's name."""
        return self.names.get(name, name)
