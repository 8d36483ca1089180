"""Trains random weights of a 7-8B shape on one CUDA card, with tuneloop and with plain peers in turn.

    python benchmarks/gpu_training.py --shape 8b --tune lora

Sides: `tuneloop` (its own loop), `plain` (transformers + peft, bf16, packed with transformers' own variable-length
attention, gradient checkpointing where it does not fit without), `liger` (the same with Liger kernels) and `trl`
(SFTTrainer, packing). Each is a fresh process; a side whose package is missing says so and is left out. Model FLOPs
are counted by the same formula for all; what checkpointing computes again does not count. MFU is against the dense
bf16 peak of the card.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIDES = ("tuneloop", "plain", "liger", "trl")
SHAPES: dict[str, dict[str, int]] = {
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128256},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 32, "vocab_size": 32000},
    "tiny": {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 512},
}  # fmt: skip
"""Llama 3.1 8B and Llama 2 7B by their published configs; `tiny` tries the script on a CPU."""
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "RTX 4090": 165.0}
"""Dense bf16 of the makers' data sheets."""


def model_flops_a_token(shape: dict[str, int], *, length: int, full: bool, rank: int) -> float:
    """FLOPs of forward and backward for one token of a conversation of `length` tokens, all of them targets.

    A matrix of P weights costs 2 P forward, 2 P for the gradient of its input and, where it learns, 2 P for its own.
    Causal attention costs 2 * length * hidden forward (half of the square, two products) and twice that backward.
    """
    head_size = shape["hidden_size"] // shape["num_attention_heads"]
    key_value = head_size * shape["num_key_value_heads"]
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    matrices = [(hidden, hidden), (hidden, key_value), (hidden, key_value), (hidden, hidden),
                (hidden, inner), (hidden, inner), (inner, hidden)]  # fmt: skip
    block = sum(rows * columns for rows, columns in matrices)
    lora = 0 if full else sum(rank * (rows + columns) for rows, columns in matrices)
    passes = 6 if full else 4
    attention = 6 * length * hidden
    per_block = passes * block + 6 * lora + attention
    return shape["num_hidden_layers"] * per_block + passes * hidden * shape["vocab_size"]


def write_model(folder: Path, shape: dict[str, int]) -> None:
    """Random bf16 weights in a Llama folder."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(**shape, max_position_embeddings=8192, tie_word_embeddings=False, dtype="bfloat16")
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        network = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    network.save_pretrained(folder)


def rows_of(options: argparse.Namespace) -> list[list[int]]:
    """Conversations of mixed lengths that fill packs of `--length` tokens exactly."""
    import random

    chance = random.Random(0)  # noqa: S311  numbers, not secrets
    rows = []
    for _ in range(options.steps * options.packs):
        left = options.length
        while left:
            size = min(left, max(8, round(chance.lognormvariate(6.0, 0.8))))
            rows.append([chance.randrange(3, SHAPES[options.shape]["vocab_size"]) for _ in range(size)])
            left -= size
    return rows


def steps_of(rows: list[list[int]], options: argparse.Namespace) -> list[list[list[list[int]]]]:
    """Steps of packs of rows."""
    packs: list[list[list[int]]] = [[]]
    for row in rows:
        if sum(map(len, packs[-1])) + len(row) > options.length:
            packs.append([])
        packs[-1].append(row)
    return [packs[i : i + options.packs] for i in range(0, len(packs), options.packs)]


def run_tuneloop(folder: Path, options: argparse.Namespace) -> list[float]:
    """Tuneloop's own model, fused functions and step."""
    import numpy as np
    import torch

    from tuneloop.core.stop import Stop
    from tuneloop.data.batches import build_batch
    from tuneloop.data.tokens.block import TokenRow
    from tuneloop.model.compact import compact_frozen
    from tuneloop.model.config import HardwareConfig
    from tuneloop.model.fused import fuse_blocks
    from tuneloop.model.hardware import choose_hardware
    from tuneloop.model.load import load_model
    from tuneloop.objectives.sft import Sft
    from tuneloop.train.config import StageConfig
    from tuneloop.train.optim import build_optimizer, set_learning_rate
    from tuneloop.train.step import train_step
    from tuneloop.tune.build import apply_tune
    from tuneloop.tune.config import FullConfig, LoraConfig
    from tuneloop.tune.fused_lora import fuse_lora

    model = load_model(folder, choose_hardware(HardwareConfig()))
    tuned = apply_tune(model, FullConfig() if options.tune == "full" else LoraConfig(rank=options.rank), seed=0)
    fuse_blocks(model.network)
    fuse_lora(model)
    compact_frozen(model)
    if options.checkpointing:
        model.base.gradient_checkpointing_enable({"use_reentrant": False})
    model.network.train()
    optimizer = build_optimizer(tuned.trainable, StageConfig())
    set_learning_rate(optimizer, 1e-5)
    times = []
    for step in steps_of(rows_of(options), options):
        begun = time.perf_counter()
        batches = [
            build_batch(
                [TokenRow(np.array(row, dtype=np.int32), np.ones(len(row), dtype=np.float32), "row") for row in pack]
            ).to(model.device)
            for pack in step
        ]
        train_step(model, Sft(), batches, optimizer, max_grad_norm=1.0, stop=Stop())
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return times


