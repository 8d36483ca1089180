"""Trains with TRL's SFTTrainer; runs in TRL's own environment, once with padding and once with packing.

    trl_side.py SETTINGS RESULT STARTED_AT [--packing]

Everything that differs from TRL's defaults is set here and nowhere else: float32 instead of bf16, no
gradient checkpointing, rows in their order, no weight decay.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from adapters import draw_adapters
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from protocol import IGNORED_LABEL, Call, Settings, StepLog
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class LoggedTrainer(SFTTrainer):
    """Adds up what each optimiser step really trained on, at the one place where the micro-batches pass."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clear_counts()

    def clear_counts(self) -> None:
        """Start counting an optimiser step."""
        self.loss, self.tokens, self.target_tokens = 0.0, 0, 0

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *rest: Any) -> torch.Tensor:
        """Train one micro-batch. Its loss is already divided by the targets of the whole step."""
        # A packed micro-batch is one row without padding, and has no attention mask.
        shown = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
        self.tokens += int(shown.sum())
        self.target_tokens += int((inputs["labels"] != IGNORED_LABEL).sum())
        loss = super().training_step(model, inputs, *rest)
        self.loss += loss.item()
        return loss


class StepEnds(TrainerCallback):
    """Tells the step log when training begins and when an optimiser step is over."""

    def __init__(self, log: StepLog) -> None:
        self.log = log
        self.trainer: LoggedTrainer

    def on_train_begin(self, *_event: Any, **_details: Any) -> None:
        """Start the clock of the first step."""
        self.log.begin()

    def on_step_end(self, *_event: Any, **_details: Any) -> None:
        """Stop the clock of one step and start the next one's."""
        self.log.end_step(self.trainer.loss, self.trainer.tokens, self.trainer.target_tokens)
        self.trainer.clear_counts()


def load_dataset(path: Path) -> Dataset:
    """Read the tokenised rows. A data set with `input_ids` and `labels` is taken by TRL as it is."""
    with path.open(encoding="utf-8") as file:
        return Dataset.from_list([json.loads(line) for line in file])


def build_model(settings: Settings) -> PeftModel:
    """Load the base model in float32 and put fresh adapters beside its weights."""
    model = AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32)
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        lora_dropout=0.0,
        target_modules=list(settings.targets),
        task_type="CAUSAL_LM",
    )
    network = get_peft_model(model, lora)
    draw_adapters(network, settings.seed)
    return network


def batch_shape(settings: Settings, dataset: Dataset, *, packing: bool) -> tuple[int, int]:
    """Say how many rows a forward pass takes, and how many passes an optimiser step.

    A packed row is a block of `cutoff_len` tokens. One block a pass is TRL's fastest and leanest way on a
    CPU: several are laid end to end, and attention is computed in full between them and then masked.
    """
    if not packing:
        return settings.micro_batch, settings.batch_size // settings.micro_batch
    mean_len = statistics.fmean(len(ids) for ids in dataset["input_ids"])
    return 1, max(1, round(settings.batch_size * mean_len / settings.cutoff_len))


def build_config(settings: Settings, dataset: Dataset, output: Path, *, packing: bool) -> SFTConfig:
    """Say how to train each row once, in order."""
    rows_a_pass, passes_a_step = batch_shape(settings, dataset, packing=packing)
    return SFTConfig(
        output_dir=str(output),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=settings.cutoff_len,
        packing=packing,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        per_device_train_batch_size=rows_a_pass,
        gradient_accumulation_steps=passes_a_step,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        weight_decay=0.0,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def train(call: Call, *, packing: bool) -> None:
    """Train all rows once and write the step log."""
    settings = call.settings
    torch.set_num_threads(settings.threads)
    log = StepLog(call.started_at)
    ends = StepEnds(log)
    dataset = load_dataset(Path(settings.rows))
    with tempfile.TemporaryDirectory() as output:
        ends.trainer = LoggedTrainer(
            model=build_model(settings),
            args=build_config(settings, dataset, Path(output), packing=packing),
            train_dataset=dataset,
            processing_class=AutoTokenizer.from_pretrained(settings.model),
            callbacks=[ends],
        )
        ends.trainer.train()
    log.save(call.result, ["torch", "transformers", "peft", "trl"])


if __name__ == "__main__":
    train(Call.parse(sys.argv[1:4]), packing="--packing" in sys.argv[4:])
