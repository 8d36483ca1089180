"""Trains with LitGPT's own `finetune lora` and `finetune full`; runs in its own environment.

    litgpt_side.py SETTINGS RESULT STARTED_AT --checkpoint=FOLDER [--grouped]

What LitGPT cannot be told is put in place here: a constant learning rate (its warm-up divides by zero at 0 steps, and
what follows is a cosine), clipping, and the end without a checkpoint. Two differences stay. It averages each
micro-batch and then the means, so that a token's weight depends on its neighbours: another loss, and other gradients,
than the mean over the targets of the step; both are logged. And its head is never tied to the
embeddings, so that full tuning moves more weights.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import lightning
import litgpt.finetune.full
import litgpt.finetune.lora
import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.data.base import DataModule, get_sft_collate_fn
from protocol import IGNORED_LABEL, Call, Settings, StepLog
from torch import nn
from torch.utils.data import DataLoader

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = 10**9
"""An interval, in steps, that no run reaches."""


class Rows(DataModule):
    """The tokenised rows in their order; nothing to validate on."""

    def __init__(self, rows: list[dict[str, list[int]]], cutoff_len: int) -> None:
        super().__init__()
        self.rows, self.cutoff_len, self.batch_size = rows, cutoff_len, 1

    def connect(self, tokenizer: Any = None, batch_size: int = 1, max_seq_length: int | None = None) -> None:  # noqa: ARG002
        """Take what the command line says."""
        self.batch_size = batch_size

    def _load(self, rows: list[dict[str, list[int]]]) -> DataLoader:
        samples = [
            {
                "input_ids": torch.tensor(row["input_ids"]),
                "labels": torch.tensor(row["labels"]),
                "token_counts": dict.fromkeys(("raw", "raw_plus_prompt_template"), len(row["input_ids"])),
            }
            for row in rows
        ]
        collate = get_sft_collate_fn(max_seq_length=self.cutoff_len, ignore_index=IGNORED_LABEL)
        return DataLoader(samples, batch_size=self.batch_size, shuffle=False, collate_fn=collate)

    def train_dataloader(self) -> DataLoader:
        """All rows, in order."""
        return self._load(self.rows)

    def val_dataloader(self) -> DataLoader:
        """No rows: no other side validates."""
        return self._load([])


class ClippedAdamW(torch.optim.AdamW):
    """AdamW that clips first, as the other sides do, and says when a step is over."""

    max_grad_norm: ClassVar[float]
    on_step: ClassVar[Callable[[], None]]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Clip, move the weights, tell."""
        moving = [weight for group in self.param_groups for weight in group["params"] if weight.grad is not None]
        nn.utils.clip_grad_norm_(moving, self.max_grad_norm)
        outcome = super().step(closure)
        type(self).on_step()
        return outcome


class Counts:
    """Adds up an optimiser step where its losses are computed."""

    def __init__(self, rows: list[dict[str, list[int]]], settings: Settings, log: StepLog) -> None:
        self.rows, self.settings, self.log = rows, settings, log
        self.loss_sum, self.targets, self.steps = 0.0, 0, 0
        self.means: list[float] = []

    def watch(self, cross_entropy: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        """Wrap LitGPT's loss, a mean over the targets of a micro-batch."""

        def watched(logits: Any, targets: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
            loss = cross_entropy(logits, targets, *rest, **more)
            if torch.is_grad_enabled():
                num_targets = int((targets != IGNORED_LABEL).sum())
                self.means.append(loss.item())
                self.loss_sum += loss.item() * num_targets
                self.targets += num_targets
            return loss

        return watched

    def end_step(self) -> None:
        """Check that the step saw the rows that it should have, and tell the log."""
        size = self.settings.batch_size
        start = self.steps * size % len(self.rows)
        rows = self.rows[start : start + size]
        expected = sum(label != IGNORED_LABEL for row in rows for label in row["labels"])
        assert self.targets == expected, f"step {self.steps + 1}: {self.targets} targets, not {expected}"
        tokens = sum(len(row["input_ids"]) for row in rows)
        own_loss = sum(self.means) / len(self.means)
        self.log.end_step(self.loss_sum / self.targets, tokens, self.targets, own_loss)
        self.loss_sum, self.targets, self.steps, self.means = 0.0, 0, self.steps + 1, []


def draw_adapters(model: nn.Module, settings: Settings) -> None:
    """Draw every A as adapters.py does; LitGPT keeps those of q, k and v in one tensor."""
    generator = torch.Generator().manual_seed(settings.seed)
    for block in model.transformer.h:
        parts = block.attn.qkv.lora_A.detach().split(settings.rank)
        others = (block.attn.proj, block.mlp.fc_1, block.mlp.fc_2, block.mlp.proj)
        for matrix in (*parts, *(layer.lora_A.detach() for layer in others)):
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5), generator=generator)


