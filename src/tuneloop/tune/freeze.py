"""Freeze tuning: only chosen weights of the network itself move."""

import fnmatch

from tuneloop.core.errors import ConfigError
from tuneloop.model.backbone import CausalModel
from tuneloop.model.blocks import blocks_of
from tuneloop.tune.config import FreezeConfig


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
