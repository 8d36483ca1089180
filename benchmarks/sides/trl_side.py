"""Trains with TRL's SFTTrainer; runs in TRL's own environment.

    trl_side.py SETTINGS RESULT STARTED_AT [--packing | --grouped | --single]

Everything that differs from TRL's defaults is set here and in hf_trainer.py: float32 instead of bf16, no gradient
checkpointing, rows in their order, no weight decay.
"""

from __future__ import annotations

import sys
import tempfile
from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from hf_trainer import logged, packed_shape, trainer_arguments
from peft import LoraConfig, get_peft_model
from protocol import Call, Settings, StepLog
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def build_model(settings: Settings) -> PreTrainedModel | PeftModel:
    """Load the base model in float32, and for LoRA put adapters beside its weights."""
    model = AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32)
    if settings.tune == "full":
        return model
    num_blocks = model.config.num_hidden_layers
    blocks = range(num_blocks - settings.trainable_blocks, num_blocks) if settings.trainable_blocks else None
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        lora_dropout=0.0,
        target_modules=list(settings.targets),
        layers_to_transform=list(blocks) if blocks else None,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def train(call: Call) -> None:
    """Train all rows and write the step log."""
    settings, packing = call.settings, "--packing" in call.flags
    torch.set_num_threads(settings.threads)
    log = StepLog(call.started_at)
    rows = call.load_rows()
    shape = packed_shape(settings, rows) if packing else settings
    with tempfile.TemporaryDirectory() as output:
        config = SFTConfig(
            **trainer_arguments(shape),
            output_dir=output,
            max_length=settings.cutoff_len,
            packing=packing,
            train_sampling_strategy="sequential",
        )
        trainer = logged(SFTTrainer, log, settings, rows if packing else None)(
            model=build_model(settings),
            args=config,
            # A data set with `input_ids` and `labels` is taken by TRL as it is.
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(settings.model),
        )
        trainer.train()
    log.save(call.result, ["torch", "transformers", "peft", "trl"])


if __name__ == "__main__":
    train(Call.parse(sys.argv[1:]))
