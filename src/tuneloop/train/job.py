"""What is trained, with what, for how long: everything that decides the weights that come out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from tuneloop.core.seeds import derive_seed
from tuneloop.data.select.order import EpochPlan, plain_plan
from tuneloop.data.stream import StreamPlan
from tuneloop.data.tokens.block import TokenRow
from tuneloop.model.backbone import CausalModel
from tuneloop.train.checkpoint import Manifest, Progress
from tuneloop.train.config import StageConfig


@dataclass(frozen=True)
class TrainJob:
    """Everything that decides the weights that come out."""

    model: CausalModel
    trainable: Mapping[str, nn.Parameter]
    rows: Sequence[TokenRow]
    eval_rows: Sequence[TokenRow]
    stages: tuple[StageConfig, ...]
    learning_rates: tuple[float, ...]
    """The peak of each stage."""
    seed: int
    epochs: EpochPlan | StreamPlan | None = None
    """Which rows come in which step; None: each row once an epoch, shuffled."""

    rate_factors: Mapping[str, float] = field(default_factory=dict)
    """Name of a parameter -> factor on the learning rate (LoRA+); 1 where it is not named."""

    def epochs_of(self, stage: int) -> EpochPlan | StreamPlan:
        """The plan of one stage, counted from 1: each has an order of its own."""
        plan = self.epochs or plain_plan(len(self.rows), self.seed)
        return replace(plan, seed=derive_seed(self.seed, "stage", stage))


@dataclass(frozen=True)
class TrainResult:
    """What came out. The model's weights are those of `manifest`."""

    manifest: Manifest
    progress: Progress
    """Of the last step, whichever checkpoint was chosen."""


def steps_of_stage(stage: StageConfig, epochs: EpochPlan | StreamPlan) -> int:
    """Optimiser steps of a stage."""
    per_epoch = epochs.steps_per_epoch(stage.batch_size)
    if per_epoch is None:
        assert stage.max_steps is not None, "a plan that streams names the steps of each stage"
        return stage.max_steps
    steps = math.ceil(stage.num_train_epochs * per_epoch)
    return steps if stage.max_steps is None else min(steps, stage.max_steps)


def token_budget(stage: StageConfig, device: torch.device) -> int:
    """Tokens of a micro-batch."""
    return stage.micro_batch_tokens or (8192 if device.type == "cuda" else 512)
