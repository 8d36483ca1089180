"""Text to token ids with two promises: no text becomes a control token, and borders of answers stay borders."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from tokenizers import Tokenizer

from tuneloop.data.schema import Message, RowError

# A code point that Unicode reserves as "never a character": it marks where text is cut before encoding.
CUT = "\ufdd0"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Ids, and the characters of the text that each came from."""

    ids: np.ndarray
    """int32 [T]"""
    starts: np.ndarray
    ends: np.ndarray

    def straddles(self, at: int) -> bool:
        """Whether a token reaches over a place between two characters."""
        return bool(np.any((self.starts < at) & (self.ends > at)))


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
        content = message.content
        if CUT in content:
            raise RowError("reserved_character", "the text holds U+FDD0, which Unicode reserves as no character")
        pattern = self._special if message.role == "assistant" else self._added
        normalizer = self.tokenizer.normalizer
        if normalizer is not None and len(_found(pattern, normalizer.normalize_str(content))) > len(
            _found(pattern, content)
        ):
            raise RowError("control_token", "the text becomes a control token once the tokenizer has normalised it")
        cuts = sorted({match.start() + 1 for match in pattern.finditer(content)}, reverse=True)
        for at in cuts:
            content = content[:at] + CUT + content[at:]
        return Message(message.role, content, message.weight) if cuts else message

    def encode(self, text: str, bounds: Sequence[int]) -> Encoded:
        """Encode text that may hold cut marks; the ids before one of `bounds` are those of that text alone."""
        cuts: list[int] = []
        for piece in text.split(CUT)[:-1]:
            cuts.append((cuts[-1] if cuts else 0) + len(piece))
        plain = text.replace(CUT, "")
        encoded = self._encode_pieces(plain, cuts)
        needed = {at for at in bounds if encoded.straddles(at) or self._looks_ahead(plain, at, encoded)}
        return self._encode_pieces(plain, sorted({*cuts, *needed})) if needed else encoded

    def _looks_ahead(self, text: str, at: int, encoded: Encoded) -> bool:
        """Whether the white space before a border became other tokens because of what follows it.

        Splitters such as GPT-2's take white space differently at the end of a text.
        """
        if self._adds_space or not text[:at].endswith((" ", "\n", "\t", "\r")):
            return False
        begin = at - 1
        while begin > 0 and text[begin - 1].isspace():
            begin -= 1
        place = int(np.searchsorted(encoded.starts, begin))
        if place >= len(encoded.starts) or encoded.starts[place] != begin:
            return True
        alone = self.tokenizer.encode(text[begin:at], add_special_tokens=False).ids
        return encoded.ids[place : int(np.searchsorted(encoded.starts, at))].tolist() != alone

    @cached_property
    def _adds_space(self) -> bool:
        """Whether the tokenizer puts a space before every text, as SentencePiece's do."""
        return any(token.startswith("\u2581") for token in self.tokenizer.encode("a", add_special_tokens=False).tokens)

    def _encode_piece(self, piece: str, *, is_first: bool) -> tuple[list[int], list[tuple[int, int]]]:
        if is_first or not self._adds_space:
            encoding = self.tokenizer.encode(piece, add_special_tokens=False)
            return encoding.ids, encoding.offsets
        # The space that is put before every text goes to a newline, which is then left off.
        encoding = self.tokenizer.encode("\n" + piece, add_special_tokens=False)
        kept = [(i, (max(a, 1) - 1, b - 1)) for i, (a, b) in zip(encoding.ids, encoding.offsets, strict=True) if b > 1]
        return [i for i, _ in kept], [span for _, span in kept]

    def _encode_pieces(self, text: str, cuts: list[int]) -> Encoded:
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            piece_ids, offsets = self._encode_piece(text[begin:end], is_first=begin == 0)
            ids += piece_ids
            spans += [(begin + first, begin + last) for first, last in offsets]
        array = np.array(spans, dtype=np.int64).reshape(-1, 2)
        return Encoded(np.array(ids, dtype=np.int32), array[:, 0], array[:, 1])


def _found(pattern: re.Pattern[str], text: str) -> list[str]:
    return pattern.findall(text)


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
