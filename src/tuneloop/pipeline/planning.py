"""What a recipe would need, for every way of tuning side by side, and the smallest change that makes it fit."""

import math
import os
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tuneloop.core.errors import ConfigError, OutOfMemoryError, TuneloopError
from tuneloop.data.stream import StreamedRows
from tuneloop.model.hardware import Hardware
from tuneloop.model.load import load_skeleton
from tuneloop.pipeline.probe import run_probe
from tuneloop.pipeline.session import Session
from tuneloop.plan import Plan
from tuneloop.train.cost import CPU_SHARE, GPU_SHARE, find_card, measured_flops
from tuneloop.train.job import steps_of_stage, token_budget
from tuneloop.train.memory import MemoryEstimate, Setting, estimate_step, longest_micro_batch
from tuneloop.train.simulate import StepCost, split_evenly
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import ADAPTER_KINDS
from tuneloop.tune.freeze import blocks_of

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_LOWEST_BUDGET = 32
_LOWEST_RANK = 4
_LOWEST_CUTOFF = 128
_ADVISE_FROM = 1.3
_WORTH_A_LOOK = 0.2
_SAID = ("not enough memory", "out of memory", "can't allocate memory")

Changes = dict[str, Any]
"""Dotted path of the recipe -> new value."""


@dataclass(frozen=True)
class Target:
    """The device that is planned for."""

    name: str
    kind: str
    """cpu or cuda."""
    memory_bytes: int
    flops: float
    """That training is expected to reach, a second."""
    basis: str
    """Where that number comes from."""
    autocast_dtype: torch.dtype | None


@dataclass(frozen=True)
class Estimate:
    """What one recipe needs on a target."""

    memory: MemoryEstimate
    trainable: int
    total: int
    tune: str
    micro_batch_tokens: int
    flops: float
    """Of the whole training, validation included."""
    time_s: float


@dataclass(frozen=True)
class Way:
    """One line of the table."""

    name: str
    changes: Changes
    estimate: Estimate | None
    fits: bool
    problem: str | None = None
    """Why there is no estimate."""


@dataclass(frozen=True)
class Probe:
    """One real step, on this machine."""

    peak_bytes: int
    step_s: float
    tokens: int
    """Of the step that was timed."""
    time_s: float
    """Of the whole training at that speed."""


@dataclass(frozen=True)
class Planning:
    """The answer of `tuneloop plan`."""

    target: Target
    ways: tuple[Way, ...]
    patch: Changes
    """The smallest change that makes the recipe fit; empty where it fits, or where nothing helps."""
    patched: Estimate | None
    """The recipe with the patch; None where none is needed or none was found."""
    probe: Probe | None = None

    def as_json(self) -> dict[str, Any]:
        """Stable names for scripts."""
        precision = "float32" if self.target.autocast_dtype is None else "bf16"
        target = {key: value for key, value in asdict(self.target).items() if key != "autocast_dtype"}
        target |= {"precision": precision}
        return {
            "target": target,
            "ways": [
                {"name": way.name, "changes": way.changes, "fits": way.fits, "problem": way.problem}
                | (_estimate_json(way.estimate) if way.estimate else {})
                for way in self.ways
            ],
            "fits": self.ways[0].fits,
            "patch": self.patch,
            "set": set_lines(self.patch),
            "patched": _estimate_json(self.patched) if self.patched else None,
            "probe": asdict(self.probe) if self.probe else None,
        }


def _estimate_json(estimate: Estimate) -> dict[str, Any]:
    return asdict(estimate) | {"memory": asdict(estimate.memory) | {"total": estimate.memory.total}}


