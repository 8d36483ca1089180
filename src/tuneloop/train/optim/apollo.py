"""APOLLO: gradients scaled by column or row as Adam would, the scales estimated in a small random space.

Source: Zhu et al. 2024 (arXiv:2412.05270), algorithm 1.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_LARGEST_GROWTH = 1.01
"""Of the norm of a matrix's update from step to step; the paper's norm-growth limiter."""
_TINY = 1e-8
_SEEDS = 1 << 62


class Apollo(torch.optim.Optimizer):
    """APOLLO with a scale for each channel, over matrices; `G` is the gradient, its first side the shorter one.

        R = P G                                P: rank x short, normal, standard deviation 1 / sqrt(rank)
        s_j = |Adam(R)_j| / |R_j|              for each column j; Adam(R) is Adam's step over R as the gradient
        W <- W - lr (scale G diag(s) + weight_decay W)

    `P` is drawn again every `update_steps`. Only the seed of it is kept, so the state is two moments of rank x long.
    """

    def __init__(self, params: Iterable[dict[str, Any]], betas: tuple[float, float], eps: float) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": 0.0, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every matrix that has a gradient; new seeds come from torch's generator.

        Raises:
            NotImplementedError: a closure was given.
        """
        if closure is not None:
            raise NotImplementedError("APOLLO takes no closure.")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update = _scaled_gradient(parameter.grad, self.state[parameter], group)
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])


def _scaled_gradient(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    is_wide = gradient.shape[0] <= gradient.shape[1]
    grad_SL = gradient if is_wide else gradient.T
    projected_RL = _projection(grad_SL, state, group) @ grad_SL
    adam_RL = _adam(projected_RL, state, group)
    scale_L = group["scale"] * adam_RL.norm(dim=0) / (projected_RL.norm(dim=0) + _TINY)
    update_SL = grad_SL * scale_L
    norm = update_SL.norm().reshape(1)
    if "norm" in state:
        factor = (_LARGEST_GROWTH * state["norm"] / norm.clamp(min=_TINY)).clamp(max=1.0)
        # After a step without gradient there is nothing to grow from.
        factor = torch.where(state["norm"] > 0, factor, 1.0)
        update_SL, norm = update_SL * factor, norm * factor
    state["norm"] = norm
    return update_SL if is_wide else update_SL.T


def _projection(grad_SL: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """P, the same in all steps between two draws."""
    steps = int(state["step"].item()) if "step" in state else 0
    if steps % group["update_steps"] == 0:
        state["seed"] = torch.randint(_SEEDS, (1,))
    generator = torch.Generator(grad_SL.device).manual_seed(int(state["seed"].item()))
    shape = (group["rank"], grad_SL.shape[0])
    return torch.randn(shape, generator=generator, device=grad_SL.device, dtype=grad_SL.dtype) / math.sqrt(shape[0])


def _adam(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """Adam's step for a learning rate of one (arXiv:1412.6980, algorithm 1)."""
    beta1, beta2 = group["betas"]
    if "exp_avg" not in state:
        # The counter stays beside the seed on the processor: reading it must not wait for a GPU.
        state["step"] = torch.tensor(0.0)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    state["step"] += 1
    steps = state["step"].item()
    state["exp_avg"].lerp_(gradient, 1 - beta1)
    state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    mean = state["exp_avg"] / (1 - beta1**steps)
    return mean / ((state["exp_avg_sq"] / (1 - beta2**steps)).sqrt() + group["eps"])
