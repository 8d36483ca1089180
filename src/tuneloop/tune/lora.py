"""LoRA through peft: the layers, the file layout and the merge are peft's."""

from torch import nn
from transformers.pytorch_utils import Conv1D

from tuneloop.core.errors import ConfigError
from tuneloop.core.seeds import derive_seed
from tuneloop.model.backbone import CausalModel
from tuneloop.model.quiet import quiet_transformers
from tuneloop.tune.config import LoraConfig
from tuneloop.tune.freeze import blocks_of


def add_lora(model: CausalModel, config: LoraConfig, *, seed: int) -> str:
    """Put silent corrections beside the chosen layers; return a description for people.

    B starts at zero, so the model answers as before until the first step.

    Raises:
        ConfigError: nothing matches `targets`, or there are fewer blocks than asked for.
    """
    import peft
    import torch

    num_blocks = len(blocks_of(model))
    if config.trainable_blocks is not None and config.trainable_blocks > num_blocks:
        raise ConfigError(f"tune.trainable_blocks: the model has {num_blocks} blocks, not {config.trainable_blocks}.")
    first = 0 if config.trainable_blocks is None else num_blocks - config.trainable_blocks
    torch.manual_seed(derive_seed(seed, "lora"))
    try:
        with quiet_transformers():
            model.network = peft.get_peft_model(
                model.base,
                peft.LoraConfig(
                    task_type="CAUSAL_LM",
                    r=config.rank,
                    lora_alpha=config.alpha,  # type: ignore[arg-type] - peft takes fractions, its annotation does not
                    lora_dropout=config.dropout,
                    target_modules=_targets(model, config),
                    layers_to_transform=list(range(first, num_blocks)) if first else None,
                    use_rslora=config.use_rslora,
                    fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.base.modules()),
                ),
            )
    except ValueError as error:
        raise ConfigError(f"tune.targets: {error}") from error
    what = "all linear layers" if isinstance(config.targets, str) else ", ".join(config.targets)
    where = f" of blocks {first} to {num_blocks - 1}" if first else ""
    return f"LoRA rank {config.rank}, alpha {config.alpha:g}, on {what}{where}"


def _targets(model: CausalModel, config: LoraConfig) -> str | list[str]:
    """In the form that peft wants: its own word for all layers goes only with all blocks."""
    if not isinstance(config.targets, str):
        return list(config.targets)
    if config.trainable_blocks is None:
        return config.targets
    kinds = (nn.Linear, Conv1D)
    names = {name for block in blocks_of(model) for name, module in block.named_modules() if isinstance(module, kinds)}
    return sorted({name.rpartition(".")[2] for name in names})
