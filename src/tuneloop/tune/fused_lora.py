"""LoRA's layers as one differentiable function: fewer and better shaped matrix products than autograd would choose.

Layers that read the same input (query, key and value; gate and up) are computed together: their frozen weights
lie in one matrix, the input goes through it once, and one function knows all their gradients.

Shapes: T tokens, I input size, O output sizes of the layers of a group in a row, R their ranks in a row.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tuneloop.model.backbone import CausalModel
from tuneloop.model.quantize import QuantisedLinear

_SHARED_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of layers that transformers' blocks call with the same input."""


def fuse_lora(model: CausalModel) -> int:
    """Let the plain LoRA layers of the model compute in groups; return how many layers do.

    Left as they are: layers with dropout, DoRA, several or merged adapters, and all layers under autocast. The
    parameters stay where they are, under their names; weights of a group become views of one matrix. Quantised ones
    are brought back into one matrix for each product.
    """
    if model.autocast_dtype is not None:
        return 0
    fused = 0
    for parent in model.network.modules():
        for layers in _groups(parent):
            _Group.build(layers).take_over()
            fused += len(layers)
    return fused


def _groups(parent: nn.Module) -> Iterator[list[Any]]:
    children = {name: child for name, child in parent.named_children() if _is_plain(child)}
    for names in _SHARED_INPUT:
        found = [children[name] for name in names if name in children]
        alike = len({(layer.in_features, type(layer.base_layer)) for layer in found}) == 1
        if len(found) == len(names) and alike:
            yield found
            for name in names:
                del children[name]
    for child in children.values():
        yield [child]


def _is_plain(module: nn.Module) -> bool:
    """Whether peft's layer is W x + scale B A x and nothing else."""
    from peft.tuners.lora import Linear

    if type(module) is not Linear or isinstance(module.forward, _Member) or not _is_frozen_float(module.base_layer):
        return False
    names = module.active_adapters
    if len(names) != 1 or module.merged or module.disable_adapters or names[0] not in module.lora_A:
        return False
    name = names[0]
    return (
        isinstance(module.lora_dropout[name], nn.Identity)
        and name not in getattr(module, "lora_variant", {})
        and not getattr(module, "lora_bias", {}).get(name, False)
        and module.lora_A[name].weight.dtype == torch.float32
        and not module.fan_in_fan_out
    )


def _is_frozen_float(layer: nn.Module) -> bool:
    if isinstance(layer, QuantisedLinear):
        return True
    return type(layer) is nn.Linear and not layer.weight.requires_grad and layer.weight.dtype == torch.float32


@dataclass(frozen=True)
class _Member:
    """The forward of one layer of a group."""

    group: "_Group"
    index: int

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.group.call(self.index, x, *args, **kwargs)