def run_plain(folder: Path, options: argparse.Namespace, *, liger: bool) -> list[float]:
    """Transformers and peft as their pages show them, with or without Liger's kernels."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    cuda = torch.cuda.is_available()
    if liger:
        from liger_kernel.transformers import AutoLigerKernelForCausalLM as Loader  # type: ignore[import-not-found]
    else:
        Loader = AutoModelForCausalLM
    network = Loader.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa")
    network.to("cuda" if cuda else "cpu")
    if options.tune == "lora":
        network = peft.get_peft_model(
            network, peft.LoraConfig(task_type="CAUSAL_LM", r=options.rank, target_modules="all-linear")
        )
    if options.checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
        network.enable_input_require_grads()
    network.train()
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-5, fused=True)
    times = []
    for step in steps_of(rows_of(options), options):
        begun = time.perf_counter()
        for pack in step:
            ids = torch.tensor([[token for row in pack for token in row]], device=network.device)
            places = torch.tensor([[place for row in pack for place in range(len(row))]], device=network.device)
            (network(input_ids=ids, position_ids=places, labels=ids, use_cache=False).loss / len(step)).backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return times


def run_trl(folder: Path, options: argparse.Namespace) -> list[float]:
    """TRL's SFTTrainer on packs that are full already."""
    import peft
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found]

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter() - self.begun)

    packs = [pack for step in steps_of(rows_of(options), options) for pack in step]
    rows = [[token for row in pack for token in row] for pack in packs]
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    lora = peft.LoraConfig(task_type="CAUSAL_LM", r=options.rank, target_modules="all-linear")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0}, "<pad>")),
        pad_token="<pad>",  # noqa: S106
        eos_token="<pad>",  # noqa: S106
    )
    with tempfile.TemporaryDirectory() as output:
        SFTTrainer(
            model=network,
            args=SFTConfig(
                output_dir=output, use_cpu=not torch.cuda.is_available(), bf16=torch.cuda.is_available(),
                gradient_checkpointing=options.checkpointing, max_length=None, per_device_train_batch_size=1,
                gradient_accumulation_steps=options.packs, learning_rate=1e-5, lr_scheduler_type="constant",
                save_strategy="no", report_to="none", disable_tqdm=True, logging_strategy="no",
            ),
            train_dataset=Dataset.from_list([{"input_ids": row, "labels": row} for row in rows]),
            processing_class=tokenizer,
            peft_config=lora if options.tune == "lora" else None,
            callbacks=[Clock()],
        ).train()  # fmt: skip
    return times


def run_side(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one side in this process."""
    import torch

    match name:
        case "tuneloop":
            times = run_tuneloop(folder, options)
        case "plain" | "liger":
            times = run_plain(folder, options, liger=name == "liger")
        case _:
            times = run_trl(folder, options)
    cuda = torch.cuda.is_available()
    return {
        "times_s": times,
        "peak_bytes": torch.cuda.max_memory_reserved() if cuda else 0,
        "card": torch.cuda.get_device_name() if cuda else "cpu",
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="8b")
    parser.add_argument("--tune", choices=["lora", "full"], default="lora")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--length", type=int, default=4096, help="tokens of a pack")
    parser.add_argument("--packs", type=int, default=4, help="packs of an optimiser step")
    parser.add_argument("--steps", type=int, default=6, help="the first two are not timed")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations, on every side")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run every side in turn, a process each, and print the table."""
    options = parse_arguments()
    if options.one:
        print(json.dumps(run_side(options.one, options.folder, options)))
        return
    shape = SHAPES[options.shape]
    flops = model_flops_a_token(shape, length=options.length, full=options.tune == "full", rank=options.rank)
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        write_model(folder, shape)
        for _ in range(options.rounds):
            for name in options.sides.split(","):
                command = [sys.executable, __file__, *sys.argv[1:], "--one", name, "--folder", str(folder)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{name}: left out: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
                    continue
                runs.setdefault(name, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
    print(f"\n| side | tokens/s | MFU | peak GiB |\n|---|---|---|---|   ({flops / 1e9:.1f} GFLOP a token)")
    tokens = options.length * options.packs
    for name, found in runs.items():
        rate = statistics.median(tokens / seconds for run in found for seconds in run["times_s"][2:])
        peak = next((peak for card, peak in PEAK_TFLOPS.items() if card in found[0]["card"]), None)
        mfu = "unknown card" if peak is None else f"{rate * flops / peak / 1e12:.1%}"
        print(f"| {name} | {rate:,.0f} | {mfu} | {max(run['peak_bytes'] for run in found) / 2**30:.1f} |")
    if options.json:
        options.json.write_text(json.dumps({"flops_a_token": flops, "runs": runs}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
