"""Text to token ids with two promises: no text becomes a control token, and borders of answers stay borders."""

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from tuneloop.data.schema import Message, RowError

# A code point that Unicode reserves as "never a character": it marks where text is cut before encoding.
CUT = "\ufdd0"


@dataclass(frozen=True, slots=True)
class Pieces:
    """Texts encoded one by one, laid end to end."""

    ids: np.ndarray
    """int32 [T]"""
    bounds: np.ndarray
    """int64 [P + 1]: piece p has the ids from bounds[p] to bounds[p + 1]."""


@dataclass(frozen=True)
class Encoder:
    """A tokenizer that keeps the promises."""

    tokenizer: Tokenizer = field(repr=False)

    @cached_property
    def _special(self) -> re.Pattern[str]:
        return literals(self.tokenizer, special_only=True)

    @cached_property
    def _added(self) -> re.Pattern[str]:
        return literals(self.tokenizer, special_only=False)

    def neutralise(self, message: Message) -> Message:
        """The message with a cut inside everything that would become a control token.

        No text becomes a special token; text that is not the assistant's becomes no added token at all (an
        assistant may well write `<think>` where the tokenizer has such a token).
        """
        special = message.role == "assistant"
        content = self.neutralise_text(message.content, special_only=special)
        calls = tuple(
            replace(
                call,
                name=self.neutralise_text(call.name, special_only=True),
                arguments=self._neutralise_arguments(call.arguments),
            )
            for call in message.tool_calls
        )
        if content is message.content and calls == message.tool_calls:
            return message
        return replace(message, content=content, tool_calls=calls)

    def neutralise_text(self, text: str, *, special_only: bool) -> str:
        """The text with a cut inside whatever would become an added token, or only a special one.

        Raises:
            RowError: it holds the mark of a cut, or becomes a control token by the tokenizer's normalisation.
        """
        if CUT in text:
            raise RowError("reserved_character", "the text holds U+FDD0, which Unicode reserves as no character")
        pattern = self._special if special_only else self._added
        normalizer = self.tokenizer.normalizer
        if normalizer is not None and len(pattern.findall(normalizer.normalize_str(text))) > len(pattern.findall(text)):
            raise RowError("control_token", "the text becomes a control token once the tokenizer has normalised it")
        for at in sorted({match.start() + 1 for match in pattern.finditer(text)}, reverse=True):
            text = text[:at] + CUT + text[at:]
        return text

    def neutralise_json(self, value: Any, *, special_only: bool) -> Any:
        """A JSON value, every text in it neutralised."""
        match value:
            case str():
                return self.neutralise_text(value, special_only=special_only)
            case list():
                return [self.neutralise_json(item, special_only=special_only) for item in value]
            case dict():
                return {
                    self.neutralise_text(key, special_only=special_only): self.neutralise_json(
                        item, special_only=special_only
                    )
                    for key, item in value.items()
                }
            case _:
                return value

    def _neutralise_arguments(self, text: str) -> str:
        try:
            value = json.loads(text)
        except ValueError:
            return self.neutralise_text(text, special_only=True)
        # What JSON escapes would spell a control token once the template writes it out.
        return json.dumps(self.neutralise_json(value, special_only=True), ensure_ascii=False)

    def encode(self, pieces: Sequence[str], *, is_first: Sequence[bool]) -> Pieces:
        """Encode texts, each by itself, on all cores; `is_first` marks those that begin a conversation.

        What follows a cut is encoded as if it stood in the middle of a text.
        """
        if self._adds_space:
            found = self._encode_inside(pieces, is_first)
        else:
            found = [each.ids for each in self.tokenizer.encode_batch_fast(pieces, add_special_tokens=False)]
        bounds = np.zeros(len(found) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in found], out=bounds[1:])
        ids = np.fromiter(itertools.chain.from_iterable(found), dtype=np.int32, count=int(bounds[-1]))
        return Pieces(ids, bounds)

    @cached_property
    def _adds_space(self) -> bool:
        """Whether the tokenizer puts a space before every text, as SentencePiece's do."""
        return any(token.startswith("\u2581") for token in self.tokenizer.encode("a", add_special_tokens=False).tokens)

    def _encode_inside(self, pieces: Sequence[str], is_first: Sequence[bool]) -> list[list[int]]:
        # The space that is put before every text goes to a newline, which is then left off.
        padded = [piece if first else "\n" + piece for piece, first in zip(pieces, is_first, strict=True)]
        return [
            each.ids if first else [i for i, (_, end) in zip(each.ids, each.offsets, strict=True) if end > 1]
            for each, first in zip(self.tokenizer.encode_batch(padded, add_special_tokens=False), is_first, strict=True)
        ]


def literals(tokenizer: Tokenizer, *, special_only: bool) -> re.Pattern[str]:
    """Finds every place where text spells an added token; places may overlap."""
    tokens = tokenizer.get_added_tokens_decoder().values()
    texts = [
        token.content
        for token in tokens
        # Gemma has tokens of white space among the added ones: they control nothing.
        if len(token.content) > 1 and token.content.strip() and (token.special or not special_only)
    ]
    texts.sort(key=len, reverse=True)
    return re.compile("(?=" + "|".join(map(re.escape, texts)) + ")" if texts else "(?!)")
