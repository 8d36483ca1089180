"""The adapter as a folder of its own, for people who keep base and correction apart: peft's, or a bottleneck's."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tuneloop.core.errors import ConfigError
from tuneloop.core.store import read_json, write_file, write_json
from tuneloop.model.backbone import CausalModel
from tuneloop.model.config import ModelConfig
from tuneloop.model.quantised_load import quantisation_of
from tuneloop.model.quantize import dequantise
from tuneloop.model.quiet import quiet_transformers
from tuneloop.tune.adapter import CONFIG_FILE, has_adapters, is_adapter_folder, load_adapters, save_adapters
from tuneloop.tune.config import ADAPTER_KINDS
from tuneloop.tune.lora import as_plain_lora

BASE_FILE = "tuneloop_base.json"
"""Names the base beside an adapter, by source and hash."""

_WEIGHTS_FILE = "adapter_model.safetensors"


def write_adapter(model: CausalModel, folder: Path, *, base: str) -> None:
    """Write config and weights of the adapter; the base is named as the recipe names it.

    It fits the base as it was before tuning, also where tuning began by moving a part of the weights into the adapter.

    Raises:
        ConfigError: the model has no adapter.
    """
    if has_adapters(model):
        save_adapters(model, folder)
    elif hasattr(model.network, "peft_config"):
        _write_peft(model, folder)
    else:
        kinds = ", ".join(sorted(ADAPTER_KINDS))
        raise ConfigError(f"deploy.export: only these kinds of tuning have an adapter: {kinds}. Export 'merged'.")
    values = read_json(folder / CONFIG_FILE)
    write_json(folder / CONFIG_FILE, values | {"base_model_name_or_path": base.removeprefix("hf:")})


def _write_peft(model: CausalModel, folder: Path) -> None:
    """Write peft's two files."""
    model.network.save_pretrained(folder)
    for path in folder.iterdir():
        if path.name not in {CONFIG_FILE, _WEIGHTS_FILE}:
            path.unlink()
    saved = load_file(folder / _WEIGHTS_FILE)
    tensors, values = as_plain_lora(model.network, saved, read_json(folder / CONFIG_FILE))
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(values.get(key), list):
            # peft writes them from a set, whose order differs from process to process.
            values[key].sort()
    if tensors.keys() != saved.keys() or any(tensors[name] is not saved[name] for name in saved):
        write_file(folder / _WEIGHTS_FILE, lambda part: save_file(tensors, part, metadata={"format": "pt"}))
    write_json(folder / CONFIG_FILE, values)


def load_adapter(model: CausalModel, folder: Path) -> None:
    """Put a saved adapter onto its base.

    Raises:
        ConfigError: it does not fit the base.
    """
    if is_adapter_folder(folder):
        load_adapters(model, folder)
        model.network.eval()
    else:
        model.network = _with_adapter(model.base, folder)


def load_with_adapter(base: Path, folder: Path, config: ModelConfig | None = None) -> Any:
    """Base and adapter; but for bottlenecks, loaded as anyone would with transformers and peft.

    Where `config` quantises, the base's weights are rounded as they were in training.
    """
    from transformers import AutoModelForCausalLM

    cpu = torch.device("cpu")
    settings = quantisation_of(config or ModelConfig(), cpu)
    with quiet_transformers():
        network = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            **({"quantization_config": settings} if settings is not None else {}),
        )
    if is_adapter_folder(folder):
        load_adapters(CausalModel(network, cpu), folder)
        return network.eval()
    return _with_adapter(network, folder)


def _with_adapter(network: Any, folder: Path) -> Any:
    import peft

    try:
        with quiet_transformers():
            return peft.PeftModel.from_pretrained(network, str(folder), is_trainable=False).eval()
    except (ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ConfigError(f"{folder}: the adapter does not fit the base: {str(error).splitlines()[0]}") from error


def merge(model: CausalModel) -> None:
    """Put the correction into the weights, in place. Without one, or with a bottleneck adapter, nothing happens.

    For LoRA that is W + alpha / rank B A. A bottleneck bends its input, so that no weight can take it in. Quantised
    weights come back to full width as they were rounded: it is on those that the correction was trained.
    """
    dequantise(model.network)
    if hasattr(model.network, "merge_and_unload"):
        model.network = model.network.merge_and_unload()
        model.network.eval()
