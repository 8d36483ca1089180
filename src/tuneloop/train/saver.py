"""Saves behind the training thread: it copies, and goes on while another thread writes, syncs and publishes."""

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from tuneloop.core.events import Emit
from tuneloop.train.checkpoint import Checkpoints, Manifest, Progress


@dataclass
class _Pending:
    """A save that is on its way."""

    future: Future[tuple[Manifest, float]]
    progress: Progress
    blocked_s: float
    """How long the training thread waited for it."""


@dataclass
class Saver:
    """One save at a time; its error comes out of the next call. Use it as a context: leaving it waits."""

    checkpoints: Checkpoints
    fingerprint: dict[str, Any]
    emit: Emit
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint"), repr=False
    )
    _pending: _Pending | None = None
    _copies: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except Exception as second:
            if error is None:
                raise
            # The error on its way out is the cause; this one came beside it.
            error.add_note(f"The checkpoint that was being written failed too: {second}")
        finally:
            self._thread.shutdown()

    def save(
        self,
        progress: Progress,
        weights: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        *,
        is_best: bool,
        wait: bool,
    ) -> None:
        """Save these tensors as they are now; with `wait`, be on disk before returning, and make no copy.

        Raises:
            DiskError: this save, or with `wait` false the one before, could not be written.
        """
        begun = time.perf_counter()
        self.wait()
        if not wait:
            weights, optimizer = self._copy("weights", weights), self._copy("optimizer", optimizer)
        future = self._thread.submit(self._write, progress, weights, optimizer, is_best=is_best)
        self._pending = _Pending(future, progress, time.perf_counter() - begun)
        if wait:
            self.wait()

    def poll(self) -> None:
        """Tell of a save that has ended meanwhile.

        Raises:
            DiskError: it could not be written.
        """
        if self._pending is not None and self._pending.future.done():
            self.wait()

    def wait(self) -> None:
        """Wait for the save that is on its way, and tell of it.

        Raises:
            DiskError: it could not be written.
        """
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        begun = time.perf_counter()
        manifest, write_s = pending.future.result()
        self.emit(
            "saved",
            stage=pending.progress.stage,
            step=pending.progress.step,
            weights=manifest.weights_sha256,
            write_s=write_s,
            blocked_s=pending.blocked_s + time.perf_counter() - begun,
        )

    def _write(
        self, progress: Progress, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], *, is_best: bool
    ) -> tuple[Manifest, float]:
        begun = time.perf_counter()
        manifest = self.checkpoints.save(progress, weights, optimizer, fingerprint=self.fingerprint, is_best=is_best)
        return manifest, time.perf_counter() - begun

    def _copy(self, group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values that no later step changes, in the memory of the processor.

        That memory is kept for the next save, which begins after this one has ended: to get it anew takes several
        times as long as to copy, most of all where it is pinned for a GPU.
        """
        copies = {}
        for name, tensor in tensors.items():
            key, on_gpu = f"{group}/{name}", tensor.device.type == "cuda"
            copy = self._copies.get(key)
            if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                copy = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=on_gpu)
            copies[name] = self._copies[key] = copy.copy_(tensor.detach(), non_blocking=on_gpu)
        if any(tensor.device.type == "cuda" for tensor in tensors.values()):
            torch.cuda.synchronize()
        return copies
