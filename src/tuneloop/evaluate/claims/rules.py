"""What must not differ between a claim and its evidence: numbers, names, order, negation, opposites, reach, cause."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from tuneloop.evaluate.claims.lexicon import (
    CAUSE,
    CERTAIN,
    CONTRASTS,
    EXCLUSIVE,
    FORBIDDEN,
    NEGATION,
    NONE,
    OBLIGATION,
    OPEN,
    PARTIAL,
    UNIVERSAL,
)
from tuneloop.evaluate.claims.order import find_exchanged
from tuneloop.evaluate.claims.reading import Reading
from tuneloop.evaluate.claims.tables import Cell
from tuneloop.evaluate.claims.values import Value
from tuneloop.evaluate.claims.words import Word, read_titles

_ROUNDING = 0.05
_ABOUT = re.compile(r"\b(?:about|around|nearly|roughly|approximately|almost|some)\s*\Z|[约近]为?\s*\Z", re.IGNORECASE)
_ABOUT_AFTER = re.compile(r"\s*(?:左右|上下|多|余)")
_LOOK = 16
_MOST_NUMBERS = 12
_NEAR_COPY = 0.5
"""From this coverage on, a "not" or an "all" on one side alone is no matter of wording."""
_SOME_COPY = 0.3
_MIN_CAUSE = 0.25


@dataclass(frozen=True)
class Found:
    """A claim, and what the source says about it."""

    claim: Reading
    evidence: Sequence[Reading]
    """The chosen sentences, the best first; at least one."""
    aligned: Sequence[tuple[Reading, Reading]]
    """Each clause of the claim of which half or more stands in one clause of the evidence, and that clause."""
    title: Reading
    """The first sentence of the source: often a heading, whose year or unit holds for every line below."""
    source: Reading
    """All of it."""
    cells: Sequence[Cell]
    """The numbers of its tables."""
    coverage: float
    """Which part of the claim's features the evidence holds."""

    def names(self) -> list[Word]:
        """The names in the claim; its first word too, where the source writes it with a capital everywhere."""
        opening = [word for word in self.claim.words[:1] if word.is_content and not word.is_name]
        extra = [word for word in opening if word.text[:1].isupper() and self._is_always_capital(word.text)]
        return [*extra, *self.claim.names]

    @cached_property
    def source_names(self) -> frozenset[str]:
        """Keys of all names in the source, first words of its sentences included where they are always capital."""
        return frozenset(
            word.key
            for word in self.source.words
            if word.is_name or (word.is_content and word.text[:1].isupper() and self._is_always_capital(word.text))
        )

    def _is_always_capital(self, text: str) -> bool:
        return text in self.source.surfaces and text.lower() not in self.source.surfaces


Rule = Callable[[Found], str | None]
"""Why the claim cannot follow, or None."""


def numbers_are_there(found: Found) -> str | None:
    """Each number of the claim stands in the evidence or in the title, or is the sum or difference of two there.

    A number that is said to be about so much may be 5 % off. Sums need one and the same unit. A year may stand
    anywhere in the source: it is often said once, above all that happened in it.
    """
    there = [value for reading in found.evidence for value in reading.values]
    sums = {
        (number, left.unit)
        for left, right in combinations(there[:_MOST_NUMBERS], 2)
        if left.unit == right.unit and left.unit
        for number in (left.number + right.number, abs(left.number - right.number))
    }
    for value in found.claim.values:
        others = found.source.values if value.is_year() else (*there, *found.title.values)
        if (value.number, value.unit) not in sums and not any(_agrees(found.claim, value, other) for other in others):
            return f"the number '{value.text}' is not in the evidence"
    return None


def _agrees(claim: Reading, value: Value, other: Value) -> bool:
    if value.equals(other):
        return True
    before = claim.text[max(0, value.start - _LOOK) : value.start]
    after = claim.text[value.start + len(value.text) :][:_LOOK]
    is_about = _ABOUT.search(before) or _ABOUT_AFTER.match(after)
    is_same_unit = value.unit == other.unit or not value.unit or not other.unit
    return bool(is_about) and is_same_unit and abs(value.number - other.number) <= _ROUNDING * abs(other.number)


def numbers_belong_to_names(found: Found) -> str | None:
    """A number that the evidence says of one name is not said of another in the claim, clause by clause."""
    names = found.names()
    for start, end in found.claim.clause_spans:
        here = [name for name in names if start <= name.start < end]
        for value in (value for value in found.claim.values if start <= value.start < end):
            if any(value.equals(other) for other in found.title.values):
                continue
            holders = [item for item in found.evidence if any(value.equals(other) for other in item.values)]
            for name in here:
                is_known = any(name.key in item.keys for item in found.evidence)
                is_beside = any(name.key in item.keys or not item.keys & found.source_names for item in holders)
                if holders and is_known and not is_beside:
                    return f"'{name.text}' and '{value.text}' are not said together"
    return None


def names_are_there(found: Found) -> str | None:
    """Each name and each title in 《》 of the claim stands somewhere in the source."""
    for title in read_titles(found.claim.text):
        if title not in found.source.text:
            return f"《{title}》 is not in the source"
    for name in found.claim.names:
        if name.key not in found.source.keys and name.text.casefold() not in found.source.folded:
            return f"the name '{name.text}' is not in the source"
    return None


