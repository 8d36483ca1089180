"""An optimiser's state as tensors named `<state>/<parameter>`, and back, bit for bit."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tuneloop.train.optim.galore import PROJECTOR, projector_tensors, restore_projector
from tuneloop.train.optim.pair import parts_of

_STEP = "step"
"""The only state without a dimension."""
_COUNTERS = frozenset({_STEP, "seed"})
"""Single numbers that Python reads in every step: on the processor, so that no step waits for a GPU."""
_NUMBER = "int."
"""Begins the name of a whole number that is no tensor in the optimiser."""
_OF_GROUP = "group_step"
"""A counter of the whole group, saved with each of its parameters."""


def optimizer_tensors(optimizer: torch.optim.Optimizer, trainable: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimiser's state as tensors; zero-dimensional ones have the shape (1,)."""
    names = {parameter: name for name, parameter in trainable.items()}
    tensors = {}
    for part in parts_of(optimizer):
        for group in part.param_groups:
            for parameter in group["params"]:
                name = names[parameter]
                for key, value in part.state.get(parameter, {}).items():
                    tensors |= {f"{key}/{name}": tensor for key, tensor in _flatten(key, value)}
                if _STEP in group:
                    tensors[f"{_OF_GROUP}/{name}"] = torch.tensor([group[_STEP]])
    return tensors


def restore_optimizer(
    optimizer: torch.optim.Optimizer, trainable: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Put a saved state back into an optimiser that has made no step.

    Raises:
        KeyError: a tensor belongs to no parameter of these.
    """
    saved: dict[nn.Parameter, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        key, _, name = full_name.partition("/")
        saved.setdefault(trainable[name], {})[key] = value
    for part in parts_of(optimizer):
        for group_index, group in enumerate(part.param_groups):
            for index, parameter in enumerate(group["params"]):
                values = saved.get(parameter, {})
                if _OF_GROUP in values:
                    group[_STEP] = int(values.pop(_OF_GROUP).item())
                if not values:
                    continue
                if hasattr(part, "init_state"):
                    # bitsandbytes: moments lie in memory of its own where they are paged, and maps are shared.
                    part.init_state(group, parameter, group_index, index)
                # A fused kernel reads the counter itself.
                device = parameter.device if group.get("fused") else torch.device("cpu")
                placed = {
                    key: value.to(device if key in _COUNTERS else parameter.device) for key, value in values.items()
                }
                _restore(part.state[parameter], placed)
                restore_projector(part.state[parameter], group)


def _flatten(key: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    match value:
        case Tensor():
            assert value.ndim or key == _STEP, f"{key}: only the counter of steps has no dimension"
            yield key, value.detach().reshape(value.shape or (1,))
        case int():
            yield _NUMBER + key, torch.tensor([value])
        case _:
            assert key == PROJECTOR, f"{key}: a {type(value).__name__} in the state of an optimiser"
            yield from projector_tensors(value).items()


def _restore(state: dict[str, Any], values: Mapping[str, Tensor]) -> None:
    for key, value in values.items():
        there = state.get(key)
        if key.startswith(_NUMBER):
            state[key.removeprefix(_NUMBER)] = int(value.item())
        elif isinstance(there, Tensor):
            there.copy_(value)
        else:
            state[key] = (value.reshape(()) if key == _STEP else value).clone()
