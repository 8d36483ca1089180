"""Decides which weights move."""

from dataclasses import dataclass, field
from typing import assert_never

from torch import nn

from tuneloop.core.errors import ConfigError
from tuneloop.model.backbone import CausalModel
from tuneloop.model.quantize import num_quantised
from tuneloop.tune.adapter import add_adapters
from tuneloop.tune.config import (
    AdapterConfig,
    FreezeConfig,
    FullConfig,
    Ia3Config,
    LoraConfig,
    OftConfig,
    TuneConfig,
    VeraConfig,
    quantised_refusal,
)
from tuneloop.tune.freeze import freeze_all_but
from tuneloop.tune.lora import add_lora, lora_rates
from tuneloop.tune.peft_methods import add_ia3, add_oft, add_vera


@dataclass(frozen=True)
class Tuned:
    """What moves in a model."""

    description: str
    trainable: dict[str, nn.Parameter]
    """Name -> parameter, a tied tensor once."""
    total: int
    """Parameters in all, a tied tensor counted once, corrections and quantised weights included."""
    rate_factors: dict[str, float] = field(default_factory=dict)
    """Name -> factor on the learning rate, where a method wants other rates for some parameters (LoRA+)."""

    @property
    def num_trainable(self) -> int:
        """Parameters that move."""
        return sum(parameter.numel() for parameter in self.trainable.values())


def apply_tune(model: CausalModel, config: TuneConfig, *, seed: int) -> Tuned:
    """Make exactly the chosen weights of the model trainable.

    Raises:
        ConfigError: the choice does not fit the model.
    """
    hidden = num_quantised(model.network)
    if hidden and (reason := quantised_refusal(config)):
        raise ConfigError(f"tune: {reason}")
    match config:
        case FullConfig():
            model.network.requires_grad_(requires_grad=True)
            description = "all weights"
        case FreezeConfig():
            description = freeze_all_but(model, config)
        case LoraConfig():
            description = add_lora(model, config, seed=seed)
        case AdapterConfig():
            description = add_adapters(model, config, seed=seed)
        case OftConfig():
            description = add_oft(model, config)
        case VeraConfig():
            description = add_vera(model, config, seed=seed)
        case Ia3Config():
            description = add_ia3(model, config)
        case unreachable:
            assert_never(unreachable)
    parameters = dict(model.network.named_parameters())
    trainable = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
    total = hidden + sum(parameter.numel() for parameter in parameters.values())
    rates = lora_rates(config, trainable) if isinstance(config, LoraConfig) else {}
    return Tuned(description, trainable, total, rates)
