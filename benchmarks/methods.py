"""Every way of moving the weights on the same rows: loss before and after, speed, memory, share that moves.

    python benchmarks/methods.py --model FOLDER --rows alpaca_en.jsonl --out runs/methods

One row in ten is held out; the loss is a held-out target token's, in nats, of the model as it is deployed (merged
where the way of tuning can be). Ways are done one after another by the real commands, and a run that was done is not
done again. Learning rates are the usual ones of each way; nothing was searched.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

WAYS: dict[str, dict[str, Any]] = {
    "full": {"tune": {"kind": "full"}, "learning_rate": 2e-5},
    "freeze, upper half": {"tune": {"kind": "freeze", "trainable_blocks": 15}, "learning_rate": 5e-5},
    "LoRA": {"tune": {"kind": "lora", "rank": 8, "alpha": 16}, "learning_rate": 2e-4},
    "QLoRA, nf4": {
        "tune": {"kind": "lora", "rank": 8, "alpha": 16},
        "learning_rate": 2e-4,
        "quantization": "nf4",
    },
    "adapter, Pfeiffer": {"tune": {"kind": "adapter", "reduction_factor": 16}, "learning_rate": 5e-4},
}


def tuneloop(*arguments: object) -> Any:
    """A command's JSON."""
    command = [str(Path(sys.executable).with_name("tuneloop")), *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def recipe(arguments: argparse.Namespace, way: dict[str, Any], rows: Path) -> dict[str, Any]:
    """The recipe of one way."""
    return {
        "model": {"source": str(arguments.model), "quantization": way.get("quantization")},
        "data": {"train": [str(rows)], "cutoff_len": 512, "eval_fraction": 0.1},
        "tune": way["tune"],
        "stages": [
            {
                "num_train_epochs": arguments.epochs,
                "batch_size": 16,
                "learning_rate": way["learning_rate"],
                "keep": "last",
                "eval_steps": 10**6,
            }
        ],
        "evaluate": {"metrics": ["exact_match"], "generate": {"max_new_tokens": 1}},
        "hardware": {"threads": arguments.threads, "device": "cpu"},
        "seed": 0,
    }


def measure(arguments: argparse.Namespace, name: str, way: dict[str, Any], rows: Path) -> dict[str, Any]:
    """Train and evaluate one way."""
    folder = arguments.out / name.replace(", ", "-").replace(" ", "-").lower()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(arguments, way, rows)))
    trained = tuneloop("train", path, "--out", folder / "run")
    tuneloop("eval", folder / "run")
    losses = []
    for number in (0, 1):
        scores = json.loads((folder / f"run/records/eval-{number}.json").read_text())["scores"]
        losses.append(next(score["value"] for score in scores if score["metric"] == "loss"))
    cost = trained["cost"]
    return {
        "way": name,
        "loss before": losses[0],
        "loss after": losses[1],
        "tokens": cost["tokens"],
        "tokens_per_s": cost["tokens_per_s"],
        "share of the limit": cost["utilisation"],
        "peak_memory_gib": cost["peak_memory_bytes"] / 2**30,
        "moving": trained["trainable_parameters"] / trained["total_parameters"],
    }


def main() -> None:
    """Print a table, line by line as the ways are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True, help="JSONL; the first --number are taken")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = arguments.out / "rows.jsonl"
    with arguments.rows.open() as file:
        rows.write_text("".join(itertools.islice(file, arguments.number)))
    print("| | weights that move | loss before | after | tokens/s | share of the limit | peak memory, GiB |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.ways:
        found = measure(arguments, name, WAYS[name], rows)
        share = "" if found["share of the limit"] is None else f"{found['share of the limit']:.0%}"
        print(
            f"| {name} | {found['moving']:.2%} | {found['loss before']:.4f} | {found['loss after']:.4f} "
            f"| {found['tokens_per_s']:.0f} | {share} | {found['peak_memory_gib']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
