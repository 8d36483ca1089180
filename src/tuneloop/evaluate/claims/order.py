"""Finds what has changed places in a near copy: names, numbers, words, the two ends of a clause."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise, product

from tuneloop.evaluate.claims.lexicon import TOGETHER, VOICE
from tuneloop.evaluate.claims.reading import Reading

_MIN_OTHERS = 2
_MIN_ORDERED = 4
_VERBATIM = 0.7
"""From this share of the claim's words on, their order is taken to mean something."""
_VERBATIM_CHINESE = 0.8
_MOST_CHARACTERS = 160
_MOST_WORDS = 160
"""Longer sentences are passed over: the time that it takes grows with the square."""


def find_exchanged(claim: Reading, evidence: Reading) -> tuple[str, str] | None:
    """Two parts of the claim that stand the other way round in a sentence of the evidence, which it repeats else.

    Nothing is found where one of the two alone has a mark of the passive, which turns doer and deed around.
    """
    if bool(VOICE.search(claim.text)) != bool(VOICE.search(evidence.text)):
        return None
    if claim.has_han:
        pairs = product(claim.clauses_and_whole, evidence.clauses_and_whole)
        return next((found for mine, there in pairs if (found := _by_characters(mine, there))), None)
    return _by_words(claim, evidence) or _by_anchors(claim, evidence)


def _by_words(claim: Reading, evidence: Reading) -> tuple[str, str] | None:
    shared = [key for key in claim.order if key in evidence.order]
    if len(shared) > _MOST_WORDS or len(shared) < max(_MIN_ORDERED, _VERBATIM * len(claim.order)):
        return None
    turned = find_turned([evidence.order[key] for key in shared])
    if turned is None:
        return None
    left, right = (next(word for word in claim.words if word.key == shared[place]) for place in turned)
    if turned[1] == turned[0] + 1 and TOGETHER.search(claim.text[left.start + len(left.text) : right.start]):
        return None
    return left.text, right.text


def _by_anchors(claim: Reading, evidence: Reading) -> tuple[str, str] | None:
    """Names and numbers in another order, while the words around them stay in theirs."""
    mine, there = claim.anchors, evidence.anchors
    others = [evidence.order[key] for key in claim.order if key in evidence.order and key not in mine]
    if len(others) > _MOST_WORDS or len(others) < _MIN_OTHERS or _longest_rise(others) < len(others) - 1:
        return None
    for left, right in pairwise(key for key in mine if key in there):
        if there[left] > there[right]:
            return left, right
    return None


def _by_characters(claim: Reading, evidence: Reading) -> tuple[str, str] | None:
    """The same by common pieces of Chinese text, which needs no cutting into words."""
    mine, there = _letters(claim.text), _letters(evidence.text)
    if max(len(mine), len(there)) > _MOST_CHARACTERS or len(set(mine) & set(there)) < _VERBATIM_CHINESE * len(
        set(mine)
    ):
        return None
    pieces = _common_pieces(mine, there)
    if sum(len(text) for text, _ in pieces) < _VERBATIM_CHINESE * len(mine):
        return None
    turned = find_turned([place for _, place in pieces])
    if turned is None or turned[1] == turned[0] + 1:
        return None
    return pieces[turned[0]][0], pieces[turned[1]][0]


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def _common_pieces(text: str, other: str) -> list[tuple[str, int]]:
    """The longest piece that both share, then the longest of what is left, and so on; each with its place in `other`.

    Source: greedy string tiling, Wise 1993. The pieces come in the order of `text`.
    """
    left, right = list(text), list(other)
    pieces: list[tuple[int, str, int]] = []
    while True:
        matcher = SequenceMatcher(None, left, right, autojunk=False)
        found = matcher.find_longest_match(0, len(left), 0, len(right))
        if not found.size:
            return [(piece, place) for _, piece, place in sorted(pieces)]
        pieces.append((found.a, text[found.a : found.a + found.size], found.b))
        # Taken pieces are marked by values that equal nothing else.
        left[found.a : found.a + found.size] = [f"<{len(pieces)}"] * found.size
        right[found.b : found.b + found.size] = [f">{len(pieces)}"] * found.size


def find_turned(places: Sequence[int]) -> tuple[int, int] | None:
    """Two items that changed places, or the first items of two ends that did around a middle that stayed.

    `places`: of the claim's parts in the evidence, in the claim's order. What is in place before and after is passed
    over. By hand: of 0 5 6 4 2 3 9 the ends 5 6 and 2 3 changed places around 4, which gives (1, 4). 3 4 0 1 is only
    another order of two clauses and gives None.
    """
    ranks = [sorted(places).index(place) for place in places]
    moved = [place for place, rank in enumerate(ranks) if place != rank]
    if not moved or len(places) < 3:  # noqa: PLR2004 - two parts have no order to keep
        return None
    start, end = moved[0], moved[-1] + 1
    if len(moved) == 2:  # noqa: PLR2004 - a pair
        return start, end - 1
    core = ranks[start:end]
    first = next((place for place in range(1, len(core)) if core[place] < core[place - 1]), len(core))
    last = next((place for place in range(len(core) - 1, 0, -1) if core[place] < core[place - 1]), 0)
    head, middle, tail = core[:first], core[first:last], core[last:]
    is_turned = middle and middle == sorted(middle) and min(head) > middle[-1] and middle[0] > max(tail)
    return (start, start + last) if is_turned else None


def _longest_rise(places: Sequence[int]) -> int:
    """Length of the longest increasing subsequence."""
    best: list[int] = []
    for number, place in enumerate(places):
        best.append(1 + max((best[before] for before in range(number) if places[before] < place), default=0))
    return max(best, default=0)
