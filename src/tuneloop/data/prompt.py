"""The prompt contract: how a conversation becomes token ids, one value with a hash, from training to serving."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from tuneloop.core.config import Config
from tuneloop.core.store import hash_json
from tuneloop.data.encoding import CUT, Encoder
from tuneloop.data.schema import Message, RowError
from tuneloop.data.template import Template


class PromptContract(Config):
    """Everything that decides the token ids of a conversation. Two equal hashes give equal ids."""

    template_name: str
    """`model` for the model's own template, else the name of one of ours."""
    template: str
    """The Jinja source."""
    bos_token: str
    eos_token: str
    tokenizer_sha256: str
    end_of_turn: int
    """The id that closes an assistant's turn; it is trained on."""
    stop_ids: tuple[int, ...]
    """Generation ends at any of these."""
    train_on: Literal["all", "last"]
    hidden_text: str = ""
    """Text that the template adds by itself where a conversation has no system turn."""

    @property
    def hash(self) -> str:
        """SHA-256 of all fields."""
        return hash_json(self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One conversation as the model sees it; a weight above 0 marks a target."""

    ids: np.ndarray
    """int32 [T]"""
    weights: np.ndarray
    """float32 [T]: how much token t counts as a target; 0 is context."""
    origin: str

    @property
    def num_targets(self) -> int:
        """Tokens that are trained on."""
        return int(np.count_nonzero(self.weights))


@dataclass(frozen=True)
class Renderer:
    """A contract with its tokenizer: conversations to ids and back."""

    contract: PromptContract
    tokenizer: Tokenizer = field(repr=False)
    max_positions: int | None = None
    """The longest text that the model was built for, in tokens; None where its config does not say."""

    @cached_property
    def template(self) -> Template:
        """The compiled chat template."""
        return Template(self.contract.template, self.contract.bos_token, self.contract.eos_token)

    @cached_property
    def encoder(self) -> Encoder:
        """Text to ids."""
        return Encoder(self.tokenizer)

    def encode_prompt(self, messages: Sequence[Message]) -> np.ndarray:
        """The ids, int32 [T], after which the assistant goes on: what serving and evaluation feed.

        Raises:
            RowError: the template refuses the conversation.
        """
        neutral = [self.encoder.neutralise(message) for message in messages]
        text = self.template.render(neutral, add_generation_prompt=True)
        return self.encoder.encode(text, [start for _, start in self._answer_starts(neutral, text)]).ids

    def encode_row(self, messages: Sequence[Message], *, origin: str = "", weight: float = 1.0) -> TokenRow:
        """A conversation with its targets: the answers, each with the token that ends its turn.

        Raises:
            RowError: the template refuses it, or its text does not hold the answers where serving would put them.
        """
        neutral = [self.encoder.neutralise(message) for message in messages]
        text = self.template.render(neutral)
        answers = self._answer_starts(neutral, text)
        encoded = self.encoder.encode(text, [start for _, start in answers])
        weights = np.zeros(len(encoded.ids), dtype=np.float32)
        for index, start in answers if self.contract.train_on == "all" else answers[-1:]:
            first = int(np.searchsorted(encoded.starts, start))
            ends = np.flatnonzero(encoded.ids[first:] == self.contract.end_of_turn)
            if not len(ends):
                raise RowError("no_end_of_turn", f"turn {index + 1}: the template closes it with no end-of-turn token")
            weights[first : first + int(ends[0]) + 1] = weight * messages[index].weight
        targets = np.flatnonzero(weights)
        if not len(targets):
            raise RowError("no_target", "nothing in it is trained on")
        length = int(targets[-1]) + 1
        return TokenRow(encoded.ids[:length], weights[:length], origin)

    def _answer_starts(self, neutral: Sequence[Message], text: str) -> list[tuple[int, int]]:
        """(turn, character of the cut-free text) where each answer begins: where its generation prompt ends."""
        starts = []
        for index, message in enumerate(neutral):
            if message.role == "assistant":
                prompt = self.template.render(neutral[:index], add_generation_prompt=True)
                if not text.startswith(prompt):
                    raise RowError(
                        "template_prefix",
                        f"turn {index + 1}: the template writes another text before it when it is served",
                    )
                starts.append((index, len(prompt) - prompt.count(CUT)))
        return starts

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of generated ids, without special tokens."""
        return self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)

    def pieces(self, ids: np.ndarray) -> list[str]:
        """The text of each id alone, for showing; bytes that are no character by themselves show as �."""
        return [self.tokenizer.decode([int(i)], skip_special_tokens=False) for i in ids]
