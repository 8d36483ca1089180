"""Trains the same rows with tuneloop and with TRL's SFTTrainer, in turn, and compares speed, memory and loss.

    python benchmarks/training.py --model FOLDER

Run it with the Python that has tuneloop. TRL gets an environment of its own in the work folder, made once.
Each side is a fresh process, and the sides take turns (A B C A B C), so that a busy machine slows all of
them alike. The speeds leave out the first optimiser step, in which memory is first touched.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from report import Run, machine_text, render_report
from rows import Tokens, load_rows, padded_share, tokenize, write_own_rows
from sides.protocol import Result, Settings
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
TRL_PINS = HERE / "requirements-trl.txt"
SIDES = ("tuneloop", "trl", "trl-packed")
ROWS_NAME = "rows.jsonl"
LOG_TAIL_CHARS = 3000


@dataclass(frozen=True)
class Side:
    """How one side is started: `python script SETTINGS RESULT STARTED_AT *flags`."""

    python: Path
    script: str
    flags: tuple[str, ...] = ()


def parse_arguments() -> argparse.Namespace:
    """Read the command line; every size is that of the base model on a small CPU."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder with a tokenizer.json")
    parser.add_argument("--rows", type=Path, help="Alpaca rows, .json or .jsonl (default: made-up rows)")
    parser.add_argument("--steps", type=int, default=10, help="optimiser steps")
    parser.add_argument("--batch-size", type=int, default=16, help="conversations in an optimiser step")
    parser.add_argument("--micro-batch", type=int, default=4, help="conversations in TRL's forward pass")
    parser.add_argument("--rank", type=int, default=8, help="rank of the LoRA adapters")
    parser.add_argument("--cutoff-len", type=int, default=512, help="leave out rows with more tokens")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--schedule", choices=["constant", "linear"], default="constant")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs")
    parser.add_argument("--sides", default=",".join(SIDES), help="which sides run, in this order")
    parser.add_argument("--work", type=Path, default=Path("~/.cache/tuneloop/benchmarks"), help="work folder")
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    options = parser.parse_args()
    options.sides = options.sides.split(",")
    options.work = options.work.expanduser().resolve()
    if unknown := set(options.sides) - set(SIDES):
        parser.error(f"--sides: {', '.join(sorted(unknown))} is not one of {', '.join(SIDES)}")
    if options.batch_size % options.micro_batch:
        parser.error(f"--batch-size {options.batch_size} is no multiple of --micro-batch {options.micro_batch}")
    if options.steps < 2:  # noqa: PLR2004
        parser.error("--steps: at least 2, because the first one is not timed")
    if not (options.model / "tokenizer.json").is_file():
        parser.error(f"--model: {options.model} is not a folder with a tokenizer.json")
    return options


def build_trl_environment(work: Path) -> Path:
    """Install TRL into `work` unless its pins are there already; return its Python.

    torch comes from pip, which honours the index or wheel folder that offers its CPU build; uv alone would
    fetch gigabytes of CUDA. Byte code is compiled now, so that no side pays for it in its first run.
    """
    environment = work / "trl-env"
    python = environment / "bin" / "python"
    pins = TRL_PINS.read_text(encoding="utf-8")
    done = environment / "installed.txt"
    if done.exists() and done.read_text(encoding="utf-8") == pins:
        return python
    print("Installing TRL into its own environment; this happens once.", flush=True)
    torch_pin = next(pin for pin in pins.splitlines() if pin.startswith("torch=="))
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(environment)],
        [str(python), "-m", "pip", "install", "--quiet", torch_pin, "uv"],
        [str(python), "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode",
         "--python", str(python), "-r", str(TRL_PINS)],
    ):  # fmt: skip
        subprocess.run(command, check=True)
    done.write_text(pins, encoding="utf-8")
    return python


