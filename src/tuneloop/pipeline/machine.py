"""What a machine can do, measured where a look is not enough."""

import importlib.util
import os
import platform
import shutil
import time
from typing import Any

import torch

from tuneloop.core.records import package_versions
from tuneloop.model.hardware import cpu_has_bf16, usable_cores
from tuneloop.model.source import cache_folder, environment

_OPTIONAL = {"modelscope": "models from ModelScope"}
_SIZE = 1024


def examine_machine() -> dict[str, Any]:
    """Facts for a person or a script; takes about a second."""
    cache = cache_folder(environment())
    models = cache / "models"
    advice = []
    if not torch.cuda.is_available():
        advice.append(
            "No CUDA device: training runs on the CPU. Models up to a few hundred million weights are practical."
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    float32 = _gemm_gflops(torch.float32)
    bf16 = _gemm_gflops(torch.bfloat16) if cpu_has_bf16() else None
    if bf16 is not None and bf16 > 1.5 * float32:
        advice.append("This CPU multiplies bf16 faster than float32: hardware.precision: bf16 may pay.")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": usable_cores(),
        "memory_gib": round(memory / 2**30, 1),
        "disk_free_gib": round(shutil.disk_usage(cache if cache.exists() else os.curdir).free / 2**30, 1),
        "cpu_float32_gflops": round(float32),
        "cpu_bf16_gflops": None if bf16 is None else round(bf16),
        "cuda": [_describe_device(index) for index in range(torch.cuda.device_count())],
        "packages": package_versions(),
        "optional": {
            name: "installed" if importlib.util.find_spec(name) else f"not installed ({purpose})"
            for name, purpose in _OPTIONAL.items()
        },
        "cache": str(cache),
        "cached_models": sorted(path.name for path in models.iterdir() if path.is_dir()) if models.is_dir() else [],
        "advice": advice,
    }


def _gemm_gflops(dtype: torch.dtype) -> float:
    """Speed of a matrix product, 2 n^3 operations, best of a few: the limit that training is held against."""
    left, right = torch.randn(_SIZE, _SIZE).to(dtype), torch.randn(_SIZE, _SIZE).to(dtype)
    best = float("inf")
    for _ in range(4):
        begun = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - begun)
    return 2 * _SIZE**3 / best / 1e9


def _describe_device(index: int) -> str:
    properties = torch.cuda.get_device_properties(index)
    bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {bf16}"
