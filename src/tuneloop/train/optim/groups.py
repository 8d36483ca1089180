"""Which weights learn together: at one rate, with or without decay, as hidden matrices or as the rest."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from tuneloop.train.config import StageConfig

_ENDS = frozenset(
    {"embed_tokens", "embed_positions", "embed_in", "embed_out", "tok_embeddings", "word_embeddings", "wte", "wpe"}
    | {"shared", "lm_head", "output_layer"}
)
"""What models of transformers call their embeddings and heads."""


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether it is a matrix inside the blocks, neither embedding nor head: what muon, galore and apollo are for."""
    return parameter.ndim == len(("out", "in")) and _ENDS.isdisjoint(name.split("."))


def parameter_groups(
    trainable: Mapping[str, nn.Parameter],
    config: StageConfig,
    rate_factors: Mapping[str, float],
    options_of: Callable[[nn.Parameter], dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Groups for an optimiser: matrices before vectors, which do not decay; one for each factor of the rate.

    `options_of` gives what else depends on the parameter; those with other options lie in other groups.
    """
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter in sorted(trainable.items(), key=lambda item: item[1].ndim <= 1):
        options = {
            "weight_decay": config.weight_decay if parameter.ndim > 1 else 0.0,
            "rate_factor": rate_factors.get(name, 1.0),
            **(options_of(parameter) if options_of else {}),
        }
        key = (parameter.ndim > 1, *options.values())
        groups.setdefault(key, {"params": [], **options})["params"].append(parameter)
    return list(groups.values())


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """The learning rate of the next step, times each group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate_factor"]
