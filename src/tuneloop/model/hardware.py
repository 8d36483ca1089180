"""What this machine can compute on, found out rather than assumed."""

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from tuneloop.core.errors import ConfigError
from tuneloop.model.config import HardwareConfig

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_M_ARENA_MAX = -8
"""The option's number in glibc's malloc.h."""


@dataclass(frozen=True)
class Hardware:
    """Device, precision and threads of a run, decided."""

    device: torch.device
    autocast_dtype: torch.dtype | None
    threads: int

    @property
    def precision(self) -> str:
        """The name that records use."""
        return "float32" if self.autocast_dtype is None else "bf16"


def choose_hardware(config: HardwareConfig) -> Hardware:
    """Decide, and set the number of threads.

    Raises:
        ConfigError: the recipe asks for what this machine does not have.
    """
    has_cuda = torch.cuda.is_available()
    if config.device == "cuda" and not has_cuda:
        raise ConfigError("hardware.device: no CUDA device here. Set it to cpu or auto.")
    device = torch.device("cuda" if has_cuda and config.device != "cpu" else "cpu")
    bf16 = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_bf16()
    if config.precision == "bf16" and not bf16:
        raise ConfigError(
            f"hardware.precision: this {device.type} has no bf16 instructions, where it is many times slower than "
            "float32. Set it to float32 or auto."
        )
    wants_bf16 = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda" and bf16)
    threads = config.threads or usable_cores()
    torch.set_num_threads(threads)
    if device.type == "cpu":
        share_allocator()
    return Hardware(device, torch.bfloat16 if wants_bf16 else None, threads)


def share_allocator() -> None:
    """Let all threads take memory from one arena of glibc's allocator; elsewhere this does nothing.

    Autograd computes the backward pass in a thread of its own. With an arena of its own it cannot reuse what the
    forward pass gave back: the peak was a fifth higher, and differed from run to run. The speed did not change.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_flags() -> set[str]:
    """The instruction sets that the kernel reports; empty where it does not."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return set()
    lines = (line for line in path.read_text().splitlines() if line.startswith(("flags", "Features")))
    return set(next(lines, "").partition(":")[2].split())


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices itself."""
    return bool(_BF16_FLAGS & cpu_flags())


def peak_memory_bytes(device: torch.device) -> int:
    """Highest memory so far: of the device, or resident memory of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
