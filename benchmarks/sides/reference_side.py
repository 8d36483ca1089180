"""Losses of conversations in float64, by plain transformers: `reference_side.py SETTINGS RESULT NUMBER ...`.

The untrained model gives them, because LoRA begins silent. float64, because torch's own float32 cross-entropy is off
by about 1e-5 at a vocabulary of 49,152.
"""

from __future__ import annotations

import json
import sys

import torch
from protocol import IGNORED_LABEL, Call
from transformers import AutoModelForCausalLM


def main() -> None:
    """Write the sum of the losses and the number of targets of each conversation, each computed alone."""
    settings, result, *numbers = sys.argv[1:]
    call = Call.parse([settings, result, "0"])
    torch.set_num_threads(call.settings.threads)
    model = AutoModelForCausalLM.from_pretrained(call.settings.model, dtype=torch.float64).eval()
    rows = call.load_rows()
    losses: dict[int, tuple[float, int]] = {}
    for number in map(int, numbers):
        labels = torch.tensor(rows[number]["labels"])[1:]
        is_target = labels != IGNORED_LABEL
        with torch.inference_mode():
            logits = model(torch.tensor([rows[number]["input_ids"]])).logits[0, :-1][is_target]
            loss = torch.nn.functional.cross_entropy(logits, labels[is_target], reduction="sum").item()
        losses[number] = (loss, int(is_target.sum()))
    call.result.write_text(json.dumps(losses), encoding="utf-8")


if __name__ == "__main__":
    main()
