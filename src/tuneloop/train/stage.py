"""One stage: its steps, validated and saved; it ends early where nothing gets better or nothing is finite."""

import math
import time
from contextlib import closing
from dataclasses import dataclass, field

import torch
from torch.profiler import record_function

from tuneloop.batch import Batch, Objective
from tuneloop.core.errors import NonFiniteError, StoppedError
from tuneloop.core.hooks import Hooks
from tuneloop.core.seeds import derive_seed
from tuneloop.model.hardware import peak_memory_bytes
from tuneloop.objectives.measure import mean_loss
from tuneloop.objectives.sft import build_objective
from tuneloop.train.checkpoint import Progress
from tuneloop.train.config import StageConfig
from tuneloop.train.feed import Feed, open_feed
from tuneloop.train.job import TrainJob, steps_of_stage
from tuneloop.train.meter import DATA_LABEL, SAVING_LABEL, VALIDATION_LABEL, Meter, open_meter
from tuneloop.train.optim import optimizer_tensors, set_learning_rate
from tuneloop.train.saver import Saver
from tuneloop.train.schedule import learning_rate_factor
from tuneloop.train.step import StepReport, train_step


@dataclass
class StageRun:
    """One stage in progress."""

    job: TrainJob
    saver: Saver
    hooks: Hooks
    config: StageConfig
    optimizer: torch.optim.Optimizer
    eval_batches: list[Batch]
    _started: float = 0.0
    _wall_before: float = 0.0
    _saved_s: float = 0.0
    """When the last save began, on the clock of `time.monotonic`."""
    _saved_step: int = 0
    _meter: Meter = field(init=False)

    def steps(self, progress: Progress) -> Progress:
        """Do, or go on with, the steps of the stage, and save; return where it ended."""
        epochs = self.job.epochs_of(progress.stage)
        steps = steps_of_stage(self.config, epochs)
        scratch = self.saver.checkpoints.folder / "activations"
        with closing(open_feed(self.job, self.config, epochs, steps=steps, folder=scratch)) as feed:
            return self._steps(progress, feed, steps)

    def _steps(self, progress: Progress, feed: Feed, steps: int) -> Progress:
        job, epochs = self.job, feed.epochs
        objective = build_objective(self.config.objective)
        per_epoch = epochs.steps_per_epoch(self.config.batch_size) or steps
        every = self.config.eval_steps or max(1, math.ceil(per_epoch / 2))
        is_last_stage = progress.stage == len(job.stages)
        self._meter = open_meter(job.model, self.config, feed, self.hooks)
        self._started, self._wall_before = time.perf_counter(), progress.wall_s
        self._saved_s, self._saved_step = time.monotonic(), progress.step
        while True:
            self.saver.poll()
            is_due = progress.step > 0 and (progress.step % every == 0 or progress.step == steps)
            if is_due and progress.validated_step != progress.step:
                progress = self._validate(progress)
                if not (self._is_over(progress, steps) and is_last_stage):
                    self._save(progress)
            if self._is_over(progress, steps):
                if progress.step < steps:
                    self.hooks.emit(
                        "early_stop", stage=progress.stage, step=progress.step, best_step=progress.best_step
                    )
                break
            try:
                self.hooks.stop.check()
                if not is_due and self._is_save_due(progress):
                    self._save(progress)
                progress = self._one_step(progress, steps, objective, feed)
            except StoppedError:
                # The step that was cut off left no trace: what is saved is the one before it.
                self._save(progress, wait=True)
                raise
        if is_last_stage:
            progress = progress.replace(finished=True)
            self._save(progress, wait=True)
        return progress

    def _is_save_due(self, progress: Progress) -> bool:
        steps, minutes = self.config.save_steps, self.config.save_minutes
        if progress.step == self._saved_step:
            return False
        by_steps = steps is not None and progress.step % steps == 0
        return by_steps or (minutes is not None and time.monotonic() - self._saved_s >= 60 * minutes)

    def _is_over(self, progress: Progress, steps: int) -> bool:
        patience = self.config.early_stopping_patience
        return progress.step >= steps or (patience is not None and progress.since_best >= patience)

    def _one_step(self, progress: Progress, steps: int, objective: Objective, feed: Feed) -> Progress:
        job, config = self.job, self.config
        begun = time.perf_counter()
        learning_rate = job.learning_rates[progress.stage - 1] * learning_rate_factor(progress.step, steps, config)
        set_learning_rate(self.optimizer, learning_rate)
        # Dropout is a function of the step, so that nothing about chance has to be saved.
        torch.manual_seed(derive_seed(job.seed, "step", progress.stage, progress.step))
        with record_function(DATA_LABEL):
            batches = feed.batches(progress.step, last=progress.step + 1 == steps)
        report = train_step(
            job.model,
            objective,
            batches,
            self.optimizer,
            max_grad_norm=config.max_grad_norm,
            stop=self.hooks.stop,
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
        self.hooks.emit(
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
            **self._meter.measure(batches, now - begun),
        )
        return self._count_skips(progress, report)

    def _count_skips(self, progress: Progress, report: StepReport) -> Progress:
        config = self.config
        if report.applied:
            return progress.replace(skipped_in_a_row=0)
        reason = f"loss {report.loss}, gradient norm {report.grad_norm}"
        self.hooks.emit("skipped", stage=progress.stage, step=progress.step, reason=reason)
        progress = progress.replace(skipped=progress.skipped + 1, skipped_in_a_row=progress.skipped_in_a_row + 1)
        if progress.skipped_in_a_row >= config.max_skipped_steps:
            raise NonFiniteError(
                f"{config.max_skipped_steps} steps in a row had no finite loss and gradient (the last at step "
                f"{progress.step}: {reason}). None was applied. Lower stages.{progress.stage - 1}.learning_rate, or "
                "look at the rows."
            )
        return progress

    @record_function(VALIDATION_LABEL)
    def _validate(self, progress: Progress) -> Progress:
        if not self.eval_batches:
            return progress.replace(validated_step=progress.step)
        try:
            loss = mean_loss(self.job.model, self.eval_batches, stop=self.hooks.stop)
        except StoppedError:
            # Not marked as validated: the run that goes on begins with this validation.
            self._save(progress, wait=True)
            raise
        self.hooks.emit("validation", stage=progress.stage, step=progress.step, loss=_finite(loss))
        is_best = math.isfinite(loss) and (progress.best_loss is None or loss < progress.best_loss)
        return progress.replace(
            validated_step=progress.step,
            last_validation_loss=loss if math.isfinite(loss) else None,
            best_loss=loss if is_best else progress.best_loss,
            best_step=progress.step if is_best else progress.best_step,
            since_best=0 if is_best else progress.since_best + 1,
            wall_s=self._wall_before + time.perf_counter() - self._started,
        )

    @record_function(SAVING_LABEL)
    def _save(self, progress: Progress, *, wait: bool = False) -> None:
        trainable = self.job.trainable
        self.saver.save(
            progress,
            {name: parameter.detach() for name, parameter in trainable.items()},
            optimizer_tensors(self.optimizer, trainable),
            is_best=progress.best_step == progress.step,
            wait=wait,
        )
        self._saved_s, self._saved_step = time.monotonic(), progress.step


def _finite(value: float) -> float | str:
    """JSON has no NaN: what is not a number is shown by name."""
    return value if math.isfinite(value) else str(value)
