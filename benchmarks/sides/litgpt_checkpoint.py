"""Converts a Llama folder into LitGPT's own format: `litgpt_checkpoint.py MODEL FOLDER`, in LitGPT's environment.

LitGPT's converter knows models by their published names; here its configuration is written from config.json.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from litgpt.config import Config
from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
from litgpt.utils import save_config
from safetensors.torch import load_file


def build_config(model: Path) -> Config:
    """Say in LitGPT's words what config.json says."""
    hf: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    rope = hf.get("rope_parameters") or {"rope_theta": hf.get("rope_theta", 10000.0), "rope_type": "default"}
    if hf["model_type"] != "llama" or rope["rope_type"] != "default":
        raise SystemExit(f"{model}: only plain Llama models are converted for LitGPT")
    return Config(
        name=model.name,
        block_size=hf["max_position_embeddings"],
        vocab_size=hf["vocab_size"],
        padded_vocab_size=hf["vocab_size"],
        n_layer=hf["num_hidden_layers"],
        n_head=hf["num_attention_heads"],
        n_embd=hf["hidden_size"],
        head_size=hf.get("head_dim"),
        n_query_groups=hf["num_key_value_heads"],
        rotary_percentage=1.0,
        rope_base=int(rope["rope_theta"]),
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        norm_eps=hf["rms_norm_eps"],
        mlp_class_name="LLaMAMLP",
        intermediate_size=hf["intermediate_size"],
    )


def main() -> None:
    """Write lit_model.pth, its configuration and the tokenizer's files."""
    model, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    config = build_config(model)
    weights = {name: each for file in sorted(model.glob("*.safetensors")) for name, each in load_file(file).items()}
    state: dict[str, torch.Tensor] = {}
    copy_weights_hf_llama(config, {}, state, weights, dtype=torch.float32)
    torch.save(state, folder / "lit_model.pth")
    save_config(config, folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (model / name).exists():
            shutil.copy(model / name, folder / name)


if __name__ == "__main__":
    main()
