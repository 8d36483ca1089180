"""The merged model as a folder that plain transformers loads, with the same logits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from tuneloop.core.errors import ContractError
from tuneloop.core.store import read_json
from tuneloop.model.backbone import CausalModel
from tuneloop.model.quiet import quiet_transformers

_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.1}
"""Largest absolute difference of a logit: float32 sums in another order; bf16 keeps 8 bits of each weight."""


def stored_type(base: Path, choice: Literal["auto", "float32", "bf16"]) -> torch.dtype:
    """The type of the merged weights: as asked, or as the base was stored."""
    if choice != "auto":
        return _TYPES[choice]
    config = read_json(base / "config.json")
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name, torch.float32)


def probe_logits(model: CausalModel, probes: Sequence[np.ndarray]) -> list[torch.Tensor]:
    """Logits of the last token of each probe, [V], before merging."""
    with torch.no_grad():
        return [
            model.network(input_ids=torch.from_numpy(ids.astype(np.int64))[None].to(model.device), use_cache=False)
            .logits[0, -1]
            .float()
            .cpu()
            for ids in probes
        ]


def write_merged(model: CausalModel, folder: Path, *, dtype: torch.dtype) -> None:
    """Write config and safetensors of a model whose corrections are merged already."""
    network = model.base
    network.config.dtype = dtype
    with quiet_transformers():
        network.to(dtype).save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)


def load_merged(folder: Path, *, dtype: torch.dtype) -> Any:
    """The folder's network, loaded as anyone would."""
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True)
    return network.eval()


def check_logits(
    network: Any, probes: Sequence[np.ndarray], expected: Sequence[torch.Tensor], *, where: Path
) -> tuple[float, float]:
    """Hold a network's logits against the trained model's.

    Returns:
        The largest absolute difference, and the tolerance.

    Raises:
        ContractError: they differ by more than the tolerance.
    """
    largest = 0.0
    for ids, logits_V in zip(probes, expected, strict=True):
        with torch.no_grad():
            found_V = network(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).logits[0, -1].float()
        largest = max(largest, float((found_V - logits_V).abs().max()))
    scale = max(1.0, float(max(logits.abs().max() for logits in expected)) / 10)
    tolerance = _TOLERANCE[network.dtype] * scale
    if largest > tolerance:
        raise ContractError(
            f"{where}: its logits differ from the trained model's by {largest:.3g} (> {tolerance:.3g})."
        )
    return largest, tolerance
