"""The one loop: stages of steps, validated, saved, stopped and resumed; it knows nothing of what comes after."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tuneloop.core.errors import ConfigError, DataError
from tuneloop.core.hooks import Hooks
from tuneloop.data.batches import build_batches
from tuneloop.model.checkpointing import checkpointed
from tuneloop.model.compact import compact_frozen
from tuneloop.model.fused import fuse_blocks
from tuneloop.train.checkpoint import Checkpoints, Manifest, Progress
from tuneloop.train.job import TrainJob, TrainResult, steps_of_stage, token_budget
from tuneloop.train.optim import build_optimizer, restore_optimizer
from tuneloop.train.saver import Saver
from tuneloop.train.stage import StageRun
from tuneloop.tune.fused_lora import fuse_lora


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
    fuse_blocks(job.model.network)
    fuse_lora(job.model)
    compact_frozen(job.model)
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
        hooks.emit("resumed", **_place(job, manifest), differences=differences)
        restore_weights(job.trainable, checkpoints.load_weights(manifest))
        optimizer_state = checkpoints.load_optimizer(manifest)
    with Saver(checkpoints, fingerprint, hooks.emit) as saver:
        run = _Run(job, checkpoints, saver, hooks)
        while not progress.finished:
            progress = run.stage(progress, optimizer_state)
            optimizer_state = {}
    return run.choose(progress)


def _place(job: TrainJob, manifest: Manifest) -> dict[str, Any]:
    """Where a checkpoint stands, for people."""
    progress = manifest.progress
    config = job.stages[progress.stage - 1]
    epochs = job.epochs_of(progress.stage)
    per_epoch = epochs.steps_per_epoch(config.batch_size)
    return {
        "stage": progress.stage,
        "step": progress.step,
        "steps": steps_of_stage(config, epochs),
        "epoch": None if per_epoch is None else progress.step / per_epoch,
        "loss": progress.last_train_loss,
        "validation_loss": progress.last_validation_loss,
        "saved_at": manifest.saved_at.isoformat(),
    }


def restore_weights(trainable: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    """Put saved tensors into the parameters of the same names."""
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(weights[name])


def compare_fingerprints(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """What differs, for people, one value each: `stages.0.learning_rate: was 0.0001, is 0.0002`."""
    before, now = dict(_leaves(saved)), dict(_leaves(current))
    return [
        f"{name}: was {before.get(name)!r}, is {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The plain values of a tree, by their path."""
    match value:
        case dict():
            branches = list(value.items())
        case list() | tuple():
            branches = list(enumerate(value))
        case _:
            yield name, value
            return
    for key, branch in branches:
        yield from _leaves(branch, f"{name}.{key}" if name else str(key))


@dataclass(frozen=True)
class _Run:
    job: TrainJob
    checkpoints: Checkpoints
    saver: Saver
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
        optimizer = build_optimizer(self.job.trainable, config, self.job.rate_factors)
        restore_optimizer(optimizer, self.job.trainable, optimizer_state)
        network = self.job.model.network
        network.train()
        eval_batches = build_batches(self.job.eval_rows, budget=token_budget(config, self.job.model.device))
        with checkpointed(self.job.model, config.gradient_checkpointing):
            progress = StageRun(self.job, self.saver, self.hooks, config, optimizer, eval_batches).steps(progress)
        # The next stage begins with what was saved.
        self.saver.wait()
        if progress.finished:
            return progress
        kept = self._kept(progress.stage)
        if kept is not None:
            restore_weights(self.job.trainable, self.checkpoints.load_weights(kept))
        return progress.replace(
            stage=progress.stage + 1, step=0, best_loss=None, best_step=None, since_best=0, validated_step=0
        )
