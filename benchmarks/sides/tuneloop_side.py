"""Trains with tuneloop's own loop; runs in tuneloop's environment.

    tuneloop_side.py SETTINGS RESULT STARTED_AT

How conversations share a forward pass is left to tuneloop's default. The only checkpoint is the last one, as
TRL saves none.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from adapters import draw_adapters
from protocol import IGNORED_LABEL, Call, Settings, StepLog

from tuneloop.core.hooks import Hooks
from tuneloop.data.prompt import TokenRow
from tuneloop.data.select.mixture import plain_mixture
from tuneloop.data.select.order import EpochPlan
from tuneloop.model.config import HardwareConfig
from tuneloop.model.hardware import choose_hardware
from tuneloop.model.load import load_model
from tuneloop.train.checkpoint import Checkpoints
from tuneloop.train.config import StageConfig
from tuneloop.train.job import TrainJob
from tuneloop.train.loop import fit
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FullConfig, LoraConfig


def load_token_rows(path: Path) -> list[TokenRow]:
    """Read the tokenised rows in the order of training."""
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            values = json.loads(line)
            weights = np.array(values["labels"]) != IGNORED_LABEL
            ids = np.array(values["input_ids"], dtype=np.int32)
            rows.append(TokenRow(ids, weights.astype(np.float32), f"{path.name}:{number}"))
    return rows


def choose_tune(settings: Settings) -> FullConfig | LoraConfig:
    """Say which weights move."""
    if settings.tune == "full":
        return FullConfig()
    return LoraConfig(
        rank=settings.rank,
        alpha=2 * settings.rank,
        targets=tuple(settings.targets),
        trainable_blocks=settings.trainable_blocks,
    )


def build_job(settings: Settings) -> TrainJob:
    """Load the model, put the adapters beside its weights, and say how to train the rows in their order."""
    hardware = choose_hardware(HardwareConfig(device="cpu", precision="float32", threads=settings.threads))
    model = load_model(Path(settings.model), hardware)
    tuned = apply_tune(model, choose_tune(settings), seed=settings.seed)
    if settings.tune == "lora":
        draw_adapters(model.network, settings.seed)
    rows = load_token_rows(Path(settings.rows))
    stage = StageConfig(
        num_train_epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_ratio=0.0,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        max_grad_norm=settings.max_grad_norm,
        eval_steps=len(rows) // settings.batch_size * settings.epochs,
        save_minutes=None,
        keep="last",
    )
    return TrainJob(
        model=model,
        trainable=tuned.trainable,
        rows=rows,
        eval_rows=[],
        stages=(stage,),
        learning_rates=(settings.learning_rate,),
        seed=settings.seed,
        epochs=EpochPlan(plain_mixture(len(rows)), "file", None, settings.seed),
    )


def train(call: Call) -> None:
    """Train all rows and write the step log."""
    log = StepLog(call.started_at)

    def note_step(kind: str, **values: Any) -> None:
        if kind == "step":
            log.end_step(values["loss"], values["tokens"], values["target_tokens"])

    job = build_job(call.settings)
    with tempfile.TemporaryDirectory() as folder:
        log.begin()
        fit(job, Checkpoints(Path(folder)), fingerprint={}, hooks=Hooks(emit=note_step))
    log.save(call.result, ["torch", "transformers", "peft", "tuneloop"])


if __name__ == "__main__":
    train(Call.parse(sys.argv[1:]))
