"""Activation checkpointing: of each block only its input is kept, or beside it what is dear to compute again."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

from tuneloop.model.backbone import CausalModel
from tuneloop.model.quiet import quiet_transformers

Checkpointing = bool | Literal["selective"]

_THIN = 128
"""Products over fewer numbers, as those of adapters, cost less to do again than their results take to keep."""
_PRODUCTS = {torch.ops.aten.mm.default: 0, torch.ops.aten.addmm.default: 1}
"""Operation -> which argument is its left matrix."""
_ATTENTION = ("scaled_dot_product", "flash_attention", "varlen_attn", "flash_attn")


@contextlib.contextmanager
def checkpointed(model: CausalModel, how: Checkpointing) -> Iterator[None]:
    """Compute blocks again on the way back, within the context.

    `selective` keeps the results of the blocks' wide matrix products and of attention, and computes norms, activations
    and thin products again: torch's selective activation checkpointing.
    """
    if not how:
        yield
        return
    settings: dict[str, Any] = {"use_reentrant": False}
    if how == "selective":
        settings["context_fn"] = functools.partial(create_selective_checkpoint_contexts, _policy)
    with quiet_transformers():
        model.base.gradient_checkpointing_enable(settings)
    try:
        yield
    finally:
        with quiet_transformers():
            model.base.gradient_checkpointing_disable()


def _policy(context: object, operation: Any, *arguments: Any, **options: object) -> CheckpointPolicy:
    del context, options
    left = _PRODUCTS.get(operation)
    is_wide = left is not None and min(*arguments[left].shape[1:], arguments[left + 1].shape[1]) >= _THIN
    if is_wide or any(name in str(operation) for name in _ATTENTION):
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE
