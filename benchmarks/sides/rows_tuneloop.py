"""JSONL to packed token ids with tuneloop, cache empty: `rows_tuneloop.py MODEL ROWS BUDGET WORK`, JSON out."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from tuneloop.data.config import DataConfig
from tuneloop.data.contract import load_renderer
from tuneloop.data.prepare import prepare_data
from tuneloop.data.tokens.packed import iter_packs


def peak_mib() -> float:
    """Most memory that the process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Time from the open file to the last pack."""
    model, rows, budget, work = sys.argv[1:5]
    before = peak_mib()
    renderer = load_renderer(Path(model), template="model")
    begun, cpu = time.perf_counter(), time.process_time()
    config = DataConfig.model_validate({"train": [rows], "eval_fraction": 0, "cutoff_len": int(budget)})
    data = prepare_data(config, Path(), renderer, seed=0, cache=Path(work))
    num_rows = num_tokens = num_packs = 0
    for pack in iter_packs(data.train, int(budget)):
        num_packs += 1
        num_rows += len(pack)
        num_tokens += sum(len(row.ids) for row in pack)
    wall = time.perf_counter() - begun
    print(
        json.dumps(
            {
                "rows": num_rows,
                "tokens": num_tokens,
                "packs": num_packs,
                "waste": 1 - num_tokens / (num_packs * int(budget)),
                "wall_s": wall,
                "cpu_s": time.process_time() - cpu,
                "start_mib": before,
                "peak_mib": peak_mib(),
            }
        )
    )


if __name__ == "__main__":
    main()
