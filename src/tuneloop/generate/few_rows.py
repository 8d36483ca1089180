"""Linear layers on a processor when few rows come: the weight is read once, and no row depends on how many there are.

Shapes: R rows, I inputs, O outputs of a layer, P outputs of a panel.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tuneloop.model.backbone import CausalModel

_MOST = 64
"""Above it, the usual product is as fast."""
_BLOCKS = (192, 96, 128, 64)
"""Outputs of a block, the best first: a wide weight is multiplied in blocks of rows, which the library packs better."""
_WIDE = 1024
"""Outputs from which that pays."""
LEAST = 16
"""With fewer rows the library chooses other kernels, whose sums have another order."""
_PANEL = 16
"""Outputs whose weights lie side by side in a packed weight: what a core multiplies at a time."""
_ROOM = 4 << 30
"""Bytes: layers that are larger, all together, are not held a second time."""


@contextlib.contextmanager
def few_rows(model: CausalModel, *, least: int = LEAST) -> Iterator[None]:
    """Within the block, plain float32 layers on the CPU compute W x^T for few rows; elsewhere nothing changes.

    x W^T splits its R rows between threads, and each thread goes through all of W; W x^T splits W. Faster still is a
    copy of W whose panels of outputs are read from end to end. Models get one by their size alone, at a layer's first
    use, and for as long as the block lasts: weights may change between two blocks.

    Args:
        model: whose layers; the functions that training put in place of peft's LoRA layers rest meanwhile.
        least: fewer rows are filled up to so many, at no cost in results.
    """
    replaced: list[Any] = []
    resting: list[tuple[Any, Any]] = []
    if model.device.type == "cpu" and model.autocast_dtype is None:
        modules = list(model.network.modules())
        plain = [module for module in modules if _is_plain(module)]
        is_packed = least >= LEAST and sum(module.weight.nbytes for module in plain) <= _ROOM
        for module in plain:
            can_pack = is_packed and module.weight.shape[0] % _PANEL == 0
            module.forward = _Packed(module, least) if can_pack else _FewRows(module, least)
            replaced.append(module)
        resting.extend(
            (module, vars(module).pop("forward"))
            for module in modules
            if hasattr(module, "base_layer") and "forward" in vars(module)
        )
    try:
        yield
    finally:
        for module in replaced:
            del module.forward
        for module, forward in resting:
            module.forward = forward


def _is_plain(module: Any) -> bool:
    """Whether a layer computes nn.Linear's formula, and nobody has put another function in its place."""
    return type(module) is nn.Linear and "forward" not in vars(module) and module.weight.dtype == torch.float32


class _FewRows:
    """The forward of one linear layer."""

    def __init__(self, module: nn.Linear, least: int) -> None:
        self.module, self.least = module, least

    def __call__(self, x: Tensor) -> Tensor:
        weight_OI, bias = self.module.weight, self.module.bias
        rows = x.numel() // x.shape[-1]
        if rows > _MOST or x.dtype != torch.float32:
            return nn.functional.linear(x, weight_OI, bias)
        x_RI = x.reshape(rows, -1)
        if rows < self.least:
            x_RI = torch.cat([x_RI, x_RI.new_zeros(self.least - rows, x_RI.shape[1])])
        y_RO = self._multiply(weight_OI, x_RI)[:rows].contiguous()
        if bias is not None:
            y_RO += bias
        return y_RO.view(*x.shape[:-1], -1)

    def _multiply(self, weight_OI: Tensor, x_RI: Tensor) -> Tensor:
        return _product(weight_OI, x_RI.t()).t()


class _Packed(_FewRows):
    """The forward of a layer that is held a second time."""

    packed: Tensor | None = None
    """[O / P, I, P]"""

    def _multiply(self, weight_OI: Tensor, x_RI: Tensor) -> Tensor:
        if self.packed is None:
            self.packed = weight_OI.unflatten(0, (-1, _PANEL)).transpose(1, 2).contiguous()
        panels = self.packed.shape[0]
        return torch.bmm(x_RI.expand(panels, -1, -1), self.packed).transpose(0, 1).flatten(1)


def _product(weight_OI: Tensor, x_IR: Tensor) -> Tensor:
    """W x, [O, R]."""
    outputs = weight_OI.shape[0]
    block = next((size for size in _BLOCKS if outputs % size == 0), 0)
    if outputs < _WIDE or not block:
        return torch.mm(weight_OI, x_IR)
    blocks = outputs // block
    y = torch.bmm(weight_OI.unflatten(0, (blocks, block)), x_IR.contiguous().expand(blocks, -1, -1))
    return y.view(outputs, -1)
