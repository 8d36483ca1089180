"""The one loop: stages of steps, validated, saved, stopped and resumed; it knows nothing of what comes after."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tuneloop.batch import Batch, Objective
from tuneloop.core.errors import ConfigError, DataError, NonFiniteError, StoppedError
from tuneloop.core.hooks import Hooks
from tuneloop.core.seeds import derive_seed
from tuneloop.data.batches import build_batches
from tuneloop.data.select.order import EpochPlan, plain_plan
from tuneloop.data.stream import StreamPlan
from tuneloop.data.tokens.block import TokenRow
from tuneloop.model.backbone import CausalModel
from tuneloop.model.hardware import peak_memory_bytes
from tuneloop.model.quiet import quiet_transformers
from tuneloop.objectives.measure import mean_loss
from tuneloop.objectives.sft import build_objective
from tuneloop.train.checkpoint import Checkpoints, Manifest, Progress
from tuneloop.train.config import StageConfig
from tuneloop.train.optim import build_optimizer, optimizer_tensors, restore_optimizer, set_learning_rate
from tuneloop.train.schedule import learning_rate_factor
from tuneloop.train.step import StepReport, train_step

_SKIPS_ALLOWED = 5


@dataclass(frozen=True)
class TrainJob:
    """Everything that decides the weights that come out."""

    model: CausalModel
    trainable: Mapping[str, nn.Parameter]
    rows: Sequence[TokenRow]
    eval_rows: Sequence[TokenRow]
    stages: tuple[StageConfig, ...]
    learning_rates: tuple[float, ...]
    """The peak of each stage."""
    seed: int
    epochs: EpochPlan | StreamPlan | None = None
    """Which rows come in which step; None: each row once an epoch, shuffled."""

    def epochs_of(self, stage: int) -> EpochPlan | StreamPlan:
        """The plan of one stage, counted from 1: each has an order of its own."""
        plan = self.epochs or plain_plan(len(self.rows), self.seed)
        return replace(plan, seed=derive_seed(self.seed, "stage", stage))


@dataclass(frozen=True)
class TrainResult:
    """What came out. The model's weights are those of `manifest`."""

    manifest: Manifest
    progress: Progress
    """Of the last step, whichever checkpoint was chosen."""


def steps_of_stage(stage: StageConfig, epochs: EpochPlan | StreamPlan) -> int:
    """Optimiser steps of a stage."""
    per_epoch = epochs.steps_per_epoch(stage.batch_size)
    if per_epoch is None:
        assert stage.max_steps is not None, "a plan that streams names the steps of each stage"
        return stage.max_steps
    steps = math.ceil(stage.num_train_epochs * per_epoch)
    return steps if stage.max_steps is None else min(steps, stage.max_steps)


def token_budget(stage: StageConfig, device: torch.device) -> int:
    """Tokens of a micro-batch."""
    return stage.micro_batch_tokens or (8192 if device.type == "cuda" else 512)


def fit(
    job: TrainJob,
    checkpoints: Checkpoints,
    *,
    fingerprint: dict[str, Any],
    hooks: Hooks,
    accept_changes: bool = False,
) -> TrainResult:
    """Train all stages, from the newest checkpoint if there is one.

    Raises:
        ConfigError: the checkpoint was made under other conditions, and `accept_changes` is off.
        NonFiniteError: too many steps in a row had no finite loss and gradient.
        StoppedError: an end was asked for; everything is saved.
    """
    if not job.rows:
        raise DataError("There are no rows to train on.")
    run = _Run(job, checkpoints, fingerprint, hooks)
    manifest, complaints = checkpoints.newest()
    for complaint in complaints:
        hooks.emit("damaged", reason=complaint)
    progress, optimizer_state = Progress(stage=1, step=0), {}
    if manifest is not None:
        checkpoints.set_aside_newer(manifest)
        differences = compare_fingerprints(manifest.fingerprint, fingerprint)
        if differences and not accept_changes:
            raise ConfigError(
                "The checkpoint was made under other conditions, so going on would not repeat what an uninterrupted "
                f"run does: {'; '.join(differences)}. Restore them, or pass --accept-changes."
            )
        progress = manifest.progress
        hooks.emit("resumed", stage=progress.stage, step=progress.step, differences=differences)
        restore_weights(job.trainable, checkpoints.load_weights(manifest))
        optimizer_state = checkpoints.load_optimizer(manifest)
    while not progress.finished:
        progress = run.stage(progress, optimizer_state)
        optimizer_state = {}
    return run.choose(progress)


