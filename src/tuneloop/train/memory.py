"""How much memory training will take, computed before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneloop.model.backbone import CausalModel
from tuneloop.tune.build import Tuned
from tuneloop.tune.freeze import blocks_of

_FLOAT = 4
_RUNTIME_BYTES = {"cpu": 700 << 20, "cuda": 600 << 20}
"""Python with torch, transformers and peft; on a GPU the CUDA context."""
_LOSS_BYTES = 2 * (96 << 20)
"""A chunk of logits and its gradient."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of each part."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    rest: int

    @property
    def total(self) -> int:
        """All of it at once, as in the backward pass."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.rest


def estimate_memory(
    model: CausalModel, tuned: Tuned, *, micro_batch_tokens: int, checkpointing: bool, device: str
) -> MemoryEstimate:
    """The peak of a training step; `model` may live on the meta device.

        weights = 4 P        gradients = 4 P_t        AdamW = 8 P_t        (P parameters, P_t of them trainable)
        activations = 4 T * (number of blocks that are differentiated) * floats of a block

    A block keeps about 16 hidden and 5 intermediate vectors a token for its backward pass (norms, projections,
    attention, gated MLP); with checkpointing one hidden vector, and one block in full. Derived by counting the
    tensors that autograd saves for a Llama block.
    """
    config = model.base.config.get_text_config()
    hidden = config.hidden_size
    intermediate = getattr(config, "intermediate_size", None) or 4 * hidden
    blocks = _differentiated_blocks(model)
    block_floats = 16 * hidden + 5 * intermediate
    floats = blocks * hidden + block_floats if checkpointing else blocks * block_floats
    return MemoryEstimate(
        weights=_FLOAT * tuned.total,
        gradients=_FLOAT * tuned.num_trainable,
        optimizer=2 * _FLOAT * tuned.num_trainable,
        activations=_FLOAT * micro_batch_tokens * floats,
        rest=_RUNTIME_BYTES[device] + _LOSS_BYTES,
    )


def _differentiated_blocks(model: CausalModel) -> int:
    """Blocks at or above the lowest one with something to learn; all, where the embeddings learn."""
    blocks: Any = blocks_of(model)
    if model.base.get_input_embeddings().weight.requires_grad:
        return len(blocks)
    learning = [index for index, block in enumerate(blocks) if any(p.requires_grad for p in block.parameters())]
    return len(blocks) - min(learning, default=len(blocks))


def longest_micro_batch(row_lengths: Sequence[int] | np.ndarray, *, budget: int, batch_size: int) -> int:
    """Tokens of the largest micro-batch that a step over rows of these lengths can make."""
    lengths = np.sort(np.asarray(row_lengths))[::-1][:batch_size].tolist()
    return max(min(budget, sum(lengths)), lengths[0])
