"""How long and how fast a stage learns, as a recipe writes it."""

from typing import Literal

from pydantic import Field

from tuneloop.core.config import Config
from tuneloop.objectives.config import ObjectiveConfig, SftConfig

OptimizerName = Literal[
    "adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "muon", "lion", "galore", "apollo"
]
"""Names follow the `optim` of the Hugging Face Trainer where they mean the same."""


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
    lr_scheduler_type: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """`wsd` is warm-up, stable, decay (arXiv:2405.18392)."""
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    decay_ratio: float = Field(default=0.2, gt=0, le=1)
    """`wsd`: share of the steps at the end in which it falls to 0."""
    optimizer: OptimizerName = "adamw"
    """8-bit and paged ones need the extra `quant`, lion and galore the extra `optim`."""
    optimizer_rank: int = Field(default=128, gt=0)
    """galore, apollo: rank of the space in which moments are kept."""
    optimizer_update_steps: int = Field(default=200, gt=0)
    """galore, apollo: steps between two choices of that space."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Not applied to biases and norms."""
    # Of AdamW in all its forms, galore and apollo; lion, adafactor and muon's matrices have numbers of their own.
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    adam_epsilon: float = Field(default=1e-8, gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    gradient_checkpointing: bool | Literal["selective"] = False
    """Keep only each block's input and compute the rest again on the way back: less memory, about a third slower.
    `selective` keeps the results of wide matrix products and of attention as well: half of the gain at a third of the
    cost."""
    eval_steps: int | None = Field(default=None, gt=0)
    """Validation loss and a checkpoint every so many steps. By default twice an epoch, and at the end."""
    early_stopping_patience: int | None = Field(default=None, gt=0)
    """Stop after so many validations in a row without a lower loss."""
    keep: Literal["best", "last"] = "best"
    """Which checkpoint is the result: the lowest validation loss, or the last step."""
    save_steps: int | None = Field(default=None, gt=0)
    """A checkpoint every so many steps, beside those at validation."""
    save_minutes: float | None = Field(default=10.0, gt=0)
    """A checkpoint when so much time has passed since the last one; None: only at validation and by `save_steps`."""
    max_skipped_steps: int = Field(default=5, gt=0)
    """Training ends, with an exit code of its own, after so many steps in a row without finite loss and gradient."""
    share_prefixes: bool = True
    """Where conversations of a step begin with the same 32 or more tokens, those are computed once. Not together with
    the activation cache."""
    activation_cache: Literal["auto", "off", "memory", "disk"] = "auto"
    """Where the lowest blocks do not learn, what they compute for a row is the same in every epoch: kept from the
    first. `auto` keeps it in memory where it fits into `activation_cache_gib`, else on disk."""
    activation_cache_gib: float = Field(default=2.0, gt=0)
    """Memory for it; on disk ten times as much is allowed."""
