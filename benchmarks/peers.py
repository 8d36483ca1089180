"""The programs that tuneloop is compared with: their environments, and how each side of the benchmark is started."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = "tuneloop"
PEERS = ("trl", "llamafactory", "swift", "litgpt")
IMPORTS = {
    OURS: "torch, transformers, peft, tuneloop.train.loop",
    "trl": "torch, transformers, peft, trl",
    "llamafactory": "torch, transformers, peft, trl",
    "swift": "torch, transformers, peft, swift.pipelines.train.sft",
    "litgpt": "torch, lightning, litgpt.finetune.lora",
}
"""What is imported once before the first round, so that no side's start is the first to read it from the disk."""
MIN_FREE_BYTES = 4 * 2**30
"""An environment takes up to 2 GiB, and as much again while it is unpacked."""


@dataclass(frozen=True)
class Recipe:
    """What a side runs: `script SETTINGS RESULT STARTED_AT *flags`, in the environment of `peer`."""

    peer: str
    script: str
    flags: tuple[str, ...] = ()


SIDES = {
    OURS: Recipe(OURS, "tuneloop_side.py"),
    "trl": Recipe("trl", "trl_side.py"),
    "trl-packed": Recipe("trl", "trl_side.py", ("--packing",)),
    "trl-grouped": Recipe("trl", "trl_side.py", ("--grouped",)),
    "trl-single": Recipe("trl", "trl_side.py", ("--single",)),
    "llamafactory": Recipe("llamafactory", "llamafactory_side.py"),
    "llamafactory-packed": Recipe("llamafactory", "llamafactory_side.py", ("--neat_packing",)),
    "llamafactory-mixed": Recipe("llamafactory", "llamafactory_side.py", ("--packing",)),
    "llamafactory-grouped": Recipe("llamafactory", "llamafactory_side.py", ("--grouped",)),
    "swift": Recipe("swift", "swift_side.py"),
    "swift-grouped": Recipe("swift", "swift_side.py", ("--grouped",)),
    "litgpt": Recipe("litgpt", "litgpt_side.py"),
    "litgpt-grouped": Recipe("litgpt", "litgpt_side.py", ("--grouped",)),
}
"""`-grouped`: the rows of each optimiser step sorted by length, so that a micro-batch pads little. `-single`: one row
a micro-batch, which pads nothing. `-packed`: the peer's own packing. `-mixed`: LLaMA-Factory's `packing` without
`neat_packing`, in which a conversation sees those before it. ms-swift refuses to pack without flash attention, which no
CPU has; LitGPT has no packing."""

AS_THEY_COME = ("trl", "trl-packed", "llamafactory", "swift", "litgpt")
"""What a user of each peer gets by its own options."""
PACKED_SIDES = ("trl-packed", "llamafactory-packed", "llamafactory-mixed")
"""Sides that choose themselves which rows make an optimiser step."""
SAME_ROWS = tuple(name for name in SIDES if name not in (OURS, *PACKED_SIDES))
"""Sides whose every optimiser step is over the rows of ours."""
SAME_MICRO_BATCH = tuple(name for name in SAME_ROWS if name != "trl-single")
"""Sides whose memory is that of the micro-batch that was asked for."""
DEFAULT_SIDES = {
    "trl": ("trl", "trl-packed", "trl-grouped", "trl-single"),
    "llamafactory": ("llamafactory",),
    "swift": ("swift",),
    "litgpt": ("litgpt", "litgpt-grouped"),
}
FROZEN_SIDES = (OURS, "trl", "trl-packed", "trl-grouped", "trl-single")
"""Sides that can train the adapters of the last blocks alone."""


@dataclass(frozen=True)
class Side:
    """A side that is ready to start."""

    python: Path
    script: Path
    flags: tuple[str, ...] = ()


def sides_of(peers: list[str], *, frozen: bool) -> list[str]:
    """Name tuneloop and the sides of these peers; with `frozen`, those that can leave the lower blocks alone."""
    names = [OURS, *(name for peer in peers for name in DEFAULT_SIDES[peer])]
    return [name for name in names if name in FROZEN_SIDES or not frozen]


def prepare_sides(names: list[str], work: Path, model: Path) -> dict[str, Side]:
    """Make the environments that these sides need, and say how each side is started."""
    pythons = {peer: build_environment(peer, work) for peer in dict.fromkeys(SIDES[name].peer for name in names)}
    sides = {}
    for name in names:
        recipe = SIDES[name]
        flags = recipe.flags
        if recipe.peer == "litgpt":
            flags += (f"--checkpoint={build_litgpt_checkpoint(pythons['litgpt'], model, work)}",)
        sides[name] = Side(pythons[recipe.peer], HERE / "sides" / recipe.script, flags)
    return sides


def build_environment(peer: str, work: Path) -> Path:
    """Install a peer into `work` unless its pins are there already; return its Python.

    torch comes from pip, which honours the index or wheel folder that offers its CPU build; uv alone would
    fetch gigabytes of CUDA. Byte code is compiled now, so that no side pays for it in its first run.
    """
    if peer == OURS:
        return Path(sys.executable)
    environment = work / f"{peer}-env"
    python = environment / "bin" / "python"
    requirements, overrides = HERE / f"requirements-{peer}.txt", HERE / f"overrides-{peer}.txt"
    pins = requirements.read_text(encoding="utf-8")
    wanted = pins + (overrides.read_text(encoding="utf-8") if overrides.exists() else "")
    done = environment / "installed.txt"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    work.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(work).free) < MIN_FREE_BYTES:
        raise SystemExit(
            f"{work}: {free / 2**30:.1f} GiB free, but an environment for {peer} needs {MIN_FREE_BYTES / 2**30:.0f}. "
            "Free some, or choose another folder with --work."
        )
    print(f"Installing {peer} into its own environment; this happens once.", flush=True)
    torch_pin = next(pin for pin in pins.splitlines() if pin.startswith("torch=="))
    extra = ["--override", str(overrides)] if overrides.exists() else []
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(environment)],
        [str(python), "-m", "pip", "install", "--quiet", torch_pin, "uv"],
        [str(python), "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode",
         "--python", str(python), "-r", str(requirements), *extra],
    ):  # fmt: skip
        subprocess.run(command, check=True)
    done.write_text(wanted, encoding="utf-8")
    return python


def warm(sides: dict[str, Side], names: list[str], environment: dict[str, str]) -> None:
    """Import what the sides import once; what fails here will fail where it is measured."""
    for peer in dict.fromkeys(SIDES[name].peer for name in names):
        python = next(sides[name].python for name in names if SIDES[name].peer == peer)
        command = [str(python), "-c", f"import {IMPORTS[peer]}"]
        subprocess.run(command, env=environment, capture_output=True, check=False)


def build_litgpt_checkpoint(python: Path, model: Path, work: Path) -> Path:
    """Convert the model into LitGPT's own format, once for each state of its files."""
    files = [*sorted(model.glob("*.safetensors")), model / "config.json", model / "tokenizer.json"]
    state = "\n".join(f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
    folder = work / "litgpt-checkpoints" / hashlib.sha256(state.encode()).hexdigest()[:16]
    if not (folder / "done").exists():
        print("Converting the model into LitGPT's format; this happens once.", flush=True)
        script = HERE / "sides" / "litgpt_checkpoint.py"
        subprocess.run([str(python), str(script), str(model), str(folder)], check=True)
        (folder / "done").touch()
    return folder
