"""The prompt contract: how a conversation becomes token ids, one value with a hash, from training to serving."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import orjson
from tokenizers import Tokenizer

from tuneloop.core.config import Config
from tuneloop.core.store import hash_json
from tuneloop.data.encoding import CUT, Encoder
from tuneloop.data.schema import Message, Origin, Row, RowError
from tuneloop.data.template import Template
from tuneloop.data.tokens.block import SplitRows, TokenBlock, TokenRow, assemble


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

    def learning(self, train_on: Literal["all", "last"] | None) -> "Renderer":
        """The same contract with another choice of the answers that are learned; None leaves it."""
        if train_on is None or train_on == self.contract.train_on:
            return self
        return replace(self, contract=self.contract.replace(train_on=train_on))

    def encode_prompt(self, messages: Sequence[Message], *, tools: str = "") -> np.ndarray:
        """The ids, int32 [T], after which the assistant goes on: what serving and evaluation feed.

        Raises:
            RowError: the template refuses the conversation.
        """
        pieces = self._prompt_pieces(messages, tools)
        return self.encoder.encode(pieces, is_first=_only_first(len(pieces))).ids

    def encode_row(
        self,
        messages: Sequence[Message],
        *,
        origin: str = "",
        weight: float = 1.0,
        tools: str = "",
        is_text: bool = False,
    ) -> TokenRow:
        """A conversation with its targets: the answers, each with the token that ends its turn.

        Raises:
            RowError: the template refuses it, or its text does not hold the answers where serving would put them.
        """
        row = Row(tuple(messages), Origin(origin, 0), weight, tools, is_text)
        block, errors = self.encode_rows([row])
        if errors:
            raise errors[0]
        return TokenRow(block.ids, block.weights_of(0), origin)

    def encode_rows(self, rows: Sequence[Row]) -> tuple[TokenBlock, dict[int, RowError]]:
        """Many rows at once, on all cores: the block of the good ones, in order, and what is wrong with the others."""
        waiting = self.split_rows(rows)
        encoded = self.encoder.encode(waiting.pieces, is_first=waiting.is_first)
        return assemble(waiting, encoded, self.contract.end_of_turn), waiting.errors

    def split_rows(self, rows: Sequence[Row]) -> SplitRows:
        """The first half of `encode_rows`: rendered, and cut where a border of tokens has to be."""
        split = SplitRows()
        for index, row in enumerate(rows):
            try:
                pieces, answers = self._text_pieces(row) if row.is_text else self._row_pieces(row)
            except RowError as error:
                split.errors[index] = error
            else:
                split.add(index, pieces, answers, ends_itself=row.is_text)
        return split

    def _row_pieces(self, row: Row) -> tuple[list[str], list[tuple[int, float]]]:
        neutral, tools = self._neutralise(row.messages, row.tools)
        text = self.template.render(neutral, tools=tools)
        _check_tools(row, text)
        answers = self._answer_starts(neutral, tools, text)
        pieces = _cut(text, [start for _, start in answers])
        learned = answers if self.contract.train_on == "all" else answers[-1:]
        places = {start: index for index, start in learned}
        found: list[tuple[int, float]] = []
        at = 0
        for number, piece in enumerate(pieces):
            if at in places:
                weight = row.weight * row.messages[places[at]].weight
                if weight:
                    found.append((number, weight))
            at += len(piece.replace(CUT, ""))
        return pieces, found

    def _prompt_pieces(self, messages: Sequence[Message], tools_text: str) -> list[str]:
        neutral, tools = self._neutralise(messages, tools_text)
        text = self.template.render(neutral, tools=tools, add_generation_prompt=True)
        return _cut(text, [start for _, start in self._answer_starts(neutral, tools, text)])

    def _text_pieces(self, row: Row) -> tuple[list[str], list[tuple[int, float]]]:
        """Plain text between the tokens that begin and end a text; the first token of all is never a target."""
        text = self.encoder.neutralise(row.messages[0]).content
        bos = [self.contract.bos_token] if self.contract.bos_token else []
        eos = [self.contract.eos_token] if self.contract.eos_token else []
        pieces = [*bos, *_cut(text, []), *eos]
        return pieces, [(0, row.weight)]

    def _neutralise(self, messages: Sequence[Message], tools: str) -> tuple[list[Message], list[Any] | None]:
        neutral = [self.encoder.neutralise(message) for message in messages]
        if not tools:
            return neutral, None
        return neutral, self.encoder.neutralise_json(_read_tools(tools), special_only=False)

    def _answer_starts(self, neutral: Sequence[Message], tools: list[Any] | None, text: str) -> list[tuple[int, int]]:
        """(turn, character of the cut-free text) where each answer begins: where its generation prompt ends."""
        starts = []
        for index, message in enumerate(neutral):
            if message.role == "assistant":
                prompt = self.template.render(neutral[:index], tools=tools, add_generation_prompt=True)
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


def _cut(text: str, bounds: list[int]) -> list[str]:
    """The pieces of a marked text between its cuts and `bounds` (characters of the text without the marks)."""
    places = set(bounds)
    at = 0
    for piece in text.split(CUT)[:-1]:
        at += len(piece)
        places.add(at)
    plain = text.replace(CUT, "")
    borders = [0, *sorted(places - {0, len(plain)}), len(plain)]
    return [plain[begin:end] for begin, end in itertools.pairwise(borders)]


def _only_first(number: int) -> list[bool]:
    return [index == 0 for index in range(number)]


@functools.lru_cache(maxsize=64)
def _read_tools(text: str) -> list[Any]:
    return orjson.loads(text)


def _check_tools(row: Row, text: str) -> None:
    """A template that knows no tools leaves them out without a word."""
    if row.tools:
        names = [
            tool.get("function", tool).get("name", "") for tool in _read_tools(row.tools) if isinstance(tool, dict)
        ]
        if not all(name in text.replace(CUT, "") for name in names):
            raise RowError(
                "tools_ignored", "the chat template writes no tools: name one that does, or data.template: model"
            )
    for index, message in enumerate(row.messages):
        if not all(call.name in text.replace(CUT, "") for call in message.tool_calls):
            raise RowError("tools_ignored", f"turn {index + 1}: the chat template does not write the call of a tool")
        if message.role == "tool" and message.content.strip() not in text.replace(CUT, ""):
            raise RowError(
                "tools_ignored", f"turn {index + 1}: the chat template does not write what the tool answered"
            )
