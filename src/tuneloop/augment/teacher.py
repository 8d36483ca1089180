"""Who writes new rows: a model behind an endpoint, a model in a folder, or a program that knows the truth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tuneloop.core.hooks import Hooks
from tuneloop.data.schema import Message
from tuneloop.generate.budget import Spending
from tuneloop.generate.chat import CallFailure, Completion
from tuneloop.generate.endpoint import CallPlan


@dataclass(frozen=True, slots=True)
class Assignment:
    """One text that is wanted."""

    messages: tuple[Message, ...]
    """What a model is asked."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a program computes from; a model never sees them."""
    sample: int = 0
    """Which of several texts for the same prompt."""


class Teacher(Protocol):
    """Writes texts. Whatever it has written once, it writes again at no cost."""

    @property
    def name(self) -> str:
        """What rows and records call it."""
        ...

    @property
    def spent(self) -> Spending:
        """By all runs over the same log."""
        ...

    def plan(self, assignments: Sequence[Assignment]) -> CallPlan:
        """Calls, tokens and cost; nothing is asked and nothing is written."""
        ...

    def write(
        self, assignments: Sequence[Assignment], *, hooks: Hooks
    ) -> Iterator[tuple[int, Completion | CallFailure]]:
        """Each text, or why there is none, with the place of its assignment, as they come.

        Raises:
            StoppedError: an end was asked for; what was written is kept.
            BudgetError: the next call could pass the budget.
        """
        ...

    def close(self) -> None:
        """Sync, and let go of what is held."""
        ...
