"""Which layers of a network get something beside them, and peft's wrapper around the network."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from tuneloop.core.errors import ConfigError
from tuneloop.model.backbone import CausalModel
from tuneloop.model.quiet import quiet_transformers
from tuneloop.tune.config import PeftConfig
from tuneloop.tune.freeze import blocks_of

ALL_LINEAR = "all-linear"
_MOST_NAMED = 12


@dataclass(frozen=True)
class Places:
    """The chosen linear layers, and how peft is told of them."""

    layers: dict[str, Any]
    """Full name -> layer."""
    targets: str | list[str]
    """In the form that peft wants."""
    blocks: str
    """For people: ` of blocks 2 to 3`, or nothing where all blocks are meant."""
    which_blocks: dict[str, Any]
    """peft's two settings for the last blocks only."""

    @property
    def is_transposed(self) -> bool:
        """Whether weights lie as input x output, as GPT-2's do (peft's `fan_in_fan_out`)."""
        return any(isinstance(layer, Conv1D) for layer in self.layers.values())

    def described(self) -> str:
        """For people: `on q_proj, v_proj of blocks 2 to 3`."""
        what = "all linear layers" if isinstance(self.targets, str) else ", ".join(self.targets)
        return f"on {what}{self.blocks}"


def find_places(model: CausalModel, config: PeftConfig) -> Places:
    """Choose by `targets` and `trainable_blocks`; the head and embeddings are never chosen.

    Raises:
        ConfigError: a name matches no linear layer, or there are fewer blocks than asked for.
    """
    layers, first, num_blocks = _linear_layers(model, config.trainable_blocks)
    blocks = f" of blocks {first} to {num_blocks - 1}" if first else ""
    which_blocks = {"layers_to_transform": list(range(first, num_blocks))} if first else {}
    if not isinstance(config.targets, str):
        chosen = choose_layers(layers, config.targets, where="tune.targets")
        return Places(chosen, list(config.targets), blocks, which_blocks)
    # peft's own word for all layers goes only with all blocks.
    targets = sorted({last_name(name) for name in layers}) if first else ALL_LINEAR
    return Places(layers, targets, blocks, which_blocks)


def choose_layers(layers: dict[str, Any], ends: Iterable[str], *, where: str) -> dict[str, Any]:
    """The layers whose name is, or ends in, one of the given; in the order of the network.

    Raises:
        ConfigError: one of them matches nothing.
    """
    matches = {end: {name for name in layers if ends_in(name, end)} for end in ends}
    lost = [f"'{end}'" for end, names in matches.items() if not names]
    if lost:
        known = sorted({last_name(name) for name in layers})
        more = ", ..." if len(known) > _MOST_NAMED else ""
        raise ConfigError(
            f"{where}: {', '.join(lost)} matches no linear layer in the trained blocks. There are: "
            f"{', '.join(known[:_MOST_NAMED])}{more}."
        )
    found = set[str]().union(*matches.values())
    return {name: layer for name, layer in layers.items() if name in found}


def ends_in(name: str, end: str) -> bool:
    """Whether a layer's name is `end`, or ends in it after a dot: peft's rule for names of targets."""
    return name == end or name.endswith(f".{end}")


def last_name(name: str) -> str:
    """`q_proj` of `model.layers.0.self_attn.q_proj`."""
    return name.rpartition(".")[2]


def sizes_of(layer: Any) -> tuple[int, int]:
    """Input and output size of a linear layer."""
    return (layer.nx, layer.nf) if isinstance(layer, Conv1D) else (layer.in_features, layer.out_features)


def wrap(model: CausalModel, peft_config: Any) -> None:
    """Let peft put its layers into the network; only their weights move afterwards.

    Raises:
        ConfigError: peft refuses.
    """
    import peft

    try:
        with quiet_transformers():
            model.network = peft.get_peft_model(model.base, peft_config)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"tune: {error}") from error


def _linear_layers(model: CausalModel, trainable_blocks: int | None) -> tuple[dict[str, Any], int, int]:
    """Linear layers in the last blocks, the first such block, and the number of blocks."""
    blocks = blocks_of(model)
    if trainable_blocks is not None and trainable_blocks > len(blocks):
        raise ConfigError(f"tune.trainable_blocks: the model has {len(blocks)} blocks, not {trainable_blocks}.")
    first = 0 if trainable_blocks is None else len(blocks) - trainable_blocks
    allowed = {id(module) for block in blocks[first:] for module in block.modules()}
    head = model.base.get_output_embeddings()
    layers: dict[str, Any] = {
        name: module
        for name, module in model.base.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head and (not first or id(module) in allowed)
    }
    return layers, first, len(blocks)
