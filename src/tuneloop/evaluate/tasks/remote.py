"""Questions to a model behind an OpenAI-compatible endpoint; each call is paid once, whatever happens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuneloop.core.errors import DataError
from tuneloop.core.hooks import Hooks
from tuneloop.evaluate.tasks.questions import Question
from tuneloop.evaluate.tasks.responder import Ask
from tuneloop.evaluate.tasks.samples import Output
from tuneloop.generate.chat import CallFailure, ChatRequest
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.endpoint import Endpoint


@dataclass(frozen=True)
class EndpointResponder:
    """The server renders prompts through a template of its own: there is no contract to hold it to."""

    endpoint: Endpoint
    contract_hash: None = None

    @property
    def description(self) -> str:
        """Model and address."""
        config = self.endpoint.config
        return f"{config.model} at {config.base_url}"

    def identity(self) -> dict[str, Any]:
        """Address, model and what is sent along."""
        config = self.endpoint.config
        return {
            "endpoint": config.base_url,
            "model": config.model,
            "extra": config.parameters.model_dump(mode="json", exclude={"temperature", "top_p", "max_tokens"}),
        }

    def refuse(self, question: Question, config: GenerateConfig) -> str | None:  # noqa: ARG002 - the interface
        """Nothing is known before the server was asked."""
        return None

    def answer(
        self, asks: Sequence[Ask], config: GenerateConfig, *, seed: int, hooks: Hooks, take: Callable[[Output], None]
    ) -> None:
        """Ask all; the log of the endpoint keeps what was paid.

        Raises:
            StoppedError: an end was asked for.
            DataError: questions have no answer after all retries; the others are kept, and the next run asks them.
        """
        parameters = self.endpoint.config.parameters.replace(
            temperature=config.temperature,
            top_p=config.top_p if config.top_p < 1 else None,
            max_tokens=config.max_new_tokens,
            seed=seed if config.temperature > 0 else None,
        )
        requests = [ChatRequest(ask.asked.messages, parameters, ask.sample) for ask in asks]
        failures: list[str] = []
        for place, result in self.endpoint.complete(requests, hooks=hooks):
            ask = asks[place]
            if isinstance(result, CallFailure):
                failures.append(f"{ask.asked.row}: {result.message} [{result.kind}]")
                continue
            take(
                Output(
                    question=ask.question,
                    sample=ask.sample,
                    text=result.text,
                    prompt_tokens=result.usage.prompt_tokens,
                    output_tokens=result.usage.completion_tokens,
                    finished=not result.is_cut,
                )
            )
        if failures:
            shown = "\n  ".join(failures[:3])
            raise DataError(
                f"{len(failures)} of {len(asks)} questions have no answer:\n  {shown}\n"
                "The same command asks these again, and only these."
            )
