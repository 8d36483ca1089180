"""What two texts are compared by: their normal form, and hashes of the short windows of characters in it."""

import re
import unicodedata
from functools import lru_cache

import numpy as np

WINDOW = 5
"""Characters of a shingle: about one word of an alphabet."""
DENSE_WINDOW = 3
"""Characters of a shingle that begins with a Chinese or Japanese character: about two words."""

_DENSE_RANGES = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_DENSE = "".join(f"{chr(first)}-{chr(last)}" for first, last in _DENSE_RANGES)
_IS_DENSE = re.compile(f"[{_DENSE}]")
_MARKS = re.compile('[.,;:!?"]+')
_SPACE_BESIDE_DENSE = re.compile(rf"(?<=[{_DENSE}]) | (?=[{_DENSE}])")
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_MARKS_EVERYWHERE = "\u2014\u2026\u201c\u201d\u201e\u201f\u3001\u3002\u3008\u3009\u300a\u300b\u300c\u300d\u300e\u300f"
_NO_INVISIBLE = str.maketrans("", "", _INVISIBLE)
_UNIFIED = str.maketrans("\u2018\u2019\u2010\u2013" + _MARKS_EVERYWHERE, "''--" + " " * len(_MARKS_EVERYWHERE))
_MIX_1, _MIX_2, _MIX_3 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def normalise(text: str) -> str:
    """The text without what a reader would not call a difference.

    Unicode NFKC with case folded (so full-width forms are plain ones); invisible characters gone; marks of a
    sentence (`. , ; : ! ?`, double quotes, dashes between clauses, their Chinese forms) gone where they stand at
    the edge of a word or beside a Chinese character, and kept inside a word, a number or code (`3.5`, `a.b`,
    `x!=y`, `5!`); white space collapsed, and gone beside Chinese characters. Signs of arithmetic always stay.
    A text of marks alone keeps them.

    NFKC also flattens exponents: `2⁵` becomes `25`.
    """
    if text.isascii():
        folded = text.lower()
        return " ".join(_MARKS.sub(_without_marks, folded).split()) or " ".join(folded.split())
    folded = unicodedata.normalize("NFKC", text.translate(_NO_INVISIBLE)).casefold()
    folded = unicodedata.normalize("NFKC", folded)
    bare, before = folded.translate(_UNIFIED), ""
    # What is removed can bring a mark beside a Chinese character; a second round nearly always changes nothing.
    while bare != before:
        before = bare
        bare = _SPACE_BESIDE_DENSE.sub("", " ".join(bare.split()))
        bare = _SPACE_BESIDE_DENSE.sub("", " ".join(_MARKS.sub(_without_marks, bare).split()))
    return bare or " ".join(folded.split())


def _without_marks(marks: re.Match[str]) -> str:
    """What becomes of some marks in a row, by the characters beside them."""
    text, run = marks.string, marks[0]
    before, after = text[max(0, marks.start() - 1) : marks.start()], text[marks.end() : marks.end() + 1]
    if not after or after == " " or after.isspace() or _IS_DENSE.match(before) or _IS_DENSE.match(after):
        return "! " if run[0] == "!" and before.isdigit() else " "
    if not before or before.isspace():
        return run.lstrip(',;:!?"')
    return run


@lru_cache(maxsize=1)
def dense_table() -> np.ndarray:
    """For every code point, whether it is a Chinese or Japanese character (those are written without spaces)."""
    table = np.zeros(0x110000, dtype=bool)
    for first, last in _DENSE_RANGES:
        table[first : last + 1] = True
    return table


def code_points(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The characters of several texts one after another, uint32 [C], and where each text begins and ends [N + 1]."""
    bounds = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=bounds[1:])
    # JSON can carry half a surrogate pair; it is compared like any other character.
    return np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32), bounds


def mix(values: np.ndarray) -> np.ndarray:
    """Scatter uint64 values, each to its own (the finaliser of splitmix64, Steele et al. 2014). Works in place."""
    values ^= values >> np.uint64(30)
    values *= _MIX_2
    values ^= values >> np.uint64(27)
    values *= _MIX_3
    values ^= values >> np.uint64(31)
    return values


def shingle_hashes(normal: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The shingles of normalised texts as hashes, uint64 [S], and where those of each text begin and end [N + 1].

    A shingle is the window of 5 characters that begins at a character, or of 3 if that character is Chinese or
    Japanese; windows that reach over the end do not count. A text in which no window fits is its own only
    shingle, so that it is similar to nothing but itself. Repeated shingles are repeated here.
    """
    points, bounds = code_points(normal)
    num = len(points)
    # Zero stands for "no character", so that a window of 3 differs from every window of 5.
    padded = np.zeros(num + WINDOW - 1, dtype=np.uint64)
    padded[:num] = points
    padded[:num] += np.uint64(1)
    is_dense = dense_table()[points]
    fits = np.arange(num) + np.where(is_dense, DENSE_WINDOW, WINDOW) <= np.repeat(bounds[1:], np.diff(bounds))
    tail = np.where(is_dense, np.uint64(0), _pack(padded, 3, num, 2))
    hashes = _combine(_pack(padded, 0, num, 3), tail)[fits]
    before = np.zeros(num + 1, dtype=np.int64)
    np.cumsum(fits, out=before[1:])
    starts = before[bounds]
    short = np.flatnonzero(np.diff(starts) == 0)
    if not short.size:
        return hashes, starts
    places = bounds[short, None] + np.arange(WINDOW)
    inside = places < bounds[short + 1, None]
    letters = np.where(inside, padded[np.minimum(places, len(padded) - 1)], np.uint64(0)).ravel()
    whole = _combine(_pack(letters, 0, len(letters), 3), _pack(letters, 3, len(letters), 2))
    hashes = np.insert(hashes, starts[short], whole[::WINDOW])
    starts = starts + np.searchsorted(short, np.arange(len(normal) + 1))
    return hashes, starts


def _pack(letters: np.ndarray, first: int, num: int, count: int) -> np.ndarray:
    """`count` letters of 21 bits from each place on, as one number without loss."""
    packed = np.zeros(num, dtype=np.uint64)
    for step in range(count):
        piece = letters[first + step : first + step + num]
        packed[: len(piece)] |= piece << np.uint64(21 * step)
    return packed


def _combine(head: np.ndarray, tail: np.ndarray) -> np.ndarray:
    return mix(head ^ (tail * _MIX_1))
