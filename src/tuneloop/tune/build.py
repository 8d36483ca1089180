"""Decides which weights move."""

from dataclasses import dataclass
from typing import assert_never

from torch import nn

from tuneloop.model.backbone import CausalModel
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig
from tuneloop.tune.freeze import freeze_all_but
from tuneloop.tune.lora import add_lora


@dataclass(frozen=True)
class Tuned:
    """What moves in a model."""

    description: str
    trainable: dict[str, nn.Parameter]
    """Name -> parameter, a tied tensor once."""
    total: int
    """Parameters in all, a tied tensor counted once, corrections included."""

    @property
    def num_trainable(self) -> int:
        """Parameters that move."""
        return sum(parameter.numel() for parameter in self.trainable.values())


def apply_tune(model: CausalModel, config: TuneConfig, *, seed: int) -> Tuned:
    """Make exactly the chosen weights of the model trainable.

    Raises:
        ConfigError: the choice does not fit the model.
    """
    match config:
        case FullConfig():
            model.network.requires_grad_(requires_grad=True)
            description = "all weights"
        case FreezeConfig():
            description = freeze_all_but(model, config)
        case LoraConfig():
            description = add_lora(model, config, seed=seed)
        case unreachable:
            assert_never(unreachable)
    parameters = dict(model.network.named_parameters())
    trainable = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
    return Tuned(description, trainable, sum(parameter.numel() for parameter in parameters.values()))
