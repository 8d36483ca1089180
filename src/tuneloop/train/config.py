"""How long and how fast a stage learns, as a recipe writes it."""

from typing import Literal

from pydantic import Field

from tuneloop.core.config import Config
from tuneloop.objectives.config import ObjectiveConfig, SftConfig


class StageConfig(Config):
    """One pass of training. Names follow the Hugging Face Trainer where they mean the same."""

    objective: ObjectiveConfig = SftConfig()
    num_train_epochs: float = Field(default=3.0, gt=0)
    """Passes over the training rows; 3 to 10 is usual."""
    max_steps: int | None = Field(default=None, gt=0)
    """Stops earlier, after so many optimiser steps."""
    batch_size: int = Field(default=32, gt=0)
    """Conversations in one optimiser step; 16 to 64 is usual. How they share memory is `micro_batch_tokens`."""
    micro_batch_tokens: int | None = Field(default=None, gt=0)
    """Tokens that are computed at once: memory, not results, depends on it. By default 512 on a CPU, 8192 on a GPU."""
    learning_rate: float | None = Field(default=None, gt=0)
    """By default 2e-5 where weights themselves move (usual: 1e-5 to 5e-5), 2e-4 for LoRA (about 10 times that)."""
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Not applied to biases and norms."""
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    adam_epsilon: float = Field(default=1e-8, gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    gradient_checkpointing: bool = False
    """Keep only each block's input and compute the rest again on the way back: less memory, about a third slower."""
    eval_steps: int | None = Field(default=None, gt=0)
    """Validation loss and a checkpoint every so many steps. By default twice an epoch, and at the end."""
    early_stopping_patience: int | None = Field(default=None, gt=0)
    """Stop after so many validations in a row without a lower loss."""
    keep: Literal["best", "last"] = "best"
    """Which checkpoint is the result: the lowest validation loss, or the last step."""
