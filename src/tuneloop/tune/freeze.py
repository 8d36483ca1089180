"""Freeze tuning: only chosen weights of the network itself move."""

import fnmatch

from torch import nn

from tuneloop.core.errors import ConfigError
from tuneloop.model.backbone import CausalModel
from tuneloop.tune.config import FreezeConfig


def blocks_of(model: CausalModel) -> nn.ModuleList:
    """The decoder's repeated blocks, first to last.

    Raises:
        ConfigError: the architecture keeps them under a name that is not known here.
    """
    decoder = model.base.get_decoder()
    for name in ("layers", "h", "blocks", "block"):
        blocks = getattr(decoder, name, None)
        if isinstance(blocks, nn.ModuleList):
            return blocks
    raise ConfigError(f"tune: the blocks of {type(decoder).__name__} are not known here; use tune.kind: full.")


def freeze_all_but(model: CausalModel, config: FreezeConfig) -> str:
    """Let only the chosen weights move; return a description for people.

    Raises:
        ConfigError: nothing would move, there are fewer blocks than asked for, or a pattern matches nothing.
    """
    blocks = blocks_of(model)
    if config.trainable_blocks > len(blocks):
        raise ConfigError(f"tune.trainable_blocks: the model has {len(blocks)} blocks, not {config.trainable_blocks}.")
    model.network.requires_grad_(requires_grad=False)
    first = len(blocks) - config.trainable_blocks
    for block in blocks[first:]:
        block.requires_grad_(requires_grad=True)
    parts = [f"blocks {first} to {len(blocks) - 1}"] if config.trainable_blocks else []
    for pattern in config.trainable_patterns:
        found = [p for name, p in model.network.named_parameters() if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise ConfigError(f"tune.trainable_patterns: '{pattern}' matches no parameter.")
        for parameter in found:
            parameter.requires_grad_(requires_grad=True)
        parts.append(pattern)
    for wanted, module, name in (
        (config.train_embeddings, model.base.get_input_embeddings(), "embeddings"),
        (config.train_head, model.base.get_output_embeddings(), "head"),
    ):
        if wanted:
            module.requires_grad_(requires_grad=True)
            parts.append(name)
    if not parts:
        raise ConfigError("tune: nothing would move. Give trainable_blocks, trainable_patterns or train_head.")
    return "only " + ", ".join(parts)
