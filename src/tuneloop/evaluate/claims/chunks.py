"""Cuts a long source into pieces of whole sentences that a checker can read at once."""

from collections.abc import Callable

from tuneloop.evaluate.claims.sentences import split_sentences
from tuneloop.generate.estimate import estimate_tokens

MAX_TOKENS = 350
"""AlignScore's length of a piece (Zha et al. 2023, arXiv:2305.16739)."""

CountTokens = Callable[[str], int]


def count_estimated(text: str) -> int:
    """Tokens of a text without a tokenizer: see `estimate_tokens`."""
    return estimate_tokens([text])


def split_chunks(source: str, max_tokens: int = MAX_TOKENS, count: CountTokens = count_estimated) -> list[str]:
    """Pieces of at most `max_tokens`, each as many whole sentences as fit; one empty piece for an empty source.

    A sentence that is longer alone is cut at white space, or within a run without any, into parts of about that
    length. The pieces hold every character but white space, in order.
    """
    chunks: list[str] = []
    held: list[str] = []
    room = max_tokens
    for sentence in split_sentences(source):
        for part in _cut(sentence, max_tokens, count):
            size = count(part)
            if held and size > room:
                chunks.append("\n".join(held))
                held, room = [], max_tokens
            held.append(part)
            room -= size
    if held:
        chunks.append("\n".join(held))
    return chunks or [""]


def _cut(sentence: str, max_tokens: int, count: CountTokens) -> list[str]:
    """The sentence, or halves of halves of it until each fits."""
    if len(sentence) < 2 or count(sentence) <= max_tokens:  # noqa: PLR2004 - one character cannot be cut
        return [sentence]
    middle = len(sentence) // 2
    gap = sentence.rfind(" ", middle // 2, middle)
    place = gap if gap > 0 else middle
    halves = (sentence[:place].strip(), sentence[place:].strip())
    return [part for half in halves if half for part in _cut(half, max_tokens, count)]
