"""What saving costs while training goes on: steps during which a save is written, against steps without one.

    python benchmarks/checkpoint_cost.py --model FOLDER --rows alpaca.jsonl --tune full

Every few steps a checkpoint is saved, so that busy and free steps take turns and a change of the machine's load meets
both. A save costs what the training thread waited for it, and what the steps beside it took longer than the median of
the free ones, a token; divided by 60 seconds that is the share of the time at one save a minute.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

TUNES: dict[str, dict[str, Any]] = {"full": {"kind": "full"}, "lora": {"kind": "lora", "rank": 8, "alpha": 16}}


def train(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Events of one training."""
    stage = {
        "max_steps": arguments.every * arguments.saves + 1,
        "batch_size": arguments.batch_size,
        "save_steps": arguments.every,
        "save_minutes": None,
        "eval_steps": 10**6,
        "keep": "last",
    }
    recipe = {
        "model": {"source": str(arguments.model)},
        "data": {"train": [str(arguments.rows)], "cutoff_len": 512, "eval_fraction": 0.0},
        "tune": TUNES[arguments.tune],
        "stages": [stage],
        "hardware": {"threads": arguments.threads},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    out = folder / "run"
    subprocess.run(
        [Path(sys.executable).with_name("tuneloop"), "train", path, "--out", out], check=True, stderr=sys.stderr
    )
    return [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]


def judge(events: list[dict[str, Any]], *, saves: int) -> dict[str, float]:
    """Costs of the saves beside which training went on: the last one is waited for, and left out."""
    steps = [event for event in events if event["kind"] == "step"][1:]
    saved = {event["step"]: event for event in events if event["kind"] == "saved"}
    per_token = {event["step"]: 1 / event["tokens_per_s"] for event in steps}
    busy: set[int] = set()
    for step, event in saved.items():
        rest_s = event["write_s"]
        for later in steps:
            if later["step"] > step and rest_s > 0:
                busy.add(later["step"])
                rest_s -= later["tokens"] * per_token[later["step"]]
    free = statistics.median(seconds for step, seconds in per_token.items() if step not in busy)
    slower_s = sum(event["tokens"] * (per_token[event["step"]] - free) for event in steps if event["step"] in busy)
    waited_s = sum(saved[step]["blocked_s"] for step in sorted(saved)[:saves])
    return {
        "saves": saves,
        "busy steps": len(busy),
        "free steps": len(steps) - len(busy),
        "written in, s, median": statistics.median(event["write_s"] for event in saved.values()),
        "waited, s a save": waited_s / saves,
        "steps slower by, s a save": slower_s / saves,
        "share at one save a minute": (waited_s + slower_s) / saves / 60,
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--tune", choices=TUNES, default="full")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--every", type=int, default=12, help="steps between two saves")
    parser.add_argument("--saves", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        events = train(arguments, Path(folder))
    sys.stdout.write(json.dumps(judge(events, saves=arguments.saves), indent=2) + "\n")


if __name__ == "__main__":
    main()
