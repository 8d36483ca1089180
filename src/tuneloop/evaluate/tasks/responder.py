"""Who answers the questions of a task: a model in memory, vLLM, or an endpoint, behind one small interface."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tuneloop.core.hooks import Hooks
from tuneloop.evaluate.tasks.questions import Question
from tuneloop.evaluate.tasks.samples import Output
from tuneloop.generate.config import GenerateConfig


@dataclass(frozen=True)
class Ask:
    """One output that is wanted."""

    question: int
    """Its place among the questions; with `sample` it decides what chance does, so that the batch does not."""
    sample: int
    asked: Question


class Responder(Protocol):
    """Answers in any order; each output is handed over as soon as it is there."""

    @property
    def description(self) -> str:
        """What a person calls it."""
        ...

    @property
    def contract_hash(self) -> str | None:
        """The prompt contract that questions are rendered through; None where a server renders them by itself."""
        ...

    def identity(self) -> dict[str, Any]:
        """Everything about it that decides what it writes: outputs are only ever mixed where this is equal."""
        ...

    def refuse(self, question: Question, config: GenerateConfig) -> str | None:
        """Why it cannot be asked this, or None."""
        ...

    def answer(
        self, asks: Sequence[Ask], config: GenerateConfig, *, seed: int, hooks: Hooks, take: Callable[[Output], None]
    ) -> None:
        """Answer each of `asks` once.

        Raises:
            StoppedError: an end was asked for; what was taken before is whole.
        """
        ...
