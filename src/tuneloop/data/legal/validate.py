"""What makes a legal record unsound: ids that lead nowhere, law that did not hold, citations that do not agree."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tuneloop.data.legal.citation import Citation, find_citations, format_citation
from tuneloop.data.legal.law_names import normalise_law
from tuneloop.data.legal.record import Judgment, LegalRecord, Statute

Code = Literal[
    "duplicate_id",
    "unresolved_id",
    "not_in_force",
    "empty_validity",
    "unreadable_article",
    "unlisted_citation",
    "uncited_statute",
    "negative_number",
    "sentence_conflict",
]
_KIND_LIFE, _KIND_DEATH = "无期徒刑", "死刑"
_KINDS_IN_MONTHS = {"管制", "拘役", "有期徒刑"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a record."""

    code: Code
    where: str
    """The field: `syllogism[0].major[1]`."""
    text: str


def validate(record: LegalRecord) -> list[Finding]:
    """Everything that is wrong with a record; empty for a sound one.

    Citations are compared where the jurisdiction is CN, for other law is not cited by 第…条, and where there is an
    output. A citation of a paragraph is listed by its whole article; a citation of the article is not by a paragraph.
    """
    return [
        *_check_ids(record),
        *_check_dates(record),
        *_check_citations(record),
        *(_check_judgment(record.judgment) if record.judgment else ()),
    ]


def _check_ids(record: LegalRecord) -> Iterator[Finding]:
    fids = [fact.fid for fact in record.facts]
    iids = [issue.iid for issue in record.issues]
    sids = [statute.sid for statute in record.statutes]
    for field, ids in (("facts", fids), ("issues", iids), ("statutes", sids)):
        for name, count in Counter(ids).items():
            if count > 1:
                yield Finding("duplicate_id", field, f"'{name}' stands {count} times")
    for index, step in enumerate(record.syllogism):
        where = f"syllogism[{index}]"
        if step.issue and step.issue not in iids:
            yield Finding("unresolved_id", f"{where}.issue", f"there is no issue '{step.issue}'")
        yield from _unresolved(step.major, sids, f"{where}.major", "statute")
        yield from _unresolved(step.minor, fids, f"{where}.minor", "fact")


def _unresolved(names: Iterable[str], known: list[str], where: str, kind: str) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if name not in known:
            yield Finding("unresolved_id", f"{where}[{index}]", f"there is no {kind} '{name}'")


def _check_dates(record: LegalRecord) -> Iterator[Finding]:
    day = record.as_of
    for index, statute in enumerate(record.statutes):
        where, first, end = f"statutes[{index}]", statute.valid_from, statute.valid_to
        if first and end and end <= first:
            yield Finding("empty_validity", where, f"{_name(statute)} ends on {end}, before it begins on {first}")
        elif day and first and day < first:
            yield Finding("not_in_force", where, f"{_name(statute)} holds from {first}, the record is of {day}")
        elif day and end and day >= end:
            yield Finding("not_in_force", where, f"{_name(statute)} held until {end}, the record is of {day}")


def _check_citations(record: LegalRecord) -> Iterator[Finding]:
    if not record.is_chinese():
        return
    for index, statute in enumerate(record.statutes):
        if statute.provision() is None or not statute.law:
            yield Finding("unreadable_article", f"statutes[{index}]", f"{_name(statute)} names no article of a law")
    if not record.output:
        return
    citations = find_citations(record.output)
    for citation in dict.fromkeys(_placeless(citation) for citation in citations):
        if not any(_covers(statute, citation) for statute in record.statutes):
            yield Finding("unlisted_citation", "output", f"{format_citation(citation)} is cited and not listed")
    for index, statute in enumerate(record.statutes):
        if statute.provision() is not None and not any(
            _covers(statute, citation) or _is_within(statute, citation) for citation in citations
        ):
            yield Finding("uncited_statute", f"statutes[{index}]", f"{_name(statute)} is listed and not cited")


def _placeless(citation: Citation) -> Citation:
    place = citation.provision()
    return Citation(
        normalise_law(citation.law), place.article, place.article_suffix, place.paragraph, place.item, place.subitem
    )


def _covers(statute: Statute, citation: Citation) -> bool:
    place = statute.provision()
    return place is not None and _same_law(statute, citation) and place.covers(citation.provision())


def _is_within(statute: Statute, citation: Citation) -> bool:
    place = statute.provision()
    return place is not None and _same_law(statute, citation) and citation.provision().covers(place)


def _same_law(statute: Statute, citation: Citation) -> bool:
    return normalise_law(statute.law) == normalise_law(citation.law)


def _name(statute: Statute) -> str:
    return f"'{statute.sid}' ({statute.law} {statute.article})"


def _check_judgment(judgment: Judgment) -> Iterator[Finding]:
    months, probation = judgment.imprisonment_months, judgment.probation_months
    for name, number in (("imprisonment_months", months), ("probation_months", probation), ("fine", judgment.fine)):
        if number is not None and number < 0:
            yield Finding("negative_number", f"judgment.{name}", f"{number} is below 0")
    is_death = judgment.death_penalty or judgment.kind == _KIND_DEATH
    is_life = judgment.life_imprisonment or judgment.kind == _KIND_LIFE
    in_months = bool(months) or judgment.kind in _KINDS_IN_MONTHS
    given = [
        name
        for name, is_given in (("death", is_death), ("life imprisonment", is_life), ("a number of months", in_months))
        if is_given
    ]
    if len(given) > 1:
        yield Finding("sentence_conflict", "judgment", f"the sentence is {' and '.join(given)}")
    if probation and (is_death or is_life or not months):
        yield Finding(
            "sentence_conflict", "judgment.probation_months", "probation stands beside a number of months only"
        )
