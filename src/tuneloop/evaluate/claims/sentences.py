"""Cuts English and Chinese text into sentences: at line ends and at marks that end a sentence, and nowhere else."""

# ruff: noqa: SIM905 - word lists are read more easily as one string

import re
from itertools import pairwise

_CLOSERS = "\"'”’」』）)》】]*_"
_CLOSED = rf"[{re.escape(_CLOSERS)}]*+"
_ENDS = re.compile(rf"[。！？!?…]++{_CLOSED}|(?<!\.)\.++{_CLOSED}(?=\s|[\u3400-\u9fff]|\Z)|；")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘]+\Z")
_WORD_REACH = 24
_NEVER_LAST = frozenset(
    (
        "mr mrs ms mx dr prof st no nos art arts sec secs para paras fig figs vs e.g i.e cf approx vol pp ed "
        "est gov gen col lt sgt rev hon messrs al jan feb mar apr jun jul aug sep sept oct nov dec"
    ).split()
)
"""Abbreviations that a name or a number follows: no sentence ends with them."""
_MAYBE_LAST = frozenset(("etc inc ltd co corp llc plc jr sr a.m p.m u.s u.k u.n ph.d b.c dept").split())
"""Abbreviations that end a sentence where a capital follows."""
_INITIAL = re.compile(r"(?:[A-Z]\.)*[A-Z]")


def split_sentences(text: str, *, at_semicolons: bool = False) -> list[str]:
    """The sentences of a text, stripped, in order; nothing but white space is lost.

    A line end ends a sentence, except where the next line goes on with a small letter (text that was wrapped). The
    marks 。！？!?… end one, and closing quotes and brackets stay with it. A full stop does, unless it stands inside
    a number or a name (3.5, example.org), after an abbreviation or an initial, or before a small letter.

    Args:
        text: any text, an empty one too.
        at_semicolons: cut at the Chinese semicolon as well, which joins clauses that could stand alone.
    """
    sentences: list[str] = []
    for paragraph in _unwrap(text):
        start = 0
        for found in _ENDS.finditer(paragraph):
            if found.end() > start and _is_end(paragraph, found, at_semicolons=at_semicolons):
                sentences.append(paragraph[start : found.end()])
                start = found.end()
        sentences.append(paragraph[start:])
    return [stripped for sentence in sentences if (stripped := sentence.strip())]


def _unwrap(text: str) -> list[str]:
    """The lines of a text, those that go on with a small letter joined to the line before."""
    lines = [line.strip() for line in text.splitlines()]
    paragraphs = lines[:1]
    for before, line in pairwise(lines):
        if before and line[:1].islower() and line[:1].isascii():
            paragraphs[-1] += f" {line}"
        else:
            paragraphs.append(line)
    return paragraphs


def _is_end(text: str, found: re.Match[str], *, at_semicolons: bool) -> bool:
    mark = found.group()
    if mark == "；":
        return at_semicolons
    rest = text[found.end() : found.end() + _WORD_REACH].lstrip()
    goes_on_small = rest[:1].isascii() and rest[:1].islower()
    if mark[0] in "。！？":
        return True
    if mark[0] in "!?…":
        return not goes_on_small
    before = _LAST_WORD.search(text[max(0, found.start() - _WORD_REACH) : found.start()])
    word = before.group() if before else ""
    if goes_on_small or word.lower() in _NEVER_LAST:
        return False
    # An initial belongs to the name after it; the other words may end a sentence, which then goes on with a capital.
    if _INITIAL.fullmatch(word) and word.lower() not in _MAYBE_LAST:
        return not rest[:1].isalpha()
    return word.lower() not in _MAYBE_LAST or not rest[:1].isdigit()
