"""Questions to a model in memory, rendered through the prompt contract that it was trained with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneloop.core.hooks import Hooks
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import RowError
from tuneloop.evaluate.tasks.questions import Question
from tuneloop.evaluate.tasks.responder import Ask
from tuneloop.evaluate.tasks.samples import Output
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.engine import Engine, Generated
from tuneloop.model.backbone import CausalModel


@dataclass(frozen=True)
class LocalResponder:
    """Our own engine over a loaded model."""

    model: CausalModel
    renderer: Renderer
    description: str
    sha256: str
    """Of base and adapter."""

    @property
    def contract_hash(self) -> str:
        """Of the renderer's contract."""
        return self.renderer.contract.hash

    def identity(self) -> dict[str, Any]:
        """Weights, contract, precision."""
        precision = "float32" if self.model.autocast_dtype is None else str(self.model.autocast_dtype)
        return {"weights": self.sha256, "contract": self.contract_hash, "precision": precision}

    def refuse(self, question: Question, config: GenerateConfig) -> str | None:
        """The template refuses the turns, or prompt and answer do not fit into the model's context."""
        return refuse_prompt(self.renderer, question, config)

    def answer(
        self, asks: Sequence[Ask], config: GenerateConfig, *, seed: int, hooks: Hooks, take: Callable[[Output], None]
    ) -> None:
        """Answer all; chance is drawn by (seed, question, sample), so that no batch changes a text.

        Raises:
            StoppedError: an end was asked for.
        """
        prompts = [self.renderer.encode_prompt(ask.asked.messages) for ask in asks]

        def keep(place: int, generated: Generated) -> None:
            take(output_of(self.renderer, asks[place], prompts[place], generated.ids, finished=generated.finished))

        engine = Engine(self.model, self.renderer.contract.stop_ids, config)
        keys = [(ask.question, ask.sample) for ask in asks]
        engine.generate(prompts, seed=seed, hooks=hooks, keys=keys, on_answer=keep)


def refuse_prompt(renderer: Renderer, question: Question, config: GenerateConfig) -> str | None:
    """Why a question cannot be rendered, or does not fit; None where it does."""
    try:
        size = len(renderer.encode_prompt(question.messages))
    except RowError as error:
        return error.reason
    most = renderer.max_positions
    if most is not None and size + config.max_new_tokens > most:
        return (
            f"the prompt has {size} tokens and the answer up to {config.max_new_tokens}, more than the model's "
            f"{most} positions"
        )
    return None


def output_of(renderer: Renderer, ask: Ask, prompt: np.ndarray, ids: Any, *, finished: bool) -> Output:
    """What is kept of generated ids (without the stop id)."""
    return Output(
        question=ask.question,
        sample=ask.sample,
        text=renderer.decode(ids),
        prompt_tokens=len(prompt),
        output_tokens=len(ids),
        finished=finished,
    )
