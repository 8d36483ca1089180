"""From a stage's settings to its optimiser."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, assert_never

import torch
from torch import nn

from tuneloop.core.errors import ConfigError
from tuneloop.core.optional import load_optional
from tuneloop.train.config import StageConfig
from tuneloop.train.optim.apollo import Apollo
from tuneloop.train.optim.galore import build_galore
from tuneloop.train.optim.groups import is_hidden_matrix, parameter_groups
from tuneloop.train.optim.lowrank import adamw_scale, has_smaller_space
from tuneloop.train.optim.pair import Pair

_LION_BETAS = (0.9, 0.99)
"""Chen et al. 2023 (arXiv:2302.06675), section 4; Adam's are for another mean."""
_ADAFACTOR_EPS = (1e-15, 1.0)
"""Added to variances: its square, 1e-30, as in the paper (arXiv:1804.04235). And the least size of weights that steps
are measured by: with 1 a step is the learning rate itself, not a share of the weights, so that AdamW's rates fit. The
Trainer of Hugging Face means the same (`scale_parameter=False, relative_step=False`)."""

_Build = Callable[[Mapping[str, nn.Parameter], StageConfig, Mapping[str, float]], torch.optim.Optimizer]


def build_optimizer(  # noqa: PLR0911 - one line a kind of optimiser
    trainable: Mapping[str, nn.Parameter], config: StageConfig, rate_factors: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a stage, at a learning rate of 0; vectors (biases, norms) are not decayed.

    `rate_factors` are factors of the learning rate by name, 1 where a name is not in it.

    Raises:
        ConfigError: a paged optimiser without a CUDA device.
        MissingError: the library of an optimiser is not installed.
    """
    factors = rate_factors or {}
    match config.optimizer:
        case "adamw":
            return _adamw(trainable, config, factors)
        case "adamw_8bit":
            return _bitsandbytes("AdamW8bit", trainable, config, factors)
        case "paged_adamw":
            return _paged("PagedAdamW32bit", trainable, config, factors)
        case "paged_adamw_8bit":
            return _paged("PagedAdamW8bit", trainable, config, factors)
        case "adafactor":
            groups = parameter_groups(trainable, config, factors)
            return torch.optim.Adafactor(groups, lr=0.0, eps=_ADAFACTOR_EPS)
        case "lion":
            library = load_optional("pytorch_optimizer", purpose="stages.optimizer: lion", extra="optim")
            return library.Lion(parameter_groups(trainable, config, factors), lr=0.0, betas=_LION_BETAS)
        case "muon":
            return _beside_adamw(_muon, trainable, config, factors, is_hidden_matrix)
        case "galore":
            return _beside_adamw(build_galore, trainable, config, factors, partial(has_smaller_space, config=config))
        case "apollo":
            return _beside_adamw(_apollo, trainable, config, factors, partial(has_smaller_space, config=config))
        case unreachable:
            assert_never(unreachable)


def _beside_adamw(
    build: _Build,
    trainable: Mapping[str, nn.Parameter],
    config: StageConfig,
    rate_factors: Mapping[str, float],
    is_for_it: Callable[[str, nn.Parameter], bool],
) -> torch.optim.Optimizer:
    """A method for the parameters that it is for, AdamW for the others."""
    chosen = {name: parameter for name, parameter in trainable.items() if is_for_it(name, parameter)}
    others = {name: parameter for name, parameter in trainable.items() if name not in chosen}
    parts = [make(some, config, rate_factors) for make, some in ((build, chosen), (_adamw, others)) if some]
    return Pair(*parts) if len(parts) > 1 else parts[0]


def _adamw(
    trainable: Mapping[str, nn.Parameter], config: StageConfig, rate_factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    """Fused AdamW (arXiv:1711.05101)."""
    groups = parameter_groups(trainable, config, rate_factors)
    return torch.optim.AdamW(
        groups, lr=0.0, betas=(config.adam_beta1, config.adam_beta2), eps=config.adam_epsilon, fused=True
    )


def _muon(
    matrices: Mapping[str, nn.Parameter], config: StageConfig, rate_factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    """Muon with steps of the size of AdamW's (arXiv:2502.16982, equation 4)."""
    groups = parameter_groups(matrices, config, rate_factors)
    return torch.optim.Muon(groups, lr=0.0, adjust_lr_fn="match_rms_adamw")


def _apollo(
    matrices: Mapping[str, nn.Parameter], config: StageConfig, rate_factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    def projection(parameter: nn.Parameter) -> dict[str, Any]:
        rank = config.optimizer_rank
        return {"rank": rank, "update_steps": config.optimizer_update_steps, "scale": adamw_scale(parameter, rank)}

    groups = parameter_groups(matrices, config, rate_factors, projection)
    return Apollo(groups, betas=(config.adam_beta1, config.adam_beta2), eps=config.adam_epsilon)


def _paged(
    name: str, trainable: Mapping[str, nn.Parameter], config: StageConfig, rate_factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    if any(parameter.device.type != "cuda" for parameter in trainable.values()):
        raise ConfigError(
            f"stages.optimizer: {config.optimizer} moves its state between a CUDA device and the memory of the "
            "processor, and this model lies on the processor. Take adamw_8bit, or adamw."
        )
    return _bitsandbytes(name, trainable, config, rate_factors)


def _bitsandbytes(
    name: str, trainable: Mapping[str, nn.Parameter], config: StageConfig, rate_factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    library = load_optional("bitsandbytes", purpose=f"stages.optimizer: {config.optimizer}", extra="quant")
    groups = parameter_groups(trainable, config, rate_factors)
    betas = (config.adam_beta1, config.adam_beta2)
    return getattr(library.optim, name)(groups, lr=0.0, betas=betas, eps=config.adam_epsilon)
