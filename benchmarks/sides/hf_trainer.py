"""What the peers share that train with the Trainer of transformers: its settings, and a trainer that keeps a log."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import torch
from adapters import draw_adapters
from protocol import IGNORED_LABEL, Settings, StepLog
from transformers import TrainerCallback

Rows = list[dict[str, list[int]]]


def trainer_arguments(settings: Settings) -> dict[str, Any]:
    """Say what differs from the Trainer's defaults: float32, no checkpointing, no decay, nothing written."""
    return {
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.micro_batch,
        "gradient_accumulation_steps": settings.batch_size // settings.micro_batch,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "adam_beta1": settings.betas[0],
        "adam_beta2": settings.betas[1],
        "weight_decay": 0.0,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def packed_shape(settings: Settings, rows: Rows) -> Settings:
    """Say how many blocks of `cutoff_len` packed tokens make the optimiser step.

    One block a pass is the fastest and leanest way on a CPU: TRL lays several end to end, and attention is computed
    in full between them and then masked.
    """
    mean_len = statistics.fmean(len(row["input_ids"]) for row in rows)
    blocks_a_step = max(1, round(settings.batch_size * mean_len / settings.cutoff_len))
    return replace(settings, micro_batch=1, batch_size=blocks_a_step)


def count_tokens(labels_BT: torch.Tensor) -> int:
    """Count the tokens that are no padding: every conversation ends with a target, and padding follows the last one."""
    places_T = torch.arange(1, labels_BT.shape[1] + 1)
    return int(((labels_BT != IGNORED_LABEL) * places_T).max(dim=1).values.sum())


def find_rows(ids_BT: torch.Tensor, rows: Rows) -> list[int]:
    """Say which conversations lie in a packed micro-batch."""
    blocks = [f" {' '.join(map(str, ids))} " for ids in ids_BT.tolist()]
    texts = (f" {' '.join(map(str, row['input_ids']))} " for row in rows)
    return [number for number, text in enumerate(texts) if any(text in block for block in blocks)]


def logged(trainer_class: type, log: StepLog, settings: Settings, packed_rows: Rows | None = None) -> type:
    """Derive a trainer that starts from the common LoRA matrices and tells `log` of each optimiser step.

    With `packed_rows` it also looks for them in the first step, as packing changes their order.
    """

    class LoggedTrainer(trainer_class):
        """Adds up what each optimiser step really trained on, at the one place where the micro-batches pass."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if settings.tune == "lora":
                draw_adapters(self.model, settings.seed)
            self.add_callback(StepEnds(self, log))
            self.clear_counts()

        def clear_counts(self) -> None:
            """Start counting an optimiser step."""
            self.loss, self.tokens, self.target_tokens = 0.0, 0, 0

        def training_step(
            self, model: torch.nn.Module, inputs: dict[str, Any], *rest: Any, **more: Any
        ) -> torch.Tensor:
            """Train one micro-batch. Its loss is already divided by the targets of the whole step."""
            if packed_rows and self.state.global_step == 0:
                log.first_rows = (log.first_rows or []) + find_rows(inputs["input_ids"], packed_rows)
            self.tokens += count_tokens(inputs["labels"])
            self.target_tokens += int((inputs["labels"] != IGNORED_LABEL).sum())
            loss = super().training_step(model, inputs, *rest, **more)
            self.loss += loss.item()
            return loss

        def save_model(self, *_where: Any, **_how: Any) -> None:
            """Save nothing: no side does, and writing the model is not training."""

    return LoggedTrainer


class StepEnds(TrainerCallback):
    """Tells the step log when training begins and when an optimiser step is over."""

    def __init__(self, trainer: Any, log: StepLog) -> None:
        self.trainer, self.log = trainer, log

    def on_train_begin(self, *_event: Any, **_details: Any) -> None:
        """Start the clock of the first step."""
        self.log.begin()

    def on_step_end(self, *_event: Any, **_details: Any) -> None:
        """Stop the clock of one step and start the next one's."""
        self.log.end_step(self.trainer.loss, self.trainer.tokens, self.trainer.target_tokens)
        self.trainer.clear_counts()