def parse_memory(text: str) -> int:
    """Bytes of `24GiB`, `24GB`, `24000MB`, `0.5 TiB`; a letter alone is of 1024: `24G`.

    Raises:
        ConfigError: it is none of these.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)(B?)\s*", text.upper())
    if not match or float(match[1]) <= 0:
        raise ConfigError(f"--memory {text}: write it as 24GiB, 24GB or 24000MB.")
    number, letter, binary, unit = match.groups()
    # nvidia-smi and people write 24G for 24 GiB.
    is_binary = bool(letter) and (bool(binary) or not unit)
    return int(float(number) * _UNITS[letter + ("I" if is_binary else "")])


def choose_target(device: str | None, memory: str | None, hardware: Hardware) -> Target:
    """The device of a name; None: the one that the recipe would run on.

    Raises:
        ConfigError: neither cpu, cuda nor the name of a known card, or `memory` cannot be read.
    """
    name = device or hardware.device.type
    limit = parse_memory(memory) if memory else None
    if name in ("cpu", "cuda"):
        is_here = name == "cpu" or torch.cuda.is_available()
        if not is_here:
            raise ConfigError("--device cuda: there is none here. Name a card instead, H100 for example.")
        place = torch.device(name)
        dtype = hardware.autocast_dtype if hardware.device.type == name else None
        flops = measured_flops(place, dtype or torch.float32)
        share = CPU_SHARE if name == "cpu" else GPU_SHARE
        basis = f"{share:.0%} (assumed) of {flops / 1e9:,.0f} GFLOP/s, this machine's own matrix products, measured"
        return Target(name, name, limit or available_bytes(place), share * flops, basis, dtype)
    card = find_card(name)
    basis = f"{GPU_SHARE:.0%} (assumed) of {card.bf16_flops / 1e12:,.0f} TFLOP/s, dense bf16: {card.source}"
    return Target(card.name, "cuda", limit or card.memory_mib << 20, GPU_SHARE * card.bf16_flops, basis, torch.bfloat16)


def available_bytes(device: torch.device) -> int:
    """What this process can have, with what it holds already: of the device, or of the machine's memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    meminfo, statm = Path("/proc/meminfo"), Path("/proc/self/statm")
    if not meminfo.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
    free = int(found[1]) * 1024 if found else 0
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip().isdecimal():
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free + int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Planner:
    """Estimates recipes that differ from a session's in how they train, each once."""

    session: Session
    target: Target
    own: Plan
    _known: dict[str, Estimate] = field(default_factory=dict)

    def estimate(self, plan: Plan) -> Estimate:
        """The worst of a recipe's stages, and the time of all.

        Raises:
            ConfigError: the way of tuning does not fit the model.
        """
        key = plan.hash
        if key not in self._known:
            self._known[key] = self._estimate(plan)
        return self._known[key]

    def ways(self) -> tuple[Way, ...]:
        """The recipe as it is, then each way of tuning with its usual sizes."""
        own = self.own
        half = max(1, len(blocks_of(load_skeleton(self.session.base))) // 2)
        lora = own.tune.model_dump(mode="json") if own.tune.kind == "lora" else {"kind": "lora"}
        variants: dict[str, Changes] = {
            "the recipe": {},
            "full": {"tune": {"kind": "full"}, "model.quantization": None},
            f"freeze, upper {half} blocks": {
                "tune": {"kind": "freeze", "trainable_blocks": half},
                "model.quantization": None,
            },
            "lora": {"tune": lora, "model.quantization": None},
            "qlora nf4": {"tune": lora, "model.quantization": "nf4"},
            "adapter": {"tune": {"kind": "adapter"}, "model.quantization": None},
        }
        return tuple(self._way(name, changes) for name, changes in variants.items())

    def patch(self, limit: int) -> tuple[Changes, Estimate | None]:
        """The smallest change after which the recipe needs at most `limit` bytes, and what it then needs.

        Changes are tried from the one that does least harm to the one that does most, each on top of those before;
        then every one that turns out not to be needed is taken back.
        """
        plan = self.own
        if self.estimate(plan).memory.total <= limit:
            return {}, None
        taken: list[Changes] = []
        for changes in self._candidates(plan):
            taken.append(changes)
            if self._fits(plan, taken, limit):
                break
        else:
            return {}, None
        for changes in list(reversed(taken[:-1])):
            fewer = [other for other in taken if other is not changes]
            if self._fits(plan, fewer, limit):
                taken = fewer
        merged = _merge(taken)
        return merged, self.estimate(plan.with_changes(merged))

    def _fits(self, plan: Plan, taken: list[Changes], limit: int) -> bool:
        try:
            changed = plan.with_changes(_merge(taken))
            return self.estimate(changed).memory.total <= limit
        except (TuneloopError, ValueError, NotImplementedError):
            return False

    def _candidates(self, plan: Plan) -> Iterator[Changes]:
        """Changes, from harmless to harmful. The first three leave the result as it is."""
        stages = range(len(plan.stages))
        lengths = lengths_of(self.session, plan)
        longest = int(lengths.max())
        device = torch.device(self.target.kind)
        budget = max(
            longest_micro_batch(lengths, budget=token_budget(stage, device), batch_size=stage.batch_size)
            for stage in plan.stages
        )
        while budget > max(longest, _LOWEST_BUDGET):
            budget = max(budget // 2, longest, _LOWEST_BUDGET)
            yield {f"stages.{index}.micro_batch_tokens": budget for index in stages}
        if not any(stage.gradient_checkpointing for stage in plan.stages):
            yield {f"stages.{index}.gradient_checkpointing": "selective" for index in stages}
        if not all(stage.gradient_checkpointing is True for stage in plan.stages):
            yield {f"stages.{index}.gradient_checkpointing": True for index in stages}
        if any(stage.optimizer in ("adamw", "paged_adamw") for stage in plan.stages):
            yield {f"stages.{index}.optimizer": "adamw_8bit" for index in stages}
        kind = plan.tune.kind
        if kind not in ADAPTER_KINDS:
            yield {"tune": {"kind": "lora"}}
        if plan.model.quantization is None:
            yield {"model.quantization": "nf4"}
        rank = getattr(plan.tune, "rank", 16) if kind in ("lora", "full", "freeze") else 0
        while rank > _LOWEST_RANK:
            rank = max(rank // 2, _LOWEST_RANK)
            yield {"tune.rank": rank}
        cutoff = min(plan.data.cutoff_len, longest)
        while cutoff > _LOWEST_CUTOFF:
            cutoff = max(cutoff // 2, _LOWEST_CUTOFF)
            shorter = {f"stages.{index}.micro_batch_tokens": cutoff for index in stages}
            yield {"data.cutoff_len": cutoff} | shorter

    def _way(self, name: str, changes: Changes) -> Way:
        try:
            estimate = self.estimate(self.own.with_changes(changes))
        except NotImplementedError:
            return Way(name, changes, None, fits=False, problem="not available in this version")
        except (TuneloopError, ValueError) as error:
            return Way(name, changes, None, fits=False, problem=str(error).splitlines()[-1].strip())
        return Way(name, changes, estimate, fits=estimate.memory.total <= self.target.memory_bytes)

    def _estimate(self, plan: Plan) -> Estimate:
        session, target = self.session, self.target
        lengths = np.minimum(lengths_of(session, plan), plan.data.cutoff_len)
        share = _target_share(session)
        setting = Setting(target.kind, target.autocast_dtype, plan.model)
        tuned = apply_tune(load_skeleton(session.base), plan.tune, seed=plan.seed)
        worst: tuple[MemoryEstimate, int] | None = None
        flops = 0.0
        for stage in plan.stages:
            model = load_skeleton(session.base)
            moved = apply_tune(model, plan.tune, seed=plan.seed)
            budget = token_budget(stage, torch.device(target.kind))
            tokens = longest_micro_batch(lengths, budget=budget, batch_size=stage.batch_size)
            micro = split_evenly(tokens, int(lengths.max()), num_targets=math.ceil(share * tokens))
            accumulates = stage.batch_size * float(lengths.mean()) > budget
            memory, cost = estimate_step(model, moved, stage, setting, micro, accumulates=accumulates)
            flops += self._run_flops(plan, stage, cost, tokens, float(lengths.mean()))
            if worst is None or memory.total > worst[0].total:
                worst = memory, tokens
        assert worst is not None, "a recipe has a stage"
        return Estimate(
            worst[0], tuned.num_trainable, tuned.total, tuned.description, worst[1], flops, flops / target.flops
        )

    def _run_flops(self, plan: Plan, stage: Any, cost: StepCost, tokens: int, mean_length: float) -> float:
        data = self.session.data
        steps = steps_of_stage(stage, data.epochs)
        learned = steps * stage.batch_size * mean_length
        per_epoch = data.epochs.steps_per_epoch(stage.batch_size) or steps
        every = stage.eval_steps or max(1, math.ceil(per_epoch / 2))
        validated = math.ceil(steps / every) * float(np.minimum(data.eval.lengths, plan.data.cutoff_len).sum())
        return (learned * cost.flops + validated * cost.forward_flops) / tokens


def plan_run(session: Session, *, device: str | None, memory: str | None, probe: bool) -> Planning:
    """Estimate the recipe and its alternatives; with `probe` also do one step of it.

    Raises:
        ConfigError: the target is not known, or a probe is asked for on a device that is not here.
    """
    hardware = session.hardware
    target = choose_target(device, memory, hardware)
    if probe and target.name != hardware.device.type:
        raise ConfigError(f"--probe runs a step on this machine's {hardware.device.type}: leave --device out.")
    planner = Planner(session, target, session.plan)
    ways = planner.ways()
    measured = probe_step(session, ways[0].estimate) if probe and ways[0].estimate else None
    limit = target.memory_bytes
    own = ways[0].estimate
    if measured and own:
        fits = measured.peak_bytes <= limit
        ways = (replace(ways[0], fits=fits), *ways[1:])
        # What the estimate of the recipe is wrong by, those of its patches are wrong by too.
        limit = sys.maxsize if fits else int(limit * own.memory.total / measured.peak_bytes)
    patch, patched = planner.patch(limit) if own else ({}, None)
    return Planning(target, ways, patch, patched, measured)


def probe_step(session: Session, estimate: Estimate) -> Probe:
    """Load the model and do two steps of two of the longest micro-batches; the second one is timed."""
    measured = run_probe(session, estimate.micro_batch_tokens)
    rows = sum(steps_of_stage(stage, session.data.epochs) * stage.batch_size for stage in session.plan.stages)
    tokens = rows * float(lengths_of(session, session.plan).mean())
    return Probe(measured.peak_bytes, measured.step_s, measured.tokens, measured.step_s / measured.tokens * tokens)


def lengths_of(session: Session, plan: Plan) -> np.ndarray:
    """Tokens of each training row; of a stream the worst is assumed."""
    rows = session.data.train
    if isinstance(rows, StreamedRows):
        return np.full(max(stage.batch_size for stage in plan.stages), plan.data.cutoff_len)
    return rows.lengths


def _target_share(session: Session) -> float:
    rows = session.data.train
    return 1.0 if isinstance(rows, StreamedRows) else float(rows.targets.sum() / max(1, rows.lengths.sum()))


def _merge(taken: list[Changes]) -> Changes:
    """Later changes of a field replace earlier ones; a rank goes into the way of tuning that was put before it."""
    merged: Changes = {}
    for changes in taken:
        for path, value in changes.items():
            if path == "tune.rank" and "tune" in merged:
                merged["tune"] = merged["tune"] | {"rank": value}
            else:
                merged[path] = value
    return merged


def set_lines(changes: Changes) -> list[str]:
    """The changes as options of the command line."""
    lines = []
    for path, value in changes.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{key}: {item}" for key, item in value.items())
            lines.append(f"--set '{path}={{{inner}}}'")
        else:
            text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            lines.append(f"--set {path}={text}")
    return lines


def out_of_memory(session: Session, plan: Plan, error: BaseException) -> OutOfMemoryError:
    """What a user is told when memory ran out: what was needed, and the change that would fit."""
    # The frames of the error still hold the model, and the estimate needs a little room.
    traceback.clear_frames(error.__traceback__)
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    try:
        target = this_device(session.hardware)
        planner = Planner(session, target, plan)
        memory = planner.estimate(plan).memory
        needed = memory.total
        # It did not fit, whatever the estimate says: what is suggested has to need clearly less.
        patch, patched = planner.patch(min(target.memory_bytes, int(needed - 0.15 * (needed - memory.rest))))
    except (TuneloopError, ValueError, NotImplementedError, RuntimeError, MemoryError):
        return OutOfMemoryError(f"Memory ran out ({first}). Try --set stages.0.gradient_checkpointing=true.")
    text = (
        f"Memory ran out. The recipe needs about {needed / 2**30:.1f} GiB, of {target.memory_bytes / 2**30:.1f} here. "
    )
    if patched is None:
        return OutOfMemoryError(text + f"No change of the recipe was found that fits ({first}). Try a smaller model.")
    lines = " ".join(set_lines(patch))
    return OutOfMemoryError(f"{text}With this it needs about {patched.memory.total / 2**30:.1f} GiB:\n  {lines}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and (any(text in str(error) for text in _SAID))
    )


def memory_advice(session: Session, plan: Plan) -> str | None:
    """A sentence where the recipe needs much more than there is; None elsewhere.

    The estimate takes a second, so it is made only where the weights alone are a good part of what is free.
    """
    target = this_device(session.hardware)
    on_disk = sum(path.stat().st_size for path in session.base.glob("*.safetensors"))
    if on_disk < _WORTH_A_LOOK * target.memory_bytes:
        return None
    try:
        needed = Planner(session, target, plan).estimate(plan).memory.total
    except (TuneloopError, ValueError, NotImplementedError):
        return None
    if needed <= _ADVISE_FROM * target.memory_bytes:
        return None
    return (
        f"about {needed / 2**30:.1f} GiB are needed and {target.memory_bytes / 2**30:.1f} are free: memory will "
        "probably run out. `tuneloop plan` says what would fit."
    )


def this_device(hardware: Hardware) -> Target:
    """This device, without measuring its speed."""
    kind = hardware.device.type
    return Target(kind, kind, available_bytes(hardware.device), 1.0, "not measured", hardware.autocast_dtype)