def mend(module: ModuleType, counts: Counts) -> None:
    """Put in place what LitGPT has no option for."""
    settings = counts.settings
    load_checkpoint = module.load_checkpoint

    def load(fabric: Any, model: nn.Module, *rest: Any, **more: Any) -> None:
        load_checkpoint(fabric, model, *rest, **more)
        if settings.tune == "lora":
            draw_adapters(model, settings)
        counts.log.begin()

    def schedule(optimizer: torch.optim.Optimizer, warmup_steps: int, max_steps: int) -> Any:  # noqa: ARG001
        steps = len(counts.rows) // settings.batch_size * settings.epochs
        falling = settings.schedule == "linear"
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps if falling else 1.0)

    module.load_checkpoint, module.get_lr_scheduler = load, schedule
    module.chunked_cross_entropy = counts.watch(module.chunked_cross_entropy)
    # What follows training: saving, and for LoRA merging, which no other side does.
    for name in (
        "save_lora_checkpoint",
        "copy_config_files",
        "save_hyperparameters",
        "save_prompt_style",
        "merge_lora",
    ):
        if hasattr(module, name):
            setattr(module, name, lambda *_args, **_kwargs: None)
    lightning.Fabric.save = lambda *_args, **_kwargs: None
    Rows.prompt_style = None


def train(call: Call) -> None:
    """Train all rows and write the step log."""
    settings = call.settings
    torch.set_num_threads(settings.threads)
    checkpoint = next(Path(flag.partition("=")[2]) for flag in call.flags if flag.startswith("--checkpoint="))
    rows = call.load_rows()
    counts = Counts(rows, settings, StepLog(call.started_at))
    # In their order, because the loss depends on which rows share a micro-batch.
    in_file = call.read_rows()
    counts.log.first_rows = [in_file.index(row) for row in rows[: settings.batch_size]]
    module = litgpt.finetune.lora if settings.tune == "lora" else litgpt.finetune.full
    mend(module, counts)
    ClippedAdamW.max_grad_norm, ClippedAdamW.on_step = settings.max_grad_norm, counts.end_step
    everywhere = ("query", "key", "value", "projection", "mlp")
    adapters = {f"lora_{name}": True for name in everywhere} | {
        "lora_r": settings.rank,
        "lora_alpha": 2 * settings.rank,
        "lora_dropout": 0.0,
    }
    with tempfile.TemporaryDirectory() as output:
        module.setup(
            checkpoint_dir=checkpoint,
            out_dir=Path(output),
            precision="32-true",
            data=Rows(rows, settings.cutoff_len),
            train=TrainArgs(
                save_interval=None,
                log_interval=NEVER,
                global_batch_size=settings.batch_size,
                micro_batch_size=settings.micro_batch,
                lr_warmup_steps=None,
                epochs=settings.epochs,
                max_steps=len(rows) // settings.batch_size * settings.epochs,
                max_seq_length=settings.cutoff_len,
            ),
            eval=EvalArgs(interval=NEVER, max_new_tokens=1, max_iters=0, final_validation=False),
            optimizer={
                "class_path": "__main__.ClippedAdamW",
                "init_args": {"lr": settings.learning_rate, "betas": tuple(settings.betas), "weight_decay": 0.0},
            },
            seed=settings.seed,
            **(adapters if settings.tune == "lora" else {}),
        )
    counts.log.save(call.result, ["torch", "litgpt", "lightning"])


if __name__ == "__main__":
    train(Call.parse(sys.argv[1:]))
