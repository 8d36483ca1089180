"""What the run is for, counted by tuneloop: `work_side.py SETTINGS RESULT`, operations and matrices as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from protocol import IGNORED_LABEL, Call
from tuneloop_side import choose_tune

from tuneloop.model.load import load_skeleton
from tuneloop.train.flops import matrix_shapes, shape_of, step_flops
from tuneloop.tune.build import apply_tune


def main() -> None:
    """Count on the model's shapes alone: useful operations a token over all epochs, and each matrix of the model."""
    call = Call.parse([*sys.argv[1:3], "0"])
    settings, rows = call.settings, call.load_rows()
    model = load_skeleton(Path(settings.model))
    matrices = [[*shape, count] for shape, count in matrix_shapes(model).items()]
    apply_tune(model, choose_tune(settings), seed=settings.seed)
    lengths = [len(row["input_ids"]) for row in rows]
    num_targets = sum(label != IGNORED_LABEL for row in rows for label in row["labels"])
    # What blocks below the lowest learning one compute never changes: it is needed in the first epoch alone.
    flops = [
        step_flops(shape_of(model), lengths=lengths, num_targets=num_targets, lower_tokens=lower_tokens).total
        for lower_tokens in (None, *[0] * (settings.epochs - 1))
    ]
    values = {"flops_per_token": sum(flops) / settings.epochs / sum(lengths), "matrices": matrices}
    call.result.write_text(json.dumps(values), encoding="utf-8")


if __name__ == "__main__":
    main()
