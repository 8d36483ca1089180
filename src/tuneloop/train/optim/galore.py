"""GaLore: AdamW in the space of a gradient's strongest directions, by the library pytorch_optimizer.

Source: Zhao et al. 2024 (arXiv:2403.03507), algorithm 2.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tuneloop.core.optional import load_optional
from tuneloop.train.config import StageConfig
from tuneloop.train.optim.groups import parameter_groups
from tuneloop.train.optim.lowrank import adamw_scale

PROJECTOR = "projector"
"""The name of its projector, no tensor but an object, in a parameter's state."""
_MATRIX, _CHOSEN_AT = "projector_matrix", "projector_step"


def build_galore(
    matrices: Mapping[str, nn.Parameter], config: StageConfig, rate_factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    """GaLore over matrices that have a smaller space.

    Raises:
        MissingError: pytorch_optimizer is not installed.
    """
    module = _library("pytorch_optimizer")

    def projection(parameter: nn.Parameter) -> dict[str, Any]:
        return {
            "rank": config.optimizer_rank,
            "update_proj_gap": config.optimizer_update_steps,
            "scale": adamw_scale(parameter, config.optimizer_rank),
            "projection_type": "std",
        }

    galore = module.GaLore(
        parameter_groups(matrices, config, rate_factors, projection),
        lr=0.0,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
    )
    galore.register_step_post_hook(_straighten)
    return galore


def projector_tensors(projector: Any) -> dict[str, Tensor]:
    """A projector as tensors: its directions, and the step at which they were chosen."""
    return {_MATRIX: projector.ortho_matrix, _CHOSEN_AT: torch.tensor([projector.last_svd_step])}


def restore_projector(state: dict[str, Any], group: Mapping[str, Any]) -> None:
    """Turn the tensors of a projector in a parameter's state back into the projector."""
    if _MATRIX not in state:
        return
    module = _library("pytorch_optimizer.optimizer.utils.galore")
    keys = ("rank", "update_proj_gap", "scale", "projection_type")
    projector = module.GaLoreProjector(**{key: group[key] for key in keys})
    projector.ortho_matrix = state.pop(_MATRIX)
    projector.last_svd_step = int(state.pop(_CHOSEN_AT).item())
    state[PROJECTOR] = projector


def _straighten(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Lay new directions out as a checkpoint does: a product's last bits may depend on the layout."""
    for state in optimizer.state.values():
        state[PROJECTOR].ortho_matrix = state[PROJECTOR].ortho_matrix.contiguous()


def _library(module: str) -> ModuleType:
    return load_optional(module, purpose="stages.optimizer: galore", extra="optim")
