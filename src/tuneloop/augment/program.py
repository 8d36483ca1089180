"""A teacher that is a program: it knows the truth of a verifiable task, costs nothing and never errs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tuneloop.augment.teacher import Assignment
from tuneloop.core.errors import DataError
from tuneloop.core.hooks import Hooks
from tuneloop.core.store import hash_json
from tuneloop.generate.budget import Spending
from tuneloop.generate.chat import CallFailure, Completion, Usage
from tuneloop.generate.endpoint import CallPlan

Program = Callable[[Mapping[str, Any]], str]
"""From the facts of an assignment to the text. It raises `DataError` where it cannot judge them."""


class ProgramTeacher:
    """Computes each text; equal facts give equal texts."""

    def __init__(self, name: str, program: Program) -> None:
        self.name, self._program = f"programmatic:{name}", program

    @property
    def spent(self) -> Spending:
        """Nothing."""
        return Spending()

    def plan(self, assignments: Sequence[Assignment]) -> CallPlan:
        """As many computations as assignments, for nothing."""
        return CallPlan(len(assignments), len(assignments), 0, 0, 0, 0.0, Spending())

    def write(
        self, assignments: Sequence[Assignment], *, hooks: Hooks
    ) -> Iterator[tuple[int, Completion | CallFailure]]:
        """In order."""
        for place, assignment in enumerate(assignments):
            hooks.stop.check()
            key = hash_json({"program": self.name, "facts": dict(assignment.facts)})
            try:
                text = self._program(assignment.facts)
            except DataError as error:
                yield place, CallFailure(key, "rejected", str(error), attempts=1)
                continue
            yield (
                place,
                Completion(key, text, "stop", Usage(0, 0), 0.0, self.name, latency_s=0.0, attempts=1),
            )

    def close(self) -> None:
        """Nothing is held."""
