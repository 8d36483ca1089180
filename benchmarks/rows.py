"""Writes, reads and tokenises the rows of a benchmark, so that every side trains the same ids and targets."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sides.protocol import IGNORED_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tokenizers import Tokenizer

_TOPICS = (
    "the bicycle chain", "the kitchen knife", "the public library", "the river bridge", "the school garden",
    "the night train", "the paper map", "the bread oven", "the water pump", "the village market",
    "the wooden boat", "the weather station", "the sewing machine", "the film camera", "the winter coat",
    "the choir", "the chess club", "the solar panel", "the apple orchard", "the rain barrel",
    "the repair shop", "the stone wall", "the harbour crane", "the violin", "the hiking trail",
)  # fmt: skip
_TASKS = (
    "Explain to a beginner how to look after {topic}.",
    "List the main points to check before using {topic}.",
    "Write a short text about {topic} for a local newspaper.",
    "What are the advantages and the drawbacks of {topic}?",
    "Describe a day in the life of somebody who works with {topic}.",
    "Give advice to a friend who wants to know more about {topic}.",
)
_TASKS_WITH_INPUT = (
    "Summarise the following notes about {topic} in clear words.",
    "Rewrite the text below about {topic} in a friendly tone.",
    "Continue the following report on {topic}.",
)
_SENTENCES = (
    "Start with {part} and take your time, because {reason}.",
    "Most people forget {part}, although {reason}.",
    "In {season} it helps to look at {topic} twice a week.",
    "{Person} keeps a small notebook and writes down what changes from day to day.",
    "If {part} makes an unusual sound, stop and ask {person} before you go on.",
    "A good rule is to spend {number} minutes on {part} and the rest on everything else.",
    "The cost is about {number} coins a month, which is less than {person} expected.",
    "Nothing about {topic} is difficult once you have seen {part} from close by.",
    "Around {number} visitors came last {season} to see {topic}.",
    "Keep it dry, keep it clean, and never leave {part} in the open overnight.",
    "{Person} learned this from a neighbour, who had worked with {topic} for {number} years.",
    "On the other hand, {part} needs more attention than it seems, since {reason}.",
)
_PARTS = (
    "the oldest piece", "the handle", "the lower edge", "the small screw", "the cover", "the front side",
    "the label", "the joint in the middle", "the rope",
)  # fmt: skip
_REASONS = (
    "the material reacts to heat", "a small mistake is hard to see later", "it saves work in the end",
    "others depend on it", "the wear is not even", "dust gathers there first",
)  # fmt: skip
_PERSONS = ("the carpenter", "my aunt", "the teacher", "an old sailor", "the new apprentice", "the caretaker")
_SEASONS = ("spring", "summer", "autumn", "winter")
_SHARE_WITH_INPUT = 0.4


@dataclass(frozen=True)
class Tokens:
    """One conversation as ids, and as labels that are `IGNORED_LABEL` wherever nothing is learned."""

    input_ids: list[int]
    labels: list[int]

    @property
    def num_targets(self) -> int:
        """How many ids are learned: the answer and the end of its turn."""
        return sum(label != IGNORED_LABEL for label in self.labels)


def write_own_rows(path: Path, num_rows: int, seed: int = 0) -> None:
    """Write `num_rows` Alpaca-like rows of made-up text; the same `num_rows` and `seed` give the same bytes.

    Lengths follow a log-normal law, as in real instruction data: about 200 tokens a row on average,
    three quarters of them in the answer, and batches of four that are padded by about 40 %.
    """
    chance = random.Random(seed)  # noqa: S311  text, not secrets
    with path.open("w", encoding="utf-8") as file:
        for _ in range(num_rows):
            file.write(json.dumps(_own_row(chance)) + "\n")


def _own_row(chance: random.Random) -> dict[str, str]:
    topic = chance.choice(_TOPICS)
    has_input = chance.random() < _SHARE_WITH_INPUT
    task = chance.choice(_TASKS_WITH_INPUT if has_input else _TASKS)
    return {
        "instruction": task.format(topic=topic),
        "input": _own_text(chance, topic, _own_length(chance, median=3.0)) if has_input else "",
        "output": _own_text(chance, topic, _own_length(chance, median=7.0)),
    }


def _own_length(chance: random.Random, median: float) -> int:
    return max(1, round(median * chance.lognormvariate(0.0, 0.75)))


def _own_text(chance: random.Random, topic: str, num_sentences: int) -> str:
    return " ".join(_own_sentence(chance, topic) for _ in range(num_sentences))


def _own_sentence(chance: random.Random, topic: str) -> str:
    person = chance.choice(_PERSONS)
    return chance.choice(_SENTENCES).format(
        topic=topic,
        part=chance.choice(_PARTS),
        reason=chance.choice(_REASONS),
        season=chance.choice(_SEASONS),
        number=chance.randint(2, 90),
        person=person,
        Person=person[0].upper() + person[1:],
    )


def load_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of an Alpaca file: a JSON array, or one JSON object a line; `.gz` at the end is unpacked."""
    unpack = gzip.open if path.suffix == ".gz" else open
    with unpack(path, "rt", encoding="utf-8") as file:
        if path.name.removesuffix(".gz").endswith(".jsonl"):
            yield from (json.loads(line) for line in file if line.strip())
        else:
            yield from json.load(file)


def tokenize(tokenizer: Tokenizer, row: dict[str, Any]) -> Tokens:
    """Render `row` as ChatML without a system turn; only the answer and its `<|im_end|>` are learned."""
    question = row["instruction"] + ("\n" + row["input"] if row.get("input") else "")
    prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    prompt_ids, answer_ids = (
        tokenizer.encode(text, add_special_tokens=False).ids for text in (prompt, f"{row['output']}<|im_end|>")
    )
    return Tokens(prompt_ids + answer_ids, [IGNORED_LABEL] * len(prompt_ids) + answer_ids)


def padded_share(conversations: list[Tokens], micro_batch: int) -> float:
    """The share of padding when each `micro_batch` conversations in file order are padded to the longest."""
    lengths = [len(tokens.input_ids) for tokens in conversations]
    batches = [lengths[i : i + micro_batch] for i in range(0, len(lengths), micro_batch)]
    return 1 - sum(lengths) / sum(len(batch) * max(batch) for batch in batches)
