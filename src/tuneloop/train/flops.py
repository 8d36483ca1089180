"""Counts the operations that a training step is for, from the shapes of the weights and of the rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tuneloop.model.backbone import CausalModel
from tuneloop.model.blocks import blocks_of
from tuneloop.model.split import lowest_learning_block


@dataclass(frozen=True)
class BlockShape:
    """What one block does with a token."""

    weights: float
    """Weights that a token is multiplied with, adapters included; of experts, those that it is sent to."""
    trainable: float
    """Those of them that learn."""
    window: int | None = None
    """How far back attention sees; None: to the beginning of the conversation."""


@dataclass(frozen=True)
class FlopShape:
    """What the count depends on, of a model with its way of tuning."""

    blocks: tuple[BlockShape, ...]
    lowest: int
    """Index of the lowest block with something to learn: nothing goes back below it."""
    attention_width: int
    """Heads times their size."""
    head: int
    """Vocabulary times hidden size."""
    head_trainable: bool


@dataclass(frozen=True)
class StepFlops:
    """Of one optimiser step; a multiplication and an addition are two."""

    forward: float
    """Weights of the blocks."""
    backward: float
    attention: float
    """Scores and weighted sums, both ways."""
    head: float
    """Logits of the targets, both ways."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.forward + self.backward + self.attention + self.head


def shape_of(model: CausalModel) -> FlopShape:
    """Read the shapes from a model whose weights have been chosen to learn or not.

    Linear layers and stacked experts are counted, and softmax attention. What else a block may do (norms, rotations
    of OFT, a recurrence in place of attention) is not: the count is then too low.
    """
    config = model.base.config.get_text_config()
    blocks = blocks_of(model)
    head_weight = model.head.weight_VD
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return FlopShape(
        blocks=tuple(_block_shape(block, config, index) for index, block in enumerate(blocks)),
        lowest=lowest_learning_block(model),
        attention_width=heads * size,
        head=head_weight.numel(),
        head_trainable=head_weight.requires_grad,
    )


def step_flops(
    shape: FlopShape,
    *,
    lengths: Sequence[int],
    num_targets: int,
    lower_tokens: int | None = None,
    before: Sequence[int] | None = None,
) -> StepFlops:
    """Operations that a step over conversations of these lengths needs.

    A token costs 2 operations a weight on the way forward, 2 for the gradient of the input from the lowest learning
    block up, and 2 more for the gradient of each weight that learns. Attention over L tokens has L (L + 1) / 2 pairs,
    fewer with a window, and 4 operations a pair and channel forward, 8 back. The head is asked at targets alone: 2 V D
    forward, 2 V D for the states' gradient, 2 V D more where it learns. What is computed twice to save memory counts
    once (the convention of "model FLOPs", arXiv:2204.02311, appendix B, with causal pairs in place of all).

    Args:
        shape: of the model.
        lengths: tokens of each conversation.
        num_targets: target tokens.
        lower_tokens: tokens for which the blocks below the lowest learning one were computed; None: all. Fewer where
            their states were kept from an epoch before.
        before: tokens of a shared beginning that each of them goes on from, not counted in its length; None: none.
    """
    num_tokens = sum(lengths)
    below, above = shape.blocks[: shape.lowest], shape.blocks[shape.lowest :]
    computed = 1.0 if lower_tokens is None or not num_tokens else lower_tokens / num_tokens
    forward = 2.0 * num_tokens * (computed * sum(b.weights for b in below) + sum(b.weights for b in above))
    backward = 2.0 * num_tokens * sum(b.weights + b.trainable for b in above)
    seen = [0] * len(lengths) if before is None else before
    pairs = {
        window: sum(_pairs(b + n, window) - _pairs(b, window) for n, b in zip(lengths, seen, strict=True))
        for window in {b.window for b in shape.blocks}
    }
    passes = computed * sum(pairs[b.window] for b in below) + 3.0 * sum(pairs[b.window] for b in above)
    # Where nothing learns below the head, its input needs no gradient.
    head_products = 1 + bool(above) + shape.head_trainable
    return StepFlops(
        forward=forward,
        backward=backward,
        attention=4.0 * shape.attention_width * passes,
        head=2.0 * num_targets * shape.head * head_products,
    )


def matrix_shapes(model: CausalModel) -> Counter[tuple[int, int]]:
    """(inputs, outputs) of the matrices that a token goes through -> how many have that shape; the head is one."""
    shapes: Counter[tuple[int, int]] = Counter()
    for module in blocks_of(model).modules():
        if isinstance(module, nn.Linear):
            shapes[module.in_features, module.out_features] += 1
        elif isinstance(module, Conv1D):
            shapes[module.weight.shape[0], module.weight.shape[1]] += 1
    outputs, inputs = model.head.weight_VD.shape
    shapes[inputs, outputs] += 1
    return shapes


def _block_shape(block: nn.Module, config: Any, index: int) -> BlockShape:
    weights = trainable = 0.0
    for module in block.modules():
        for parameter, used in _matrices(module, config):
            weights += used
            trainable += used if parameter.requires_grad else 0.0
    return BlockShape(weights, trainable, _window(config, index))


def _matrices(module: nn.Module, config: Any) -> list[tuple[Tensor, float]]:
    """Each matrix of a module, without its children, with how many of its weights a token meets."""
    if isinstance(module, nn.Linear):
        # Not the weight's own size: a quantised one is stored in another shape.
        return [(module.weight, float(module.in_features * module.out_features))]
    if isinstance(module, Conv1D):
        return [(module.weight, float(module.weight.numel()))]
    active = getattr(config, "num_experts_per_tok", None)
    experts = [p for p in module.parameters(recurse=False) if p.ndim == 3]  # noqa: PLR2004 - experts, inputs, outputs
    return [(p, p.numel() * (min(1.0, active / p.shape[0]) if active else 1.0)) for p in experts]


def _window(config: Any, index: int) -> int | None:
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if not window or (kinds and index < len(kinds) and kinds[index] != "sliding_attention"):
        return None
    return int(window)


def _pairs(length: int, window: int | None) -> int:
    """Pairs of a token with one that it sees, itself included."""
    if window is None or length <= window:
        return length * (length + 1) // 2
    return window * (window + 1) // 2 + (length - window) * window
