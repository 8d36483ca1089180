"""Marks, word by word, where a text leaves its reference."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Relation = Literal["same", "near", "far", "long"]
# A word of letters and digits; one Chinese, Japanese or Korean sign; a run of spaces; or one other sign.
_TOKEN = re.compile(r"[㐀-鿿぀-ヿ가-힣]|[^\W㐀-鿿぀-ヿ가-힣]+|\s+|.", re.DOTALL)
_MOST_TOKENS = 2000
_FAR = 0.3
"""Below this share of common letters a diff says nothing, and the text is shown plain."""


@dataclass(frozen=True)
class Piece:
    """A stretch of text that the reference has too, has not, or has alone."""

    kind: Literal["same", "extra", "missing"]
    text: str


def compare(output: str, reference: str) -> tuple[tuple[Piece, ...], Relation]:
    """Pieces of `output`, with what only the reference has put in where it is missing."""
    if output.strip() == reference.strip():
        return (Piece("same", output),), "same"
    mine, theirs = _TOKEN.findall(output), _TOKEN.findall(reference)
    if not mine:
        return (), "far"
    if max(len(mine), len(theirs)) > _MOST_TOKENS:
        return (Piece("same", output),), "long"
    matches = align(mine, theirs)
    common = sum(len(mine[i]) for i, _ in matches if not mine[i].isspace())
    longest = max(sum(len(token) for token in side if not token.isspace()) for side in (mine, theirs))
    if common < _FAR * longest:
        return (Piece("same", output),), "far"
    return tuple(_pieces(mine, theirs, matches)), "near"


def align(mine: Sequence[str], theirs: Sequence[str]) -> list[tuple[int, int]]:
    """The places (i, j) of a longest common subsequence.

    Rows of the length table are kept as integers, one bit a column: a bit of 0 says that the length grows there.
    Source: Hyyrö 2004, "Bit-parallel LCS-length computation revisited"; a looping answer of 700 tokens takes a
    millisecond, where difflib takes seconds.
    """
    everywhere = (1 << len(theirs)) - 1
    places: dict[str, int] = {}
    for j, token in enumerate(theirs):
        places[token] = places.get(token, 0) | 1 << j
    rows = [everywhere]
    for token in mine:
        row = rows[-1]
        hits = row & places.get(token, 0)
        rows.append(((row + hits) | (row - hits)) & everywhere)
    matches = []
    i, j = len(mine), len(theirs)
    while i and j:
        if rows[i] >> (j - 1) & 1:
            j -= 1
        elif not rows[i - 1] >> (j - 1) & 1:
            i -= 1
        else:
            i, j = i - 1, j - 1
            matches.append((i, j))
    return matches[::-1]


def _pieces(mine: Sequence[str], theirs: Sequence[str], matches: Sequence[tuple[int, int]]) -> list[Piece]:
    """Missing, extra, same, missing, extra, same ... without empty ones."""
    pieces: list[Piece] = []
    at_mine = at_theirs = 0
    kept = [pair for index, pair in enumerate(matches) if not _is_lonely(mine, matches, index)]
    for i, j in [*kept, (len(mine), len(theirs))]:
        changes = (Piece("missing", "".join(theirs[at_theirs:j])), Piece("extra", "".join(mine[at_mine:i])))
        same = (Piece("same", mine[i]),) if i < len(mine) else ()
        for piece in (*changes, *same):
            if piece.text and pieces and pieces[-1].kind == piece.kind == "same":
                pieces[-1] = Piece("same", pieces[-1].text + piece.text)
            elif piece.text:
                pieces.append(piece)
        at_mine, at_theirs = i + 1, j + 1
    return pieces


def _is_lonely(mine: Sequence[str], matches: Sequence[tuple[int, int]], index: int) -> bool:
    """Whether a match is a mere space or stop between two changed words: it would only cut the mark in two."""
    i, j = matches[index]
    before = matches[index - 1] if index else (-1, -1)
    if mine[i].isalnum() or index + 1 == len(matches):
        return False
    after = matches[index + 1]
    changed_before = i - before[0] > 1 and j - before[1] > 1
    changed_after = after[0] - i > 1 and after[1] - j > 1
    return changed_before and changed_after