def order_is_kept(found: Found) -> str | None:
    """Nothing changes places in a near copy: see `find_exchanged`."""
    for reading in found.evidence:
        if exchanged := find_exchanged(found.claim, reading):
            return f"'{exchanged[0]}' and '{exchanged[1]}' have changed places"
    return None


def cells_agree(found: Found) -> str | None:
    """A number of a table is said of its own row and column, clause by clause."""
    if not found.cells:
        return None
    for clause in found.claim.clauses:
        rows = _named(clause, [cell.row for cell in found.cells]) or _named(
            found.claim, [cell.row for cell in found.cells]
        )
        columns = _named(clause, [cell.column for cell in found.cells])
        asked = [
            cell for cell in found.cells if (not rows or cell.row in rows) and (not columns or cell.column in columns)
        ]
        for value in clause.values:
            # A year names a row, or the whole table.
            is_cell = not value.is_year() and any(value.equals(cell.value) for cell in found.cells)
            if (rows or columns) and is_cell and not any(value.equals(cell.value) for cell in asked):
                return f"'{value.text}' is not in the row and column of {', '.join(sorted(rows | columns))}"
    return None


def _named(reading: Reading, labels: Sequence[str]) -> set[str]:
    return {label for label in labels if label and label.casefold() in reading.folded}


def titles_are_kept(found: Found) -> str | None:
    """The words right before two names do not change places: "Mayor Lu and Dr Cole" is not "Dr Lu and Mayor Cole"."""
    claim = found.claim.before_names
    for reading in found.evidence:
        there = reading.before_names
        for left, right in combinations([name for name in claim if name in there], 2):
            if there[left] == claim[right] != claim[left] == there[right]:
                return f"'{left}' and '{right}' have changed places"
    return None


def negation_agrees(found: Found) -> str | None:
    """Of two clauses that match, one does not negate what the other leaves plain."""
    for claim, evidence in found.aligned:
        # Two negations on each side may stand before different words of one meaning: "no sign", "not shown".
        if len(NEGATION.findall(claim.text)) == len(NEGATION.findall(evidence.text)):
            continue
        shared = claim.keys & evidence.keys
        if alone := claim.negated & shared - evidence.negated:
            return f"'{min(alone)}' is negated in the claim alone"
        if alone := evidence.negated & shared - claim.negated:
            return f"'{min(alone)}' is negated in the evidence alone"
    return None


def opposites_agree(found: Found) -> str | None:
    """Of two clauses that match, each does not take a side of a contrast that the other leaves."""
    for claim, evidence in found.aligned:
        for contrast in CONTRASTS:
            claimed = {side for side, pattern in enumerate(contrast.sides) if pattern.search(claim.text)}
            said = {side for side, pattern in enumerate(contrast.sides) if claimed and pattern.search(evidence.text)}
            if claimed - said and said - claimed:
                return f"the evidence takes another side of {contrast.name}"
    return None


def reach_is_not_wider(found: Found) -> str | None:
    """All, every, must, only and 所有, 必须, 仅 stand in a near copy only where the evidence has such a word.

    All does not stand where the evidence says half, some or 部分.
    """
    if found.coverage < _NEAR_COPY:
        return None
    for pattern, others in ((UNIVERSAL, (NONE,)), (OBLIGATION, (FORBIDDEN,)), (EXCLUSIVE, (NONE, FORBIDDEN))):
        word = pattern.search(found.claim.text)
        if word and not any(each.search(reading.text) for each in (pattern, *others) for reading in found.evidence):
            return f"'{word.group()}' goes further than the evidence"
    word = UNIVERSAL.search(found.claim.text)
    if word and PARTIAL.search(found.evidence[0].text) and not PARTIAL.search(found.claim.text):
        return f"'{word.group()}' goes further than the evidence"
    return None


def certainty_is_not_greater(found: Found) -> str | None:
    """What the evidence leaves open is not certain in the claim."""
    word = CERTAIN.search(found.claim.text)
    if word is None or OPEN.search(found.claim.text):
        return None
    is_open = any(OPEN.search(reading.text) for reading in found.evidence)
    is_certain = any(CERTAIN.search(reading.text) for reading in found.evidence)
    return f"'{word.group()}' is surer than the evidence" if is_open and not is_certain else None


def cause_is_said(found: Found) -> str | None:
    """Where a claim in the source's words gives a cause, the evidence gives one, with a quarter of its words."""
    word = CAUSE.search(found.claim.text)
    if word is None or found.coverage < _SOME_COPY:
        return None
    causal = [reading for reading in found.evidence if CAUSE.search(reading.text)]
    if not causal:
        return f"the evidence gives no cause ('{word.group()}')"
    end = next((end for _, end in found.claim.clause_spans if end > word.end()), len(found.claim.text))
    cause = frozenset(Reading(found.claim.text[word.end() : end]).features)
    effect = frozenset(found.claim.features) - cause
    nearest = max(causal, key=lambda reading: len(effect.intersection(reading.features)))
    if len(cause.intersection(nearest.features)) < _MIN_CAUSE * len(cause):
        return f"the evidence gives another cause than '{found.claim.text[word.start() : end].strip()}'"
    return None


RULES: tuple[Rule, ...] = (
    numbers_are_there,
    numbers_belong_to_names,
    names_are_there,
    cells_agree,
    order_is_kept,
    titles_are_kept,
    negation_agrees,
    opposites_agree,
    reach_is_not_wider,
    certainty_is_not_greater,
    cause_is_said,
)
"""In the order in which the first broken one is told."""
