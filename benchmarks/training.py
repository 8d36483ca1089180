"""Trains the same rows with tuneloop and with TRL, LLaMA-Factory, ms-swift and LitGPT, and compares what it costs.

    python benchmarks/training.py --model FOLDER --peers trl,llamafactory,swift,litgpt
    python benchmarks/training.py --model FOLDER --tune full --sides tuneloop,trl,trl-packed,llamafactory,swift,litgpt
    python benchmarks/training.py --model FOLDER --trainable-blocks 15 --epochs 3 --sides tuneloop,trl,trl-packed

Run it with the Python that has tuneloop. Each peer gets an environment of its own in the work folder, made once.
Each run of a side is a fresh process, so that its peak memory and its time to the first step are its own, and the
sides take turns (A B C A B C), so that a busy machine slows all of them alike. The speeds leave out the first
optimiser step, in which memory is first touched. Each round also measures how fast torch multiplies the model's own
shapes, which is the limit that the speeds are held against. The page (report.md) and everything measured (record.json)
stay in the work folder, under `runs`. A side that fails is left out, and the page says so.
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
from typing import Any

from bars import judge_bars
from peers import FROZEN_SIDES, HERE, OURS, PEERS, SIDES, Side, prepare_sides, sides_of, warm
from report import Measured, Run, machine_text, render_report
from rows import Tokens, load_rows, padded_share, tokenize, write_own_rows
from sides.protocol import Result, Settings
from tokenizers import Tokenizer

ROWS_NAME = "rows.jsonl"
SETTINGS_NAME = "settings.json"
LOG_TAIL_CHARS = 3000
LEARNING_RATES = {"lora": 2e-4, "full": 2e-5}


def parse_arguments() -> argparse.Namespace:
    """Read the command line; every size is that of the base model on a small CPU."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder with a tokenizer.json")
    parser.add_argument("--rows", type=Path, help="Alpaca rows, .json, .jsonl or .jsonl.gz (default: made-up rows)")
    parser.add_argument("--peers", default=PEERS[0], help=f"whom to compare with, of {','.join(PEERS)}")
    parser.add_argument("--sides", help=f"exactly these sides, in this order, of {','.join(SIDES)}")
    parser.add_argument("--tune", choices=["lora", "full"], default="lora")
    parser.add_argument("--trainable-blocks", type=int, help="LoRA on the last n blocks only (tuneloop and TRL)")
    parser.add_argument("--epochs", type=int, default=1, help="how often the rows are seen")
    parser.add_argument("--steps", type=int, default=10, help="optimiser steps of an epoch")
    parser.add_argument("--batch-size", type=int, default=16, help="conversations in an optimiser step")
    parser.add_argument("--micro-batch", type=int, default=4, help="conversations in a peer's forward pass")
    parser.add_argument("--rank", type=int, default=8, help="rank of the LoRA adapters")
    parser.add_argument("--cutoff-len", type=int, default=512, help="leave out rows with more tokens")
    parser.add_argument("--learning-rate", type=float, help="default: 2e-4 for LoRA, 2e-5 for full tuning")
    parser.add_argument("--schedule", choices=["constant", "linear"], default="constant")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs")
    parser.add_argument("--work", type=Path, default=Path("~/.cache/tuneloop/benchmarks"), help="work folder")
    options = parser.parse_args()
    options.work = options.work.expanduser().resolve()
    options.peers = options.peers.split(",")
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"--peers: {', '.join(sorted(unknown))} is not one of {', '.join(PEERS)}")
    options.sides = options.sides.split(",") if options.sides else choose_sides(options)
    options.learning_rate = options.learning_rate or LEARNING_RATES[options.tune]
    check_arguments(parser, options)
    return options


def choose_sides(options: argparse.Namespace) -> list[str]:
    """Take the sides of the peers that were named, as far as they can do what was asked for."""
    return sides_of(options.peers, frozen=options.trainable_blocks is not None)


