"""Prints what models of 7, 13 and 65 billion weights need, for docs/planning.md; seconds, and no memory.

python benchmarks/memory_table.py
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from tuneloop.model.config import ModelConfig
from tuneloop.model.load import load_skeleton
from tuneloop.train.config import StageConfig
from tuneloop.train.memory import MemoryEstimate, Setting, estimate_step
from tuneloop.train.simulate import split_evenly
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import AdapterConfig, FreezeConfig, FullConfig, LoraConfig, TuneConfig

GIB = 2**30
VOCABULARY = 32_000
CARDS = (24, 48, 80, 141)
TOKENS = 2048


@dataclass(frozen=True)
class Shape:
    """A Llama."""

    name: str
    blocks: int
    hidden: int
    intermediate: int
    heads: int


SHAPES = (
    Shape("7B", 32, 4096, 11_008, 32),
    Shape("13B", 40, 5120, 13_824, 40),
    Shape("65B", 80, 8192, 22_016, 64),
)


def write_config(shape: Shape, folder: Path) -> Path:
    """A folder with the shape and no weights."""
    values = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.blocks,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def ways(shape: Shape) -> dict[str, tuple[TuneConfig, ModelConfig, StageConfig]]:
    """The lines of the table."""
    plain, nf4 = ModelConfig(), ModelConfig(quantization="nf4")
    stage = StageConfig(gradient_checkpointing=True)
    small = StageConfig(gradient_checkpointing=True, optimizer="adamw_8bit")
    return {
        "full": (FullConfig(), plain, stage),
        "full, 8-bit AdamW": (FullConfig(), plain, small),
        "freeze, upper half": (FreezeConfig(trainable_blocks=shape.blocks // 2), plain, stage),
        "LoRA r=16": (LoraConfig(rank=16), plain, stage),
        "adapter": (AdapterConfig(), plain, stage),
        "QLoRA r=16": (LoraConfig(rank=16), nf4, stage),
    }


def estimate(folder: Path, tune: TuneConfig, model: ModelConfig, stage: StageConfig) -> MemoryEstimate:
    """On a card, with several micro-batches a step."""
    skeleton = load_skeleton(folder)
    tuned = apply_tune(skeleton, tune, seed=0)
    micro = split_evenly(TOKENS, TOKENS, num_targets=TOKENS // 2)
    setting = Setting("cuda", torch.bfloat16, model)
    memory, _ = estimate_step(skeleton, tuned, stage, setting, micro, accumulates=True)
    return memory


def main() -> None:
    """Print the table."""
    cards = " | ".join(f"{card} GB" for card in CARDS)
    print(f"| model | way | weights | gradients | optimiser | activations | rest | total, GiB | {cards} |")
    print("|" + "---|" * (8 + len(CARDS)))
    with tempfile.TemporaryDirectory() as place:
        for shape in SHAPES:
            folder = write_config(shape, Path(place) / shape.name)
            for name, (tune, model, stage) in ways(shape).items():
                memory = estimate(folder, tune, model, stage)
                parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.rest)
                sizes = " | ".join(f"{part / GIB:.1f}" for part in parts)
                # The name of a card counts GiB, of which the driver takes about 2 %.
                fits = " | ".join("yes" if memory.total <= 0.98 * card * GIB else "-" for card in CARDS)
                print(f"| {shape.name} | {name} | {sizes} | **{memory.total / GIB:.1f}** | {fits} |", flush=True)


if __name__ == "__main__":
    main()
