"""How well a step uses the machine: useful operations a second, beside what the device can do at most."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch

from tuneloop.batch import Batch
from tuneloop.core.events import Event
from tuneloop.core.hooks import Hooks
from tuneloop.model.backbone import CausalModel
from tuneloop.train.config import StageConfig
from tuneloop.train.cost import CARDS
from tuneloop.train.feed import Feed
from tuneloop.train.flops import FlopShape, matrix_shapes, shape_of, step_flops
from tuneloop.train.job import token_budget

DATA_LABEL, SAVING_LABEL, VALIDATION_LABEL = "tuneloop: data", "tuneloop: saving", "tuneloop: validation"
"""Names in a trace of what a stage does beside its steps."""

_BUDGET_S = 0.35
_MOST_REPEATS = 5
_LARGEST_PRODUCT = 1.5e9
"""Operations; a longer product is cut, its speed does not change any more."""
_THIN = 64
"""Products with a shorter side are far below what the machine can do, and adapters alone have them."""
_OTHER_CARDS = {"MIG", "LAPTOP", "MAX", "PCIE", "NVL", "D", "GRID"}
"""Words in the name of a card that is slower than the one it is named after."""


@dataclass(frozen=True)
class Limit:
    """The most that a device can do."""

    device: str
    flops: float | None
    """Operations a second; None where it is not known."""
    is_measured: bool
    """By matrix products here (CPU); else the maker's figure (CUDA)."""


@dataclass
class Meter:
    """Judges the steps of one stage."""

    shape: FlopShape
    limit: Limit
    feed: Feed
    _kept_bytes: int = 0

    def measure(self, batches: Sequence[Batch], seconds: float) -> dict[str, float | None]:
        """What an event of a step says: `flops`, `target_tokens_per_s`, `utilisation` (a share of one, or None)."""
        lengths, before = [], []
        for batch in batches:
            sizes = [end - begin for begin, end in pairwise(batch.bounds)]
            lengths += sizes
            before += [sizes[parent] if parent >= 0 else 0 for parent in batch.parents] or [0] * len(sizes)
        num_targets = sum(batch.num_targets for batch in batches)
        flops = step_flops(
            self.shape,
            lengths=lengths,
            num_targets=num_targets,
            lower_tokens=self._lower_tokens(batches),
            before=before,
        ).total
        limit = self.limit.flops
        return {
            "flops": flops,
            "target_tokens_per_s": num_targets / seconds,
            "utilisation": None if limit is None else flops / seconds / limit,
        }

    def _lower_tokens(self, batches: Sequence[Batch]) -> int | None:
        """Tokens that frozen lower blocks were computed for, by what the feed's cache has grown."""
        if self.feed.cache is None or (lower_TD := batches[0].lower_TD) is None:
            return None
        grown, self._kept_bytes = self.feed.cache.used_bytes - self._kept_bytes, self.feed.cache.used_bytes
        return grown // (lower_TD.shape[1] * lower_TD.element_size())


def open_meter(model: CausalModel, config: StageConfig, feed: Feed, hooks: Hooks) -> Meter:
    """The meter of a stage; tells the limit of the device as the event `machine`."""
    limit = find_limit(model, token_budget(config, model.device))
    hooks.emit(
        "machine",
        device=limit.device,
        gflops=None if limit.flops is None else limit.flops / 1e9,
        measured=limit.is_measured,
        threads=torch.get_num_threads(),
    )
    return Meter(shape_of(model), limit, feed)


def find_limit(model: CausalModel, num_tokens: int) -> Limit:
    """What the model's device can do with its matrices: measured on a CPU, looked up for a card.

    A card that is not known, or one that computes in float32, has no limit here.
    """
    if model.device.type != "cpu":
        name = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else model.device.type
        return Limit(name, None if model.autocast_dtype is None else peak_flops(name), is_measured=False)
    dtype = model.autocast_dtype or torch.float32
    shapes = tuple(sorted(matrix_shapes(model).items()))
    return Limit("cpu", matmul_flops(shapes, num_tokens, dtype, torch.get_num_threads()), is_measured=True)


def peak_flops(name: str) -> float | None:
    """Operations a second of dense bf16 products, for a name as the driver gives it: `NVIDIA H100 80GB HBM3`."""
    words = set(re.split(r"[^A-Z0-9]+", name.upper()))
    if words & _OTHER_CARDS:
        return None
    return next((card.bf16_flops for card in CARDS if card.name in words), None)


@cache
def matmul_flops(
    shapes: tuple[tuple[tuple[int, int], int], ...], num_tokens: int, dtype: torch.dtype, threads: int
) -> float:
    """Operations a second of products of `num_tokens` rows with matrices of these shapes, each as often as it says.

    The best of a few for each shape; takes less than half a second, once a process. `threads` is a part of the key
    alone: the number that torch is set to is used.
    """
    del threads
    wide = Counter({shape: count for shape, count in shapes if min(shape) >= _THIN}) or Counter(dict(shapes))
    best: dict[tuple[int, int], float] = {}
    begun = time.perf_counter()
    for repeat in range(_MOST_REPEATS):
        for inputs, outputs in wide:
            if repeat and time.perf_counter() - begun > _BUDGET_S:
                break
            rows = max(1, min(num_tokens, int(_LARGEST_PRODUCT / (2 * inputs * _THIN))))
            columns = max(1, min(outputs, int(_LARGEST_PRODUCT / (2 * inputs * rows))))
            left, right = torch.ones(rows, inputs, dtype=dtype), torch.ones(columns, inputs, dtype=dtype)
            speed = _speed(left, right)
            best[inputs, outputs] = max(best.get((inputs, outputs), 0.0), speed)
    total = sum(count * inputs * outputs for (inputs, outputs), count in wide.items())
    return total / sum(count * inputs * outputs / best[inputs, outputs] for (inputs, outputs), count in wide.items())


def _speed(left: torch.Tensor, right: torch.Tensor) -> float:
    begun = time.perf_counter()
    left @ right.T
    return 2 * left.shape[0] * left.shape[1] * right.shape[0] / max(time.perf_counter() - begun, 1e-9)


def mean_utilisation(steps: Iterable[Event]) -> float | None:
    """Over the time that these steps took; None where it is not known of every one."""
    weighted = seconds = 0.0
    for step in steps:
        share, rate = step.get("utilisation"), step.get("tokens_per_s")
        if share is None or not rate:
            return None
        spent = step["tokens"] / rate
        weighted += share * spent
        seconds += spent
    return weighted / seconds if seconds else None
