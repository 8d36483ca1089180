"""How fast torch multiplies the model's own shapes: `gemm_side.py ROWS THREADS RESULT INPUTSxOUTPUTSxCOUNT ...`.

Every matrix of the model is multiplied in turn, as in a forward pass, so that weights come from memory and not from
the cache of the one before. The figure is the best of several passes: a limit, not an average.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

PASSES = 4


def main() -> None:
    """Multiply [ROWS, inputs] with each weight [outputs, inputs] transposed; write GFLOP/s."""
    rows, threads, result, *matrices = sys.argv[1:]
    torch.set_num_threads(int(threads))
    shapes = [tuple(map(int, matrix.split("x"))) for matrix in matrices]
    weights = [torch.randn(outputs, inputs) for inputs, outputs, count in shapes for _ in range(count)]
    inputs_of = {inputs: torch.randn(int(rows), inputs) for inputs, _, _ in shapes}
    flops = sum(2 * int(rows) * weight.numel() for weight in weights)
    best_s = float("inf")
    with torch.inference_mode():
        for _ in range(PASSES + 1):
            begun = time.perf_counter()
            for weight in weights:
                inputs_of[weight.shape[1]] @ weight.T
            best_s = min(best_s, time.perf_counter() - begun)
    Path(result).write_text(json.dumps({"gflops_per_s": flops / best_s / 1e9}), encoding="utf-8")


if __name__ == "__main__":
    main()
