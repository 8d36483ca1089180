"""A step or two on the real model, to see what a training run will really take."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from tuneloop.core.errors import ConfigError
from tuneloop.core.stop import Stop
from tuneloop.data.batches import build_batch
from tuneloop.data.stream import StreamedRows
from tuneloop.model.checkpointing import checkpointed
from tuneloop.model.hardware import peak_memory_bytes
from tuneloop.model.load import load_model
from tuneloop.objectives.sft import build_objective
from tuneloop.pipeline.session import Session
from tuneloop.train.optim import build_optimizer
from tuneloop.train.step import train_step
from tuneloop.tune.build import apply_tune


@dataclass(frozen=True)
class Measured:
    """What the steps took."""

    peak_bytes: int
    step_s: float
    tokens: int
    """Of the step that was timed."""


def run_probe(session: Session, micro_batch_tokens: int) -> Measured:
    """Learn twice from two copies of the longest micro-batch, at learning rate 0; nothing is kept.

    Two copies, so that gradients accumulate as they do in a run; two steps, since the optimiser's state is made in
    the first, which also pays for memory that is touched for the first time.

    Raises:
        ConfigError: the rows are streamed, so the longest ones are not known.
    """
    rows, plan = session.data.train, session.plan
    if isinstance(rows, StreamedRows):
        raise ConfigError("--probe: with data.streaming the longest rows are not known beforehand. Leave it out.")
    chosen: list[int] = []
    num_tokens = 0
    for index in np.argsort(-rows.lengths, kind="stable").tolist():
        length = int(rows.lengths[index])
        if not chosen or num_tokens + length <= micro_batch_tokens:
            chosen.append(index)
            num_tokens += length
    batch = build_batch([rows[index] for index in chosen])
    model = load_model(session.base, session.hardware, plan.model)
    tuned = apply_tune(model, plan.tune, seed=plan.seed)
    stage = plan.stages[0]
    optimizer = build_optimizer(tuned.trainable, stage, tuned.rate_factors)
    model.network.train()
    batches = [batch.to(model.device)] * 2
    step_s = 0.0
    with checkpointed(model, stage.gradient_checkpointing):
        for _ in range(2):
            begun = time.perf_counter()
            train_step(
                model,
                build_objective(stage.objective),
                batches,
                optimizer,
                max_grad_norm=stage.max_grad_norm,
                stop=Stop(),
            )
            if model.device.type == "cuda":
                torch.cuda.synchronize(model.device)
            step_s = time.perf_counter() - begun
    return Measured(peak_memory_bytes(model.device), step_s, 2 * num_tokens)
