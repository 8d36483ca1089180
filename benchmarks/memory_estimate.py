"""Compares the memory that `tuneloop plan` estimates with what a training run of the same recipe takes.

    python benchmarks/memory_estimate.py --model FOLDER --model FOLDER --rows rows.jsonl

Each training is a fresh process whose peak resident memory the system reports at its end. Run it with the Python
that has tuneloop. With --probe the estimate is what `tuneloop plan --probe` measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

KIB = 1024
MIB = 2**20
WAYS = {
    "full": {"tune": {"kind": "full"}},
    "freeze": {"tune": {"kind": "freeze", "trainable_blocks": 2}},
    "lora": {"tune": {"kind": "lora", "rank": 8, "alpha": 16}},
    "qlora": {"tune": {"kind": "lora", "rank": 8, "alpha": 16}, "quantization": "nf4"},
}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, action="append", required=True, help="a folder; may be given twice")
    parser.add_argument("--rows", type=Path, required=True, help="rows of any format that tuneloop reads")
    parser.add_argument("--ways", default=",".join(WAYS), help="which ways of tuning")
    parser.add_argument("--steps", type=int, default=3, help="optimiser steps of the training")
    parser.add_argument("--micro-batch-tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--probe", action="store_true", help="compare what --probe measures")
    return parser.parse_args()


def write_recipe(options: argparse.Namespace, model: Path, way: str, folder: Path) -> Path:
    """One recipe; it differs from the others in the model and in what moves."""
    chosen = WAYS[way]
    recipe = {
        "name": f"{model.name}-{way}",
        "model": {"source": str(model.resolve()), "quantization": chosen.get("quantization")},
        "data": {"train": [{"path": str(options.rows.resolve()), "num_samples": 100}], "eval_fraction": 0.1,
                 "cutoff_len": 512},
        "tune": chosen["tune"],
        "stages": [{"max_steps": options.steps, "batch_size": 8, "micro_batch_tokens": options.micro_batch_tokens}],
        "hardware": {"device": "cpu", "threads": options.threads},
    }  # fmt: skip
    path = folder / f"{recipe['name']}.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


def run_command(arguments: list[str], threads: int) -> tuple[str, int]:
    """Run tuneloop; return its answer and its peak resident memory in bytes."""
    command = [sys.executable, "-c", "from tuneloop.cli.main import main; main()", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as answer, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=answer, stderr=log)
        # wait4 tells the peak memory of exactly this child.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        answer.seek(0)
        text = answer.read()
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {text}{log.read()[-600:]}")
    return text, usage.ru_maxrss * KIB


def main() -> None:
    """Print a line for each model and way of tuning."""
    options = parse_arguments()
    worst = 0.0
    print(f"{'model':<24}{'way':<10}{'estimate MiB':>14}{'measured MiB':>14}{'off by':>9}")
    with tempfile.TemporaryDirectory() as place:
        for model in options.model:
            for way in options.ways.split(","):
                recipe = write_recipe(options, model, way, Path(place))
                extra = ["--probe"] if options.probe else []
                try:
                    planned, _ = run_command(["plan", str(recipe), "--json", *extra], options.threads)
                    out = str(Path(place) / recipe.stem)
                    _, measured = run_command(["train", str(recipe), "--out", out, "--json"], options.threads)
                except RuntimeError as error:
                    print(f"{model.name:<24}{way:<10}  {error}")
                    continue
                answer = json.loads(planned)
                estimate = answer["probe"]["peak_bytes"] if options.probe else answer["ways"][0]["memory"]["total"]
                off = estimate / measured - 1
                worst = max(worst, abs(off))
                print(
                    f"{model.name:<24}{way:<10}{estimate / MIB:>14,.0f}{measured / MIB:>14,.0f}{off:>+9.1%}", flush=True
                )
    print(f"largest difference: {worst:.1%}")


if __name__ == "__main__":
    main()
