"""Trains with ms-swift's own pipeline; runs in its own environment.

    swift_side.py SETTINGS RESULT STARTED_AT [--grouped]

The rows are handed over where its pipeline would have them encoded, so that ids and targets are those of all sides.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import torch
from hf_trainer import logged, trainer_arguments
from protocol import Call, Settings, StepLog
from swift.arguments import SftArguments
from swift.pipelines.train.sft import SwiftSft
from swift.trainers import TrainerFactory


def build_arguments(settings: Settings, output: str) -> SftArguments:
    """Say what the command line of `swift sft` would say, `--use_cpu true` above all."""
    arguments: dict[str, Any] = trainer_arguments(settings) | {
        "model": settings.model,
        # A local folder does not tell which of several families of Llama it is.
        "model_type": "llama",
        "template": "chatml",
        "torch_dtype": "float32",
        "attn_impl": "sdpa",
        "dataset": [settings.rows],
        "max_length": settings.cutoff_len,
        "tuner_type": settings.tune,
        "dataset_shuffle": False,
        "train_dataloader_shuffle": False,
        "dataloader_num_workers": 0,
        "warmup_ratio": 0.0,
        "report_to": ["none"],
        "output_dir": output,
        "add_version": False,
    }
    if settings.tune == "lora":
        arguments |= {
            "lora_rank": settings.rank,
            "lora_alpha": 2 * settings.rank,
            "lora_dropout": 0.0,
            "target_modules": list(settings.targets),
        }
    return SftArguments(**arguments)


def train(call: Call) -> None:
    """Train all rows and write the step log."""
    settings = call.settings
    torch.set_num_threads(settings.threads)
    log = StepLog(call.started_at)
    rows = [row | {"length": len(row["input_ids"])} for row in call.load_rows()]
    plain_trainer_class = TrainerFactory.get_trainer_cls

    class TokenisedSft(SwiftSft):
        """Takes the rows as they are."""

        def _prepare_dataset(self) -> list[Any]:
            return [rows, None]

    TrainerFactory.get_trainer_cls = lambda args: logged(plain_trainer_class(args), log, settings)
    with tempfile.TemporaryDirectory() as output:
        TokenisedSft(build_arguments(settings, output)).main()
    log.save(call.result, ["torch", "transformers", "peft", "ms-swift"])


if __name__ == "__main__":
    train(Call.parse(sys.argv[1:]))
