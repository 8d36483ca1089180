"""A conversation with any model that tuneloop can find: a run, an exported folder, a base."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tuneloop.core.errors import ConfigError
from tuneloop.core.seeds import derive_seed
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message, RowError
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.engine import Engine
from tuneloop.pipeline.opening import open_model


@dataclass(frozen=True)
class Answer:
    """What the model said."""

    text: str
    tokens: int
    finished: bool
    """Whether it closed its turn within the limit."""


@dataclass
class Talk:
    """A conversation that remembers its turns."""

    engine: Engine
    renderer: Renderer
    description: str
    seed: int
    system: str | None
    turns: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.begin_again()

    def begin_again(self) -> None:
        """Forget the turns."""
        self.turns = [Message("system", self.system)] if self.system else []

    def ask(self, question: str, *, show: Callable[[str], object] | None = None) -> Answer:
        """Put a question; `show` gets the answer's text piece by piece.

        Raises:
            ConfigError: the model's template refuses the conversation.
        """
        self.turns.append(Message("user", question))
        try:
            prompt = self.renderer.encode_prompt(self.turns)
        except RowError as error:
            self.turns.pop()
            raise ConfigError(str(error)) from error
        writer = _Writer(self.renderer, show or (lambda _: None))
        torch.manual_seed(derive_seed(self.seed, "chat", len(self.turns)))
        generated = self.engine.stream(prompt, show=writer.take)
        text = self.renderer.decode(generated.ids)
        writer.finish(text)
        self.turns.append(Message("assistant", text))
        return Answer(text, len(generated.ids), generated.finished)


@dataclass
class _Writer:
    """Hands out the text of growing ids; a character of several tokens comes once it is whole."""

    renderer: Renderer
    show: Callable[[str], object]
    ids: list[int] = field(default_factory=list)
    shown: str = ""

    def take(self, token_id: int) -> None:
        self.ids.append(token_id)
        text = self.renderer.decode(self.ids)
        if not text.endswith("\ufffd"):
            self.finish(text)

    def finish(self, text: str) -> None:
        self.show(text[len(self.shown) :])
        self.shown = text


def open_talk(source: str, *, max_new_tokens: int, temperature: float, seed: int, system: str | None) -> Talk:
    """Find and load a model by the path or name that a person gave.

    Raises:
        ModelError, ConfigError: there is no such model, or its run has nothing to talk with yet.
    """
    opened = open_model(source)
    config = GenerateConfig(max_new_tokens=max_new_tokens, temperature=temperature)
    engine = Engine(opened.model, opened.renderer.contract.stop_ids, config)
    return Talk(engine, opened.renderer, f"Talking with {source}", seed, system)