def prepare_rows(options: argparse.Namespace, folder: Path) -> str:
    """Tokenise the rows that fit until there are enough; write them and say what became of them."""
    needed = options.steps * options.batch_size
    source = options.rows
    if source is None:
        source = folder / "own-rows.jsonl"
        write_own_rows(source, num_rows=2 * needed)
    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    kept: list[Tokens] = []
    num_overlong = 0
    for row in load_rows(source):
        tokens = tokenize(tokenizer, row)
        if len(tokens.input_ids) > options.cutoff_len:
            num_overlong += 1
        else:
            kept.append(tokens)
        if len(kept) == needed:
            break
    else:
        raise SystemExit(
            f"{source.name}: {len(kept)} rows of at most {options.cutoff_len} tokens, but {options.steps} "
            f"steps of {options.batch_size} need {needed}. Lower --steps, or raise --cutoff-len."
        )
    lines = (json.dumps(asdict(tokens)) + "\n" for tokens in kept)
    (folder / ROWS_NAME).write_text("".join(lines), encoding="utf-8")
    num_tokens = sum(len(tokens.input_ids) for tokens in kept)
    num_targets = sum(tokens.num_targets for tokens in kept)
    padding = padded_share(kept, options.micro_batch)
    return (
        f"rows read {needed + num_overlong} = kept {needed} + overlong {num_overlong}; "
        f"{num_tokens:,} tokens, mean {num_tokens / needed:.0f}, targets {num_targets / num_tokens:.0%}; "
        f"batches of {options.micro_batch} in file order are {padding:.0%} padding"
    )


def run_side(name: str, side: Side, round_number: int, settings: Settings, folder: Path) -> Run:
    """Run one side as a fresh process and measure it from outside."""
    stem = folder / f"{name}-{round_number}"
    result, log = stem.with_suffix(".json"), stem.with_suffix(".log")
    settings_path = folder / "settings.json"
    settings.save(settings_path)
    environment = os.environ | {
        "OMP_NUM_THREADS": str(settings.threads),
        "MKL_NUM_THREADS": str(settings.threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "huggingface"),
    }
    command = [str(side.python), str(HERE / "sides" / side.script), str(settings_path), str(result)]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*command, repr(time.time()), *side.flags], env=environment, stdout=output, stderr=output
        )
        # wait4 tells the peak memory and processor time of exactly this child.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(encoding="utf-8")[-LOG_TAIL_CHARS:]
        raise SystemExit(f"{name} ended with exit code {process.returncode}; the end of {log}:\n{tail}")
    return Run(
        side=name,
        round=round_number,
        result=Result.load(result),
        peak_memory_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        cpu_s=usage.ru_utime + usage.ru_stime,
    )


def build_sides(names: list[str], work: Path) -> dict[str, Side]:
    """Say how each named side is started; install TRL if one of them needs it."""
    sides = {"tuneloop": Side(Path(sys.executable), "tuneloop_side.py")}
    if set(names) - set(sides):
        trl_python = build_trl_environment(work)
        sides["trl"] = Side(trl_python, "trl_side.py")
        sides["trl-packed"] = Side(trl_python, "trl_side.py", ("--packing",))
    return {name: sides[name] for name in names}


def build_settings(options: argparse.Namespace, folder: Path) -> Settings:
    """Turn the command line into what every side reads."""
    return Settings(
        model=str(options.model.resolve()),
        rows=str(folder / ROWS_NAME),
        cutoff_len=options.cutoff_len,
        batch_size=options.batch_size,
        micro_batch=options.micro_batch,
        rank=options.rank,
        learning_rate=options.learning_rate,
        schedule=options.schedule,
        threads=options.threads,
    )


def render_facts(options: argparse.Namespace, ledger: str, machine: str, runs: list[Run]) -> list[str]:
    """Say under which settings the figures were measured."""
    versions = {name: text for run in runs for name, text in run.result.versions.items()}
    lora = f"LoRA rank {options.rank} on all linear layers"
    rate = f"learning rate {options.learning_rate:g} ({options.schedule})"
    steps = f"{options.steps} steps of {options.batch_size} conversations"
    return [
        f"machine: {machine}; threads {options.threads}; rounds {options.rounds}",
        f"model {options.model.resolve().name}, float32, {lora}, AdamW, {rate}",
        f"{steps} of at most {options.cutoff_len} tokens; TRL: micro-batches of {options.micro_batch}",
        ledger,
        "versions: " + ", ".join(f"{name} {text}" for name, text in sorted(versions.items())),
    ]


def main() -> None:
    """Prepare, run the sides in turn, and print the page."""
    options = parse_arguments()
    folder = options.work / "runs" / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    sides = build_sides(options.sides, options.work)
    ledger = prepare_rows(options, folder)
    settings = build_settings(options, folder)
    machine = machine_text()
    runs: list[Run] = []
    for round_number in range(1, options.rounds + 1):
        for name, side in sides.items():
            run = run_side(name, side, round_number, settings, folder)
            print(f"round {round_number}: {name}: {run.tokens_per_s:.1f} tokens/s", flush=True)
            runs.append(run)
    facts = render_facts(options, ledger, machine, runs)
    print("\n" + render_report(facts, runs))
    if options.json:
        measured = {"facts": facts, "settings": asdict(settings), "runs": [asdict(run) for run in runs]}
        options.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