@dataclass
class _Group:
    layers: Sequence[Any]
    bounds: tuple[int, ...]
    """Borders of the layers' outputs, from 0 to O."""
    held_OI: Tensor | None
    """The layers' weights as one matrix; None where they are quantised."""
    _input: Tensor | None = None
    _waiting: dict[int, Tensor] = field(default_factory=dict)
    """Outputs that were computed with the first layer's, and that the others have not fetched yet."""

    @classmethod
    def build(cls, layers: Sequence[Any]) -> "_Group":
        bases = [layer.base_layer for layer in layers]
        borders = [0]
        for base in bases:
            borders.append(borders[-1] + base.out_features)
        if all(isinstance(base, QuantisedLinear) for base in bases):
            return cls(layers, tuple(borders), None)
        if len(bases) == 1:
            return cls(layers, tuple(borders), bases[0].weight.data)
        weight_OI = torch.cat([base.weight.data for base in bases])
        for base, (begin, end) in zip(bases, pairwise(borders), strict=True):
            base.weight.data = weight_OI[begin:end]
        return cls(layers, tuple(borders), weight_OI)

    def take_over(self) -> None:
        for index, layer in enumerate(self.layers):
            layer.forward = _Member(self, index)

    def call(self, index: int, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        layer = self.layers[index]
        if args or kwargs or x.dtype != torch.float32 or layer.merged or layer.disable_adapters:
            return type(layer).forward(layer, x, *args, **kwargs)
        if self._input is not x or index not in self._waiting:
            self._waiting = dict(enumerate(self._compute(x)))
        self._input = x
        output = self._waiting.pop(index)
        if not self._waiting:
            self._input = None
        return output

    def weight(self) -> Tensor:
        """The layers' weights as one matrix; of quantised ones it is made here, and lives as long as it is held."""
        if self.held_OI is not None:
            return self.held_OI
        codes = [layer.base_layer.code for layer in self.layers]
        if len(codes) == 1:
            return codes[0].restore(torch.float32)
        weight_OI = torch.empty(self.bounds[-1], codes[0].shape[1], device=codes[0].packed.device)
        for code, (begin, end) in zip(codes, pairwise(self.bounds), strict=True):
            weight_OI[begin:end] = code.restore(torch.float32)
        return weight_OI

    def _compute(self, x: Tensor) -> tuple[Tensor, ...]:
        names = [layer.active_adapters[0] for layer in self.layers]
        pairs = list(zip(self.layers, names, strict=True))
        scales = tuple(float(layer.scaling[name]) for layer, name in pairs)
        downs = [layer.lora_A[name].weight for layer, name in pairs]
        ups = [layer.lora_B[name].weight for layer, name in pairs]
        biases = [layer.base_layer.bias for layer in self.layers]
        shape = x.shape[:-1]
        outputs = _FusedLora.apply(x.reshape(-1, x.shape[-1]), self.weight, self.bounds, scales, biases, *downs, *ups)
        return tuple(output.unflatten(0, shape) for output in outputs)


class _FusedLora(torch.autograd.Function):
    """y_i = W_i x + b_i + s_i B_i A_i x for layers i that share x.

    With g_i the gradient of y_i and u_i = s_i g_i B_i:
        dx = sum_i g_i W_i + u_i A_i        dA_i = u_i^T x        dB_i = s_i (A_i x g_i^T)^T
    The W_i come from a function and are asked for once each way, so that quantised ones are not kept between.
    dB is computed transposed: the product with the long side last is several times faster on a CPU.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_TI: Tensor,
        weigh: Callable[[], Tensor],
        bounds: tuple[int, ...],
        scales: tuple[float, ...],
        biases: list[Tensor | None],
        *matrices: Tensor,
    ) -> tuple[Tensor, ...]:
        count = len(scales)
        downs, ups = matrices[:count], matrices[count:]
        down_RI = downs[0] if count == 1 else torch.cat(downs)
        inner_TR = x_TI @ down_RI.T
        y_TO = x_TI @ weigh().T
        outputs, begin_r = [], 0
        for (begin, end), scale, bias, up in zip(pairwise(bounds), scales, biases, ups, strict=True):
            rank = up.shape[1]
            # A result of its own: whoever keeps that of the wide product, to not compute it again, finds it unchanged.
            y = torch.addmm(y_TO[:, begin:end], inner_TR[:, begin_r : begin_r + rank], up.T, alpha=scale)
            if bias is not None:
                y += bias
            outputs.append(y)
            begin_r += rank
        ctx.bounds, ctx.scales, ctx.weigh = bounds, scales, weigh
        ctx.save_for_backward(x_TI, inner_TR, down_RI, *ups)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Any, ...]:
        x_TI, inner_TR, down_RI, *ups = ctx.saved_tensors
        turned_TR = torch.zeros_like(inner_TR)
        dx_TI: Tensor | None = None
        weight_OI = ctx.weigh() if ctx.needs_input_grad[0] else None
        gradients_up: list[Tensor | None] = []
        begin_r = 0
        for (begin, end), scale, up, g in zip(pairwise(ctx.bounds), ctx.scales, ups, upstream, strict=True):
            rank = up.shape[1]
            inner = slice(begin_r, begin_r + rank)
            begin_r += rank
            if g is None:
                gradients_up.append(None)
                continue
            torch.mm(g, up, out=turned_TR[:, inner])
            turned_TR[:, inner] *= scale
            gradients_up.append((inner_TR[:, inner].T @ g).mul_(scale).T)
            if weight_OI is not None:
                weight = weight_OI[begin:end]
                dx_TI = g @ weight if dx_TI is None else dx_TI.addmm_(g, weight)
        if dx_TI is not None:
            dx_TI.addmm_(turned_TR, down_RI)
        gradient_down_RI = turned_TR.T @ x_TI
        gradients_down = gradient_down_RI.split([up.shape[1] for up in ups])
        return dx_TI, None, None, None, None, *gradients_down, *gradients_up
