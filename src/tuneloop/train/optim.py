"""AdamW over the trainable weights, and its state as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tuneloop.train.config import StageConfig

_STEP = "step"


def build_optimizer(trainable: Mapping[str, nn.Parameter], config: StageConfig) -> torch.optim.AdamW:
    """Fused AdamW (arXiv:1711.05101); vectors (biases, norms) are not decayed."""
    decayed = [parameter for parameter in trainable.values() if parameter.ndim > 1]
    others = [parameter for parameter in trainable.values() if parameter.ndim <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """The learning rate of the next step, for every group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def optimizer_tensors(optimizer: torch.optim.Optimizer, trainable: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimiser's state as tensors named `<state>/<parameter>`."""
    return {
        f"{key}/{name}": value.detach().reshape(value.shape or (1,))
        for name, parameter in trainable.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, trainable: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Put a saved state back, bit for bit."""
    for full_name, value in tensors.items():
        key, _, name = full_name.partition("/")
        parameter = trainable[name]
        shape = () if key == _STEP else value.shape
        optimizer.state[parameter][key] = value.reshape(shape).clone().to(parameter.device)
