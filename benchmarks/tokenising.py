"""From JSONL to packed token ids: tuneloop and TRL on the same file, in turn, each in a fresh process, caches empty.

    python benchmarks/tokenising.py --model FOLDER --rows FILE [--rounds 3] [--budget 2048]

FILE holds rows of `prompt` and `completion`, each a list of messages, which both sides read as they are. Run it with
the Python that has tuneloop. TRL has an environment of its own, the one of benchmarks/training.py. Both render with
the model's own template. `trl-2` is TRL with two processes for its maps (`dataset_num_proc=2`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SIDES = ("tuneloop", "trl", "trl-2")
FIGURES = ("rows_per_s", "rows_per_cpu_s", "memory_mib", "waste")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder with a tokenizer.json")
    parser.add_argument("--rows", type=Path, required=True, help="JSONL of prompt and completion")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs")
    parser.add_argument("--budget", type=int, default=2048, help="tokens of a pack, and of the longest row")
    parser.add_argument("--sides", default=",".join(SIDES), help="which sides run, in this order")
    parser.add_argument("--trl-python", type=Path, default=Path("~/.cache/tuneloop/benchmarks/trl-env/bin/python"))
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    return parser.parse_args()


def run_side(side: str, options: argparse.Namespace) -> dict[str, Any]:
    """One fresh process; its caches go when it ends."""
    work = tempfile.mkdtemp(prefix="tuneloop-bench-")
    arguments = [str(options.model), str(options.rows.resolve()), str(options.budget), work]
    if side == "tuneloop":
        command = [sys.executable, str(HERE / "sides/rows_tuneloop.py"), *arguments]
    else:
        python = str(options.trl_python.expanduser())
        command = [python, str(HERE / "sides/rows_trl.py"), *arguments, *(["2"] if side == "trl-2" else [])]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=work, env=environment)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{side}: {error.stderr[-3000:]}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found | {
        "side": side,
        "rows_per_s": found["rows"] / found["wall_s"],
        "rows_per_cpu_s": found["rows"] / found["cpu_s"],
        "memory_mib": found["peak_mib"] - found["start_mib"],
    }


def main() -> None:
    """Run the sides in turn and print medians."""
    options = parse_arguments()
    sides = options.sides.split(",")
    runs = [run_side(side, options) for _ in range(options.rounds) for side in sides]
    if options.json:
        options.json.write_text(json.dumps(runs, indent=1))
    print(f"{'side':10}" + "".join(f"{name:>16}" for name in FIGURES) + f"{'tokens':>12}")
    for side in sides:
        mine = [run for run in runs if run["side"] == side]
        medians = [statistics.median(run[name] for run in mine) for name in FIGURES]
        print(f"{side:10}" + "".join(f"{value:16.4g}" for value in medians) + f"{mine[0]['tokens']:12,}")
    for side in sides[1:]:
        pairs = zip(
            [run for run in runs if run["side"] == sides[0]], [run for run in runs if run["side"] == side], strict=True
        )
        ratios = [ours["rows_per_s"] / theirs["rows_per_s"] for ours, theirs in pairs]
        print(f"{sides[0]} / {side}: {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