def check_arguments(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what cannot be measured."""
    if unknown := set(options.sides) - set(SIDES):
        parser.error(f"--sides: {', '.join(sorted(unknown))} is not one of {', '.join(SIDES)}")
    if options.batch_size % options.micro_batch:
        parser.error(f"--batch-size {options.batch_size} is no multiple of --micro-batch {options.micro_batch}")
    if options.steps * options.epochs < 2:  # noqa: PLR2004
        parser.error("--steps: at least 2, because the first one is not timed")
    if not (options.model / "tokenizer.json").is_file():
        parser.error(f"--model: {options.model} is not a folder with a tokenizer.json")
    if options.trainable_blocks is not None:
        if options.tune != "lora" or options.trainable_blocks < 1:
            parser.error("--trainable-blocks: at least 1, and with --tune lora only")
        if unable := set(options.sides) - set(FROZEN_SIDES):
            parser.error(f"--trainable-blocks: {', '.join(sorted(unable))} cannot leave the lower blocks alone")


def prepare_rows(options: argparse.Namespace, folder: Path) -> str:
    """Tokenise the rows that fit until there are enough; write them, and say what became of them."""
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


def side_environment(threads: int, folder: Path) -> dict[str, str]:
    """Say what every process of a side finds in its environment."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        # Threads that wait spin otherwise, and take the processor from those of other programs.
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HOME": str(folder / "huggingface"),
        "MODELSCOPE_CACHE": str(folder / "modelscope"),
    }


def run_side(name: str, side: Side, round_number: int, bench: Bench) -> Run | str:
    """Run one side as a fresh process and measure it from outside; where it fails, say how it ended."""
    stem = bench.folder / f"{name}-{round_number}"
    result, log = stem.with_suffix(".json"), stem.with_suffix(".log")
    command = [str(side.python), str(side.script), str(bench.folder / SETTINGS_NAME), str(result)]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*command, repr(time.time()), *side.flags], env=bench.environment, stdout=output, stderr=output
        )
        # wait4 tells the peak memory and processor time of exactly this child.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = log.read_text(encoding="utf-8").strip().rpartition("\n")[2]
        return f"ended with exit code {process.returncode} ({last}); see {log}"
    return Run(
        side=name,
        round=round_number,
        result=Result.load(result),
        peak_memory_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        cpu_s=usage.ru_utime + usage.ru_stime,
    )


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
        tune=options.tune,
        trainable_blocks=options.trainable_blocks,
        epochs=options.epochs,
    )


