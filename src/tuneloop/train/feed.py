"""The micro-batches of a step, a function of the step alone; where lower blocks are frozen, with what they gave.

Shapes: T tokens of a micro-batch, D hidden size.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from tuneloop.batch import Batch
from tuneloop.core.store import scratch_file
from tuneloop.data.batches import build_batch
from tuneloop.data.pack import pack_rows
from tuneloop.data.prefixes import Pack, pack_with_prefixes
from tuneloop.data.select.order import EpochPlan
from tuneloop.data.stream import StreamPlan
from tuneloop.model.backbone import CausalModel
from tuneloop.model.blocks import blocks_of
from tuneloop.model.split import SplitDecoder, lowest_learning_block
from tuneloop.train.config import StageConfig
from tuneloop.train.job import TrainJob, token_budget

_DISK_FACTOR = 10


@dataclass
class ActivationCache:
    """What the frozen lower blocks gave for each row, up to a number of bytes; rows beyond it are computed anew.

    Each row is computed by itself, so its states do not depend on its neighbours: a run that was killed, and has
    to compute them again in other company, goes on with the same bits.
    """

    split: SplitDecoder
    limit_bytes: int
    file: IO[bytes] | None
    """Where the states lie; None: in memory."""
    used_bytes: int = 0
    _in_memory: dict[int, Tensor] = field(default_factory=dict)
    _on_disk: dict[int, tuple[int, torch.Size, torch.dtype]] = field(default_factory=dict)

    def states(self, index: int, ids_T: Tensor) -> Tensor:
        """States of a row as they enter the upper blocks, [T, D]."""
        if index in self._in_memory:
            return self._in_memory[index]
        if index in self._on_disk:
            return self._read(*self._on_disk[index])
        states_TD = self.split.lower(ids_T)
        self._keep(index, states_TD)
        return states_TD

    def _keep(self, index: int, states_TD: Tensor) -> None:
        size = states_TD.numel() * states_TD.element_size()
        if self.used_bytes + size > self.limit_bytes:
            return
        if self.file is None:
            self._in_memory[index] = states_TD.cpu()
        elif self._write(states_TD):
            self._on_disk[index] = (self.used_bytes, states_TD.shape, states_TD.dtype)
        else:
            return
        self.used_bytes += size

    def _write(self, states_TD: Tensor) -> bool:
        """Put the states behind the others; False where the disk is full, and then no more is kept."""
        assert self.file is not None
        content = states_TD.cpu().contiguous().view(torch.uint8).numpy()
        try:
            self.file.seek(self.used_bytes)
            self.file.write(content.data)
            self.file.flush()
        except OSError:
            self.limit_bytes = self.used_bytes
            return False
        return True

    def _read(self, offset: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        assert self.file is not None
        content = bytearray(shape.numel() * dtype.itemsize)
        self.file.seek(offset)
        self.file.readinto(content)  # type: ignore[attr-defined] - a real file has it
        return torch.frombuffer(content, dtype=dtype).view(shape)


@dataclass(frozen=True)
class _Pack:
    """A micro-batch on the host, and which rows of the job it holds."""

    rows: tuple[int, ...]
    batch: Batch


@dataclass
class Feed:
    """Hands out the micro-batches of each step of one stage; the next step's are built while this one is computed."""

    job: TrainJob
    config: StageConfig
    epochs: EpochPlan | StreamPlan
    cache: ActivationCache | None = None
    _worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="feed"))
    _ahead: tuple[int, Future[list[_Pack]]] | None = None

    def close(self) -> None:
        """Let go of the thread and of scratch files."""
        self._worker.shutdown(cancel_futures=True)
        if self.cache is not None and self.cache.file is not None:
            self.cache.file.close()

    def batches(self, step: int, *, last: bool = False) -> list[Batch]:
        """Micro-batches of a step counted from 0, on the model's device; after the `last` none is built ahead."""
        waiting, self._ahead = self._ahead, None
        packs = waiting[1].result() if waiting is not None and waiting[0] == step else self._build(step)
        # A stream reads on as it is asked: only the step that comes next may ask it.
        if not last and isinstance(self.epochs, EpochPlan):
            self._ahead = (step + 1, self._worker.submit(self._build, step + 1))
        on_device = [pack.batch.to(self.job.model.device) for pack in packs]
        if self.cache is None:
            return on_device
        return [self._with_lower(batch, pack.rows, self.cache) for batch, pack in zip(on_device, packs, strict=True)]

    def _build(self, step: int) -> list[_Pack]:
        chosen = self.epochs.rows_of_step(self.config.batch_size, step)
        rows = [self.job.rows[index] for index in chosen]
        budget = token_budget(self.config, self.job.model.device)
        if self.config.share_prefixes and self.cache is None and self.job.model.can_share_prefixes:
            packs = pack_with_prefixes(rows, budget)
        else:
            packs = [Pack(tuple(pack)) for pack in pack_rows([len(row.ids) for row in rows], budget)]
        return [
            _Pack(
                tuple(int(chosen[place]) for place in pack.rows),
                build_batch([rows[place] for place in pack.rows], prefix=pack.prefix),
            )
            for pack in packs
        ]

    @staticmethod
    def _with_lower(batch: Batch, indices: Sequence[int], cache: ActivationCache) -> Batch:
        parts = [
            cache.states(index, batch.ids_T[begin:end])
            for index, begin, end in zip(indices, batch.bounds[:-1], batch.bounds[1:], strict=True)
        ]
        return replace(batch, lower_TD=torch.cat(parts).to(batch.ids_T.device))


def open_feed(job: TrainJob, config: StageConfig, epochs: EpochPlan | StreamPlan, *, steps: int, folder: Path) -> Feed:
    """The feed of a stage of `steps` steps; `folder` may hold scratch files.

    The lower blocks are computed apart where they are frozen, have no dropout, and rows come more than once.
    """
    per_epoch = epochs.steps_per_epoch(config.batch_size)
    repeats = per_epoch is not None and steps > per_epoch
    if config.activation_cache == "off" or not repeats or config.gradient_checkpointing:
        return Feed(job, config, epochs)
    cut = lowest_learning_block(job.model)
    if cut == 0 or _has_dropout(job.model, cut):
        return Feed(job, config, epochs)
    if job.model.split is None or job.model.split.cut != cut:
        job.model.split = SplitDecoder(job.model, cut)
        if not job.model.split.agrees():
            job.model.split = None
    if job.model.split is None:
        return Feed(job, config, epochs)
    in_memory = int(config.activation_cache_gib * 2**30)
    needed = sum(len(row.ids) for row in job.rows) * job.model.base.config.get_text_config().hidden_size * 4
    on_disk = config.activation_cache == "disk" or (config.activation_cache == "auto" and needed > in_memory)
    limit = in_memory * _DISK_FACTOR if on_disk else in_memory
    return Feed(job, config, epochs, ActivationCache(job.model.split, limit, scratch_file(folder) if on_disk else None))


def _has_dropout(model: CausalModel, cut: int) -> bool:
    """Whether chance enters below the cut: then no two epochs see the same states there."""
    if getattr(model.base.config.get_text_config(), "attention_dropout", 0.0):
        return True
    below = [model.base.get_input_embeddings(), *blocks_of(model)[:cut], *model.base.get_decoder().children()]
    return any(
        isinstance(module, torch.nn.Dropout) and module.p > 0
        for part in below
        if part is not blocks_of(model)
        for module in part.modules()
    )
