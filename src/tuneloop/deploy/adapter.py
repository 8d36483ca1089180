"""The adapter as a PEFT folder, for people who keep base and correction apart."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from tuneloop.core.errors import ConfigError
from tuneloop.core.store import read_json, write_json
from tuneloop.model.backbone import CausalModel
from tuneloop.model.quiet import quiet_transformers

BASE_FILE = "tuneloop_base.json"
"""Names the base beside an adapter, by source and hash."""

_WRITTEN_BY_PEFT = ("adapter_config.json", "adapter_model.safetensors")


def write_adapter(model: CausalModel, folder: Path, *, base: str) -> None:
    """Write peft's two files; the base is named as the recipe names it.

    Raises:
        ConfigError: the model has no adapter.
    """
    if not hasattr(model.network, "peft_config"):
        raise ConfigError("deploy.export: only tune.kind 'lora' has an adapter. Export 'merged'.")
    model.network.save_pretrained(folder)
    for path in folder.iterdir():
        if path.name not in _WRITTEN_BY_PEFT:
            path.unlink()
    config = read_json(folder / _WRITTEN_BY_PEFT[0])
    if isinstance(config["target_modules"], list):
        # peft writes them from a set, whose order differs from process to process.
        config["target_modules"].sort()
    write_json(folder / _WRITTEN_BY_PEFT[0], config | {"base_model_name_or_path": base.removeprefix("hf:")})


def load_adapter(model: CausalModel, folder: Path) -> None:
    """Put a saved adapter onto its base.

    Raises:
        ConfigError: it does not fit the base.
    """
    model.network = _with_adapter(model.base, folder)


def load_with_adapter(base: Path, folder: Path) -> Any:
    """Base and adapter, loaded as anyone would with transformers and peft."""
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        network = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    return _with_adapter(network, folder)


def _with_adapter(network: Any, folder: Path) -> Any:
    import peft

    try:
        with quiet_transformers():
            return peft.PeftModel.from_pretrained(network, str(folder), is_trainable=False).eval()
    except (ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ConfigError(f"{folder}: the adapter does not fit the base: {str(error).splitlines()[0]}") from error


def merge(model: CausalModel) -> None:
    """Add the correction into the weights, in place: W + alpha / rank B A. Without an adapter nothing happens."""
    if hasattr(model.network, "merge_and_unload"):
        model.network = model.network.merge_and_unload()
        model.network.eval()
