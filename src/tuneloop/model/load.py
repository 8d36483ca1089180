"""A folder to a model in memory. Weights come from safetensors only, code from transformers only."""

from pathlib import Path

import torch
from safetensors import SafetensorError

from tuneloop.core.errors import ModelError
from tuneloop.model.attention import PACKED_ATTENTION
from tuneloop.model.backbone import CausalModel
from tuneloop.model.compact import compact_frozen
from tuneloop.model.config import ModelConfig
from tuneloop.model.hardware import Hardware
from tuneloop.model.quantised_load import quantisation_of
from tuneloop.model.quiet import quiet_transformers


def load_model(
    folder: Path, hardware: Hardware, config: ModelConfig | None = None, *, is_frozen: bool = False
) -> CausalModel:
    """Load the base model, ready to be tuned or evaluated.

    Weights are float32, so that what is trained is trained in full precision; matrix products run in the
    hardware's precision. Where `config` asks for it, the linear layers of the blocks are quantised as they come from
    the files; head, embeddings and norms stay as they are.

    Args:
        folder: as transformers writes it.
        hardware: where it is computed, and in which precision.
        config: how the base is stored.
        is_frozen: none of its own weights will learn or be merged into: matrices may be kept in the type that they
            are multiplied in, and reach the device in it.

    Raises:
        ModelError: transformers cannot load the folder as a causal language model.
        ConfigError: its blocks have nothing to quantise.
        MissingError: quantising needs a package that is not installed.
    """
    from transformers import AutoModelForCausalLM

    settings = quantisation_of(config or ModelConfig(), hardware.device)
    try:
        with quiet_transformers():
            network, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=torch.float32,
                attn_implementation=PACKED_ATTENTION,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **({"quantization_config": settings} if settings is not None else {}),
            )
    except (ValueError, OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"model.source: {folder} does not load: {str(error).splitlines()[0]}") from error
    if report["missing_keys"]:
        # transformers would draw them at random, and training would go on from noise.
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        number = len(report["missing_keys"])
        raise ModelError(f"model.source: {folder} does not load: it lacks {number} weights: {missing}.")
    network.eval()
    model = CausalModel(network, hardware.device, hardware.autocast_dtype)
    if is_frozen:
        network.requires_grad_(requires_grad=False)
        compact_frozen(model)
    network.to(hardware.device)
    with quiet_transformers():
        model.find_abilities()
    return model


def load_skeleton(folder: Path) -> CausalModel:
    """The model's shapes without its weights, on the meta device: enough to count and to plan.

    Raises:
        ModelError: transformers does not know the architecture.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    meta = torch.device("meta")
    try:
        with quiet_transformers(), meta:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(f"model.source: {folder} does not load: {str(error).splitlines()[0]}") from error
    return CausalModel(network, meta)