def restore_weights(trainable: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    """Put saved tensors into the parameters of the same names."""
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(weights[name])


def compare_fingerprints(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """What differs, for people; empty where nothing does."""
    return [
        f"{name} was {saved.get(name)!r}, is {current.get(name)!r}"
        for name in sorted({*saved, *current})
        if saved.get(name) != current.get(name)
    ]


@dataclass(frozen=True)
class _Run:
    job: TrainJob
    checkpoints: Checkpoints
    fingerprint: dict[str, Any]
    hooks: Hooks

    def choose(self, progress: Progress) -> TrainResult:
        """Load what the last stage asked to keep."""
        chosen = self._kept(progress.stage)
        if chosen is None:
            chosen, _ = self.checkpoints.newest()
            assert chosen is not None, "a finished run has a checkpoint"
        restore_weights(self.job.trainable, self.checkpoints.load_weights(chosen))
        self.job.model.network.eval()
        return TrainResult(chosen, progress)

    def _kept(self, stage: int) -> Manifest | None:
        return self.checkpoints.best(stage) if self.job.stages[stage - 1].keep == "best" else None

    def stage(self, progress: Progress, optimizer_state: Mapping[str, Tensor]) -> Progress:
        """Do, or go on with, one stage; return where the next one begins."""
        config = self.job.stages[progress.stage - 1]
        optimizer = build_optimizer(self.job.trainable, config)
        restore_optimizer(optimizer, self.job.trainable, optimizer_state)
        network = self.job.model.network
        network.train()
        if config.gradient_checkpointing:
            with quiet_transformers():
                self.job.model.base.gradient_checkpointing_enable({"use_reentrant": False})
        eval_batches = build_batches(self.job.eval_rows, budget=token_budget(config, self.job.model.device))
        try:
            progress = _Stage(self, config, optimizer, eval_batches).steps(progress)
        finally:
            if config.gradient_checkpointing:
                with quiet_transformers():
                    self.job.model.base.gradient_checkpointing_disable()
        if progress.finished:
            return progress
        kept = self._kept(progress.stage)
        if kept is not None:
            restore_weights(self.job.trainable, self.checkpoints.load_weights(kept))
        return progress.replace(
            stage=progress.stage + 1, step=0, best_loss=None, best_step=None, since_best=0, validated_step=0
        )


@dataclass
class _Stage:
    run: _Run
    config: StageConfig
    optimizer: torch.optim.Optimizer
    eval_batches: list[Batch]
    _started: float = 0.0
    _wall_before: float = 0.0

    def steps(self, progress: Progress) -> Progress:
        job = self.run.job
        objective = build_objective(self.config.objective)
        epochs = job.epochs_of(progress.stage)
        steps = steps_of_stage(self.config, epochs)
        per_epoch = epochs.steps_per_epoch(self.config.batch_size) or steps
        every = self.config.eval_steps or max(1, math.ceil(per_epoch / 2))
        is_last_stage = progress.stage == len(job.stages)
        self._started, self._wall_before = time.perf_counter(), progress.wall_s
        while True:
            is_due = progress.step > 0 and (progress.step % every == 0 or progress.step == steps)
            if is_due and progress.validated_step != progress.step:
                progress = self._validate(progress)
                if not (self._is_over(progress, steps) and is_last_stage):
                    self._save(progress)
            if self._is_over(progress, steps):
                if progress.step < steps:
                    self.run.hooks.emit(
                        "early_stop", stage=progress.stage, step=progress.step, best_step=progress.best_step
                    )
                break
            try:
                self.run.hooks.stop.check()
                progress = self._one_step(progress, steps, objective, epochs)
            except StoppedError:
                # The step that was cut off left no trace: what is saved is the one before it.
                self._save(progress)
                raise
        if is_last_stage:
            progress = progress.replace(finished=True)
            self._save(progress)
        return progress

    def _is_over(self, progress: Progress, steps: int) -> bool:
        patience = self.config.early_stopping_patience
        return progress.step >= steps or (patience is not None and progress.since_best >= patience)

    def _one_step(
        self, progress: Progress, steps: int, objective: Objective, epochs: EpochPlan | StreamPlan
    ) -> Progress:
        job, config = self.run.job, self.config
        begun = time.perf_counter()
        learning_rate = job.learning_rates[progress.stage - 1] * learning_rate_factor(
            progress.step, steps, config.warmup_ratio, config.lr_scheduler_type
        )
        set_learning_rate(self.optimizer, learning_rate)
        # Dropout is a function of the step, so that nothing about chance has to be saved.
        torch.manual_seed(derive_seed(job.seed, "step", progress.stage, progress.step))
        chosen = epochs.rows_of_step(config.batch_size, progress.step)
        packed = build_batches([job.rows[i] for i in chosen], budget=token_budget(config, job.model.device))
        batches = [batch.to(job.model.device) for batch in packed]
        report = train_step(
            job.model,
            objective,
            batches,
            self.optimizer,
            max_grad_norm=config.max_grad_norm,
            stop=self.run.hooks.stop,
        )
        tokens = sum(batch.num_tokens for batch in batches)
        target_tokens = sum(batch.num_targets for batch in batches)
        now = time.perf_counter()
        progress = progress.replace(
            step=progress.step + 1,
            total_steps=progress.total_steps + 1,
            step_s=progress.step_s + now - begun,
            tokens=progress.tokens + tokens,
            target_tokens=progress.target_tokens + target_tokens,
            wall_s=self._wall_before + now - self._started,
            last_train_loss=report.loss if report.applied else progress.last_train_loss,
        )
        self.run.hooks.emit(
            "step",
            stage=progress.stage,
            step=progress.step,
            steps=steps,
            loss=_finite(report.loss),
            grad_norm=_finite(report.grad_norm),
            learning_rate=learning_rate,
            tokens=tokens,
            target_tokens=target_tokens,
            tokens_per_s=tokens / (now - begun),
            wall_s=progress.wall_s,
            memory_bytes=peak_memory_bytes(job.model.device),
        )
        return self._count_skips(progress, report)

    def _count_skips(self, progress: Progress, report: StepReport) -> Progress:
        if report.applied:
            return progress.replace(skipped_in_a_row=0)
        reason = f"loss {report.loss}, gradient norm {report.grad_norm}"
        self.run.hooks.emit("skipped", stage=progress.stage, step=progress.step, reason=reason)
        progress = progress.replace(skipped=progress.skipped + 1, skipped_in_a_row=progress.skipped_in_a_row + 1)
        if progress.skipped_in_a_row >= _SKIPS_ALLOWED:
            raise NonFiniteError(
                f"{_SKIPS_ALLOWED} steps in a row had no finite loss and gradient (the last at step {progress.step}: "
                f"{reason}). None was applied. Lower stages.{progress.stage - 1}.learning_rate, or look at the rows."
            )
        return progress

    def _validate(self, progress: Progress) -> Progress:
        if not self.eval_batches:
            return progress.replace(validated_step=progress.step)
        try:
            loss = mean_loss(self.run.job.model, self.eval_batches, stop=self.run.hooks.stop)
        except StoppedError:
            # Not marked as validated: the run that goes on begins with this validation.
            self._save(progress)
            raise
        self.run.hooks.emit("validation", stage=progress.stage, step=progress.step, loss=_finite(loss))
        is_best = math.isfinite(loss) and (progress.best_loss is None or loss < progress.best_loss)
        return progress.replace(
            validated_step=progress.step,
            last_validation_loss=loss if math.isfinite(loss) else None,
            best_loss=loss if is_best else progress.best_loss,
            best_step=progress.step if is_best else progress.best_step,
            since_best=0 if is_best else progress.since_best + 1,
            wall_s=self._wall_before + time.perf_counter() - self._started,
        )

    def _save(self, progress: Progress) -> None:
        trainable = self.run.job.trainable
        manifest = self.run.checkpoints.save(
            progress,
            {name: parameter.detach() for name, parameter in trainable.items()},
            optimizer_tensors(self.optimizer, trainable),
            fingerprint=self.run.fingerprint,
            is_best=progress.best_step == progress.step,
        )
        self.run.hooks.emit("saved", stage=progress.stage, step=progress.step, weights=manifest.weights)


def _finite(value: float) -> float | str:
    """JSON has no NaN: what is not a number is shown by name."""
    return value if math.isfinite(value) else str(value)
