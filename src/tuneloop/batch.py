"""What travels inside a training step: a batch of whole conversations without padding, and what an objective is.

Shapes: T tokens of all conversations in a row, S conversations, N target positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Counts = dict[str, float]
"""What the terms of a loss are divided by, over the whole step: `{"tokens": 512.0}`."""


@dataclass(frozen=True)
class Batch:
    """Conversations laid end to end. None sees another: attention stops at the borders, positions restart."""

    ids_T: Tensor
    """int64"""
    positions_T: Tensor
    """int64: place within its own conversation"""
    bounds: tuple[int, ...]
    """Borders of the conversations, or of the pieces that `parents` joins; S + 1 numbers from 0 to T."""
    predictors_N: Tensor
    """int64: the places whose next token is a target"""
    targets_N: Tensor
    """int64: those next tokens"""
    weights_N: Tensor
    """float32: how much each target counts"""
    conversation_N: Tensor
    """int64: which conversation each target belongs to"""
    lower_TD: Tensor | None = None
    """What frozen lower blocks gave for each token, where they were computed before; D is the hidden size."""
    total_weight: float | None = None
    """Sum of `weights_N`, known to the host: asking the device for it would make the host wait."""
    parents: tuple[int, ...] = ()
    """Where conversations share their beginning, it stands once: for each piece between two borders, the index of the
    piece that it goes on from, or -1. Empty: each piece is a conversation of its own."""

    @property
    def num_tokens(self) -> int:
        """T of the legend."""
        return int(self.ids_T.shape[0])

    @property
    def num_targets(self) -> int:
        """N of the legend."""
        return int(self.targets_N.shape[0])

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device; on the way to CUDA the host does not wait."""

        def move(tensor: Tensor) -> Tensor:
            if device.type == "cuda" and tensor.device.type == "cpu":
                tensor = tensor.pin_memory()
            return tensor.to(device, non_blocking=True)

        return Batch(
            move(self.ids_T),
            move(self.positions_T),
            self.bounds,
            move(self.predictors_N),
            move(self.targets_N),
            move(self.weights_N),
            move(self.conversation_N),
            None if self.lower_TD is None else move(self.lower_TD),
            self.total_weight,
            self.parents,
        )


@dataclass(frozen=True)
class Head:
    """How a hidden state becomes logits: `softcap(scale * (W h + b))`."""

    weight_VD: Tensor
    bias_V: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    """c * tanh(logit / c), where the architecture has it (Gemma 2)."""
    compute_dtype: torch.dtype | None = None
    """The type of its matrix product; None leaves that of the weight."""


class Model(Protocol):
    """What an objective may ask of a model."""

    @property
    def head(self) -> Head:
        """The output head; its weight may be trainable."""

    def states(self, batch: Batch) -> Tensor:
        """Final hidden states at the batch's predictors, [N, D]."""


class Objective(Protocol):
    """What is asked of the model. One file, one method."""

    def counts(self, batch: Batch) -> Counts:
        """What this batch adds to the denominators of the step."""

    def loss(self, model: Model, batch: Batch, counts: Counts) -> Tensor:
        """The batch's share of the step's loss, a scalar: its sums divided by the whole step's counts."""


def total_counts(objective: Objective, batches: Sequence[Batch]) -> Counts:
    """The denominators of a step over all its micro-batches."""
    totals: Counts = {}
    for batch in batches:
        for name, value in objective.counts(batch).items():
            totals[name] = totals.get(name, 0.0) + value
    return totals
