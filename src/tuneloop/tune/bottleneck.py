"""One bottleneck layer, and the slot inside a block where several named ones wait for their turn.

Shapes: D hidden size, M bottleneck; any number of places in front of D.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

SLOT = "adapters"
"""The slot's name inside the layer that it follows: `model.layers.0.mlp.adapters.default.down.weight`."""

Activation = Literal["relu", "gelu", "silu", "tanh"]

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
_START_STD = 1e-2
"""Of W_down; Houlsby et al. 2019, section 3.6, find anything up to it to train well."""


class Bottleneck(nn.Module):
    """h + scale (W_up act(W_down h + b_down) + b_up); W_down is M x D, W_up is D x M.

    W_up and both biases begin at zero, so that nothing changes before the first step.
    Source: Houlsby et al. 2019, section 2.1 (arXiv:1902.00751); `scale` as in He et al. 2022 (arXiv:2110.04366).
    """

    def __init__(self, hidden_size: int, size: int, *, activation: Activation, dropout: float, scale: float) -> None:
        super().__init__()
        self.down = nn.Linear(hidden_size, size)
        self.bend = _ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Linear(size, hidden_size)
        self.scale = scale
        self.activation: Activation = activation

    def begin(self, seed: int) -> None:
        """Draw W_down from a normal distribution, the same on every device; everything else is zero."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            if not self.down.weight.is_meta:
                random = torch.Generator().manual_seed(seed)
                self.down.weight.copy_(torch.randn(self.down.weight.shape, generator=random) * _START_STD)

    def forward(self, hidden_D: Tensor) -> Tensor:
        """The layer's output, in the type of its input."""
        inner_D = hidden_D if torch.is_autocast_enabled(hidden_D.device.type) else hidden_D.to(self.down.weight.dtype)
        change_D = self.up(self.dropout(self.bend(self.down(inner_D))))
        return hidden_D + (self.scale * change_D).to(hidden_D.dtype)


class Slot(nn.ModuleDict):
    """Named bottlenecks behind one layer; at most one of them is active."""

    def __init__(self) -> None:
        super().__init__()
        self.active: str | None = None
        self.handle: RemovableHandle | None = None


def slot_of(layer: nn.Module) -> Slot | None:
    """The slot behind a layer, where there is one."""
    slot = layer._modules.get(SLOT)  # noqa: SLF001 - getattr would also find what is no module
    return slot if isinstance(slot, Slot) else None


def open_slot(layer: nn.Module) -> Slot:
    """The slot behind a layer, made where there is none."""
    slot = slot_of(layer)
    if slot is None:
        slot = Slot()
        layer.add_module(SLOT, slot)
        slot.handle = layer.register_forward_hook(_pass_through_slot)
    return slot


def close_slot(layer: nn.Module) -> None:
    """Take the slot away, and leave the layer as it was before."""
    slot = slot_of(layer)
    if slot is not None and slot.handle is not None:
        slot.handle.remove()
        delattr(layer, SLOT)


def _pass_through_slot(layer: nn.Module, _: tuple[Any, ...], output: Any) -> Any:
    """Change what a layer hands out; of a tuple, as attention gives it, the first value.

    It keeps no state and finds the slot through the layer, so that a copied network passes through its own slots.
    """
    slot = slot_of(layer)
    if slot is None or slot.active is None or slot.active not in slot:
        return output
    adapter = slot[slot.active]
    return (adapter(output[0]), *output[1:]) if isinstance(output, tuple) else adapter(output)
