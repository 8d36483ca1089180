"""What tests of tasks share: a task, rows, and a responder that answers by a rule and can be cut off."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneloop.core.hooks import Hooks
from tuneloop.evaluate.tasks.config import TaskConfig
from tuneloop.evaluate.tasks.questions import Question
from tuneloop.evaluate.tasks.responder import Ask
from tuneloop.evaluate.tasks.samples import Output
from tuneloop.generate.config import GenerateConfig

SUMS: dict[str, Any] = {
    "name": "sums",
    "version": 1,
    "description": "sums of two numbers",
    "prompt": "{{ a }} + {{ b }} = ?",
    "reference": "a + b",
    "scores": [{"metric": "gsm8k"}, {"name": "marked", "metric": "exact_match", "filters": ["after:####", "strip"]}],
}


def sums(**changes: Any) -> TaskConfig:
    """The task of sums, with some fields changed."""
    return TaskConfig.model_validate(SUMS | changes)


def write_rows(path: Path, rows: Sequence[object]) -> Path:
    """A file of rows, one a line; a text is written as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def sum_rows(path: Path, number: int = 8) -> Path:
    """Rows of the task of sums."""
    return write_rows(path, [{"a": index, "b": 2 * index} for index in range(number)])


class CutOffError(Exception):
    """What a kill looks like from inside."""


@dataclass
class RuleResponder:
    """Adds the two numbers of a question; from the `wrong_from`th question on it is off by one."""

    wrong_from: int = 10**9
    name: str = "rule"
    cut_off_after: int | None = None
    too_long: str = ""
    asked: list[tuple[int, int]] = field(default_factory=list)
    contract_hash: str | None = None

    @property
    def description(self) -> str:
        return self.name

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def refuse(self, question: Question, config: GenerateConfig) -> str | None:
        del config
        return "too long" if self.too_long and self.too_long in question.text else None

    def answer(
        self, asks: Sequence[Ask], config: GenerateConfig, *, seed: int, hooks: Hooks, take: Callable[[Output], None]
    ) -> None:
        del config, seed, hooks
        for number, ask in enumerate(reversed(asks)):
            if number == self.cut_off_after:
                raise CutOffError
            self.asked.append((ask.question, ask.sample))
            first, _, rest = ask.asked.text.partition(" + ")
            total = int(first) + int(rest.split(" ")[0]) + (ask.question >= self.wrong_from) + ask.sample
            text = f"It is {total}." if ask.question % 2 else f"#### {total}"
            take(
                Output(
                    question=ask.question,
                    sample=ask.sample,
                    text=text,
                    prompt_tokens=5,
                    output_tokens=3,
                    finished=ask.question != 3,
                )
            )