def ask_script(script: str, arguments: list[str], environment: dict[str, str], result: Path) -> dict[str, Any]:
    """Run a helper of the sides in tuneloop's environment, and read the JSON that it wrote.

    In a process of its own: what the driver held in memory would count as the peak of the sides that it starts.
    """
    command = [sys.executable, str(HERE / "sides" / script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script} ended with exit code {done.returncode}:\n{done.stderr[-LOG_TAIL_CHARS:]}")
    return json.loads(result.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Bench:
    """What every step of the benchmark needs."""

    settings: Settings
    folder: Path
    sides: dict[str, Side]

    @property
    def environment(self) -> dict[str, str]:
        """That of every process."""
        return side_environment(self.settings.threads, self.folder)

    def count_work(self) -> dict[str, Any]:
        """Count the useful operations of a token, and list the model's matrices."""
        result = self.folder / "work.json"
        return ask_script("work_side.py", [str(self.folder / SETTINGS_NAME), str(result)], self.environment, result)

    def measure_gemm(self, matrices: list[list[int]]) -> float:
        """Measure the GFLOP/s of torch's matrix product over the model's matrices, a full context of tokens high."""
        result = self.folder / "gemm.json"
        sizes = ["x".join(map(str, matrix)) for matrix in matrices]
        arguments = [str(self.settings.cutoff_len), str(self.settings.threads), str(result), *sizes]
        return ask_script("gemm_side.py", arguments, self.environment, result)["gflops_per_s"]

    def compute_references(self, rows: set[int]) -> dict[int, tuple[float, int]]:
        """Compute the losses of these rows in float64."""
        result = self.folder / "reference.json"
        arguments = [str(self.folder / SETTINGS_NAME), str(result), *map(str, sorted(rows))]
        losses = ask_script("reference_side.py", arguments, self.environment, result)
        return {int(row): (loss, targets) for row, (loss, targets) in losses.items()}

    def run_round(self, number: int, matrices: list[list[int]], measured: Measured) -> None:
        """Run each side once; one that fails is left out from then on."""
        measured.gemm_gflops[number] = self.measure_gemm(matrices)
        print(f"round {number}: GEMM {measured.gemm_gflops[number]:.1f} GFLOP/s", flush=True)
        for name in [name for name in self.sides if name not in measured.failed]:
            begun = time.monotonic()
            run = run_side(name, self.sides[name], number, self)
            if isinstance(run, str):
                measured.drop(name, run)
                print(f"round {number}: {name} {run}", flush=True)
                continue
            measured.runs.append(run)
            took_s = time.monotonic() - begun
            print(f"round {number}: {name}: {run.tokens_per_s:.1f} tokens/s, took {took_s:.0f} s", flush=True)


def render_facts(options: argparse.Namespace, ledger: str, machine: str, measured: Measured) -> list[str]:
    """Say under which settings the figures were measured."""
    how = "full tuning"
    if options.tune == "lora":
        where = f"the last {options.trainable_blocks} blocks" if options.trainable_blocks else "all blocks"
        how = f"LoRA rank {options.rank} on all linear layers of {where}"
    rate = f"learning rate {options.learning_rate:g} ({options.schedule})"
    epochs = f"{options.epochs} epochs of " if options.epochs > 1 else ""
    steps = f"{epochs}{options.steps} steps of {options.batch_size} conversations"
    limits = sorted(measured.gemm_gflops.values())
    limit = f"{limits[0]:,.0f} to {limits[-1]:,.0f}"
    facts = [
        f"machine: {machine}; threads {options.threads}; rounds {options.rounds}",
        f"model {options.model.resolve().name}, float32, {how}, AdamW, {rate}",
        f"{steps} of at most {options.cutoff_len} tokens; peers: micro-batches of {options.micro_batch}",
        ledger,
        f"useful work {measured.flops_per_token / 1e6:,.0f} MFLOP a token; GEMM limit {limit} GFLOP/s in the rounds",
    ]
    for side in measured.sides:
        versions = next(run.result.versions for run in measured.runs if run.side == side)
        facts.append(f"{side}: " + ", ".join(f"{name} {text}" for name, text in versions.items()))
    return facts


def main() -> None:
    """Prepare, run the sides in turn, print the page, and leave it beside the record in the folder of the run."""
    options = parse_arguments()
    folder = options.work / "runs" / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    sides = prepare_sides(options.sides, options.work, options.model)
    ledger = prepare_rows(options, folder)
    settings = build_settings(options, folder)
    settings.save(folder / SETTINGS_NAME)
    bench = Bench(settings, folder, sides)
    work = bench.count_work()
    measured = Measured(work["flops_per_token"], batch_size=settings.batch_size, micro_batch=settings.micro_batch)
    machine = machine_text()
    warm(sides, list(sides), bench.environment)
    for round_number in range(1, options.rounds + 1):
        bench.run_round(round_number, work["matrices"], measured)
    if not measured.runs:
        raise SystemExit(f"No side came to its end; their logs are in {folder}.")
    measured.references = bench.compute_references(
        {row for name in measured.sides for row in measured.first_rows(name)}
    )
    facts = render_facts(options, ledger, machine, measured)
    title = f"Training: {OURS} and {', '.join(name for name in measured.sides if name != OURS)}, the same rows"
    page = render_report(title, facts, measured, judge_bars(measured, settings)) + "\n"
    record = {"facts": facts, "settings": asdict(settings)} | asdict(measured)
    (folder / "report.md").write_text(page, encoding="utf-8")
    (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"\n{page}\nWritten: {folder / 'report.md'}, {folder / 'record.json'}")


if __name__ == "__main__":
    main()
