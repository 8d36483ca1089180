"""Norms and gated feed-forwards as single differentiable functions that keep less for the way back.

Autograd keeps every intermediate of a formula written in small steps. These keep the inputs alone and make the
rest again, which costs a pass over vectors and saves several of them a token and block.
"""

from typing import Any

import torch
from torch import Tensor, nn


def fuse_blocks(network: nn.Module) -> int:
    """Let the RMS norms and SwiGLU layers of a network compute through the functions below; return how many do.

    Only modules that are known to compute exactly these formulas, in float32, are changed. Parameters keep their names.
    """
    fused = 0
    for module in network.modules():
        if isinstance(vars(module).get("forward"), _Norm | _GatedMlp):
            continue
        if _is_rms_norm(module):
            module.forward = _Norm(module)
            fused += 1
        elif _is_swiglu(module):
            module.forward = _GatedMlp(module)
            fused += 1
    return fused


_NORMS = {"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}
_MLPS = {"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP"}


def _is_rms_norm(module: nn.Module) -> bool:
    return type(module).__name__ in _NORMS and module.weight.dtype == torch.float32


def _is_swiglu(module: nn.Module) -> bool:
    # transformers has its own class for SiLU; it computes what torch's does.
    return type(module).__name__ in _MLPS and type(module.act_fn).__name__ in {"SiLU", "SiLUActivation"}


class _Norm:
    """The forward of one RMS norm."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            return type(self.module).forward(self.module, x)
        return _RmsNorm.apply(x, self.module.weight, self.module.variance_epsilon)


class _GatedMlp:
    """The forward of one gated feed-forward."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        module = self.module
        return module.down_proj(_SwiGlu.apply(module.gate_proj(x), module.up_proj(x)))


class _RmsNorm(torch.autograd.Function):
    """y = w x / rms(x), rms(x) = sqrt(mean(x^2) + eps) (arXiv:1910.07467).

    With r = 1 / rms, g the gradient of y and D the size: dx = r (w g - x r^2 mean(w g x)), dw = sum g x r.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        g = upstream[0]
        gradient_w = None
        if ctx.needs_input_grad[1]:
            gradient_w = torch.einsum("...d,...d,...u->d", g, x, scale)
        if not ctx.needs_input_grad[0]:
            return None, gradient_w, None
        weighted = g * weight
        mean = torch.linalg.vecdot(weighted, x, dim=-1).unsqueeze_(-1).div_(x.shape[-1])
        weighted.addcmul_(x, mean.mul_(scale.square()), value=-1.0)
        return weighted.mul_(scale), gradient_w, None


class _SwiGlu(torch.autograd.Function):
    """h = silu(gate) up (arXiv:2002.05202); keeps gate and up alone."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        g = upstream[0]
        gradient_up = torch.nn.functional.silu(gate).mul_(g)
        return torch.ops.aten.silu_backward(g * up, gate), gradient_up
