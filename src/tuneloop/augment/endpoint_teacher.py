"""A teacher behind an OpenAI-compatible endpoint: every call is in the endpoint's log, and is paid once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from tuneloop.augment.teacher import Assignment
from tuneloop.core.hooks import Hooks
from tuneloop.generate.budget import Spending
from tuneloop.generate.chat import CallFailure, ChatRequest, Completion
from tuneloop.generate.endpoint import CallPlan, Endpoint, plan_calls
from tuneloop.generate.endpoint_config import EndpointConfig


class EndpointTeacher:
    """The endpoint, with its pace, retries, prices and budget."""

    def __init__(self, endpoint: Endpoint, log: Path) -> None:
        self._endpoint, self._log = endpoint, log

    @classmethod
    def open(cls, config: EndpointConfig, log: Path, environ: Mapping[str, str], *, seed: int = 0) -> Self:
        """With the key from where the config says.

        Raises:
            ConfigError: there is no key.
            LockedError: another process uses the log.
        """
        return cls(Endpoint.open(config, log, environ, seed=seed), log)

    @property
    def name(self) -> str:
        """The model's name at its endpoint."""
        return self._endpoint.config.model

    @property
    def spent(self) -> Spending:
        """By all runs over the log."""
        return self._endpoint.spent

    def plan(self, assignments: Sequence[Assignment]) -> CallPlan:
        """From the log and the prices; output tokens and cost are the most that they can be."""
        return plan_calls(self._endpoint.config, _requests(assignments), self._log)

    def write(
        self, assignments: Sequence[Assignment], *, hooks: Hooks
    ) -> Iterator[tuple[int, Completion | CallFailure]]:
        """Those of the log first, then as they are ready."""
        yield from self._endpoint.complete(_requests(assignments), hooks=hooks)

    def close(self) -> None:
        """Close connections and log."""
        self._endpoint.close()


def _requests(assignments: Sequence[Assignment]) -> list[ChatRequest]:
    return [ChatRequest(assignment.messages, sample=assignment.sample) for assignment in assignments]
