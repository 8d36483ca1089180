"""Trains with LLaMA-Factory's own `run_exp`; runs in its own environment.

    llamafactory_side.py SETTINGS RESULT STARTED_AT [--grouped | --neat_packing | --packing]

The rows are handed over where its own preparation would have them tokenised, so that ids and targets are those of all
sides, and packing is its own. `--packing` lets a conversation see those before it in its block: another model.
What a newcomer trips over is mended here: LLaMA-Factory imports torchaudio whatever is trained, but the registry's
build of it needs CUDA, so an empty module stands in; and full tuning ends with a crash in the model card, after the
figures are there.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from datasets import Dataset
from hf_trainer import Rows, logged, packed_shape, trainer_arguments
from protocol import Call, Settings, StepLog

BLOCK_MULTIPLE = 8
"""LLaMA-Factory pads to a multiple of it; a packed block is one token longer than what it holds."""


def stub_torchaudio() -> None:
    """Put an empty module where LLaMA-Factory says `import torchaudio`; others ask whether it has a specification."""
    empty = ModuleType("torchaudio")
    empty.__spec__ = ModuleSpec("torchaudio", loader=None)
    sys.modules["torchaudio"] = empty


def hand_over(rows: Rows) -> None:
    """Have LLaMA-Factory's preparation, packing included, find these rows where it would tokenise."""
    from llamafactory.data import loader
    from llamafactory.data.processor.supervised import SupervisedDatasetProcessor

    def numbered(*_args: Any, **_kwargs: Any) -> Dataset:
        turns = [[{"role": "user", "content": str(number)}] for number in range(len(rows))]
        empty = dict.fromkeys(("_system", "_tools", "_images", "_videos", "_audios"), [None] * len(rows))
        return Dataset.from_dict({"_prompt": turns, "_response": turns, **empty})

    def encode(_processor: Any, prompt: list[dict[str, str]], **_rest: Any) -> tuple[list[int], list[int]]:
        row = rows[int(prompt[0]["content"])]
        return row["input_ids"], row["labels"]

    loader._get_merged_dataset = lambda names, *rest, **more: numbered() if names else None  # noqa: ARG005, SLF001
    SupervisedDatasetProcessor._encode_data_example = encode  # noqa: SLF001


def build_arguments(settings: Settings, folder: Path, packing: str | None) -> dict[str, Any]:
    """Say what a recipe file of LLaMA-Factory would say."""
    arguments = trainer_arguments(settings)
    # Its own name; without it checkpointing is on whatever `gradient_checkpointing` says.
    del arguments["gradient_checkpointing"]
    arguments |= {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": settings.model,
        "finetuning_type": settings.tune,
        "dataset": "rows",
        "overwrite_cache": True,
        # Not used, because the rows are ids already.
        "template": "empty",
        "cutoff_len": settings.cutoff_len,
        "disable_shuffling": True,
        "disable_gradient_checkpointing": True,
        "flash_attn": "sdpa",
        "output_dir": str(folder / "output"),
    }
    if packing:
        arguments |= {packing: True, "cutoff_len": settings.cutoff_len + BLOCK_MULTIPLE}
    if settings.tune == "lora":
        arguments |= {
            "lora_rank": settings.rank,
            "lora_alpha": 2 * settings.rank,
            "lora_dropout": 0.0,
            "lora_target": ",".join(settings.targets),
        }
    return arguments


def train(call: Call) -> None:
    """Train all rows and write the step log."""
    stub_torchaudio()
    from llamafactory.train.sft import workflow
    from llamafactory.train.tuner import run_exp

    settings = call.settings
    torch.set_num_threads(settings.threads)
    log = StepLog(call.started_at)
    rows = call.load_rows()
    hand_over(rows)
    packing = next((flag.removeprefix("--") for flag in call.flags if "packing" in flag), None)
    shape = packed_shape(settings, rows) if packing else settings
    trainer_class = workflow.CustomSeq2SeqTrainer
    workflow.CustomSeq2SeqTrainer = logged(trainer_class, log, settings, rows if packing else None)
    with tempfile.TemporaryDirectory() as name:
        try:
            run_exp(build_arguments(shape, Path(name), packing))
        except AttributeError as error:
            # transformers 5.6 looks for a method of PEFT models in the card of a plain one.
            if settings.tune != "full" or "model_card" not in str(error):
                raise
    log.save(call.result, ["torch", "transformers", "peft", "llamafactory"])


if __name__ == "__main__":
    train(Call.parse(sys.argv[1:]))
