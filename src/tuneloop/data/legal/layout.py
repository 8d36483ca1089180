"""The text of a legal record's turns: headings, entries with their ids, labelled lines."""

import re
from collections.abc import Sequence
from typing import TypeVar

from tuneloop.data.legal.provision import format_part
from tuneloop.data.legal.record import Fact, Judgment, LegalRecord, Statute
from tuneloop.data.legal.wording import Wording
from tuneloop.data.schema import RowError

_Part = TypeVar("_Part")


def ask_question(record: LegalRecord, wording: Wording) -> str:
    """The user's turn before an answer."""
    lines = [wording.answer, wording.question, _escape(record.question, wording)]
    if record.facts:
        lines += [wording.facts, *_say_facts(record.facts, wording)]
    known = [statute for statute in record.statutes if statute.text]
    if known:
        lines += [wording.statutes, *_say_statutes(known, wording)]
    return "\n".join(lines)


def ask_charge(record: LegalRecord, wording: Wording) -> str:
    """The user's turn before a charge."""
    return "\n".join([wording.charge, wording.facts, *_say_facts(record.facts, wording)])


def ask_syllogism(record: LegalRecord, wording: Wording) -> str:
    """The user's turn before a syllogism."""
    lines = [wording.syllogism, wording.facts, *_say_facts(record.facts, wording)]
    lines += [wording.statutes, *_say_statutes(record.statutes, wording)]
    if record.issues:
        lines += [wording.issues, *(_entry(issue.iid, issue.text, wording) for issue in record.issues)]
    return "\n".join(lines)


def _say_facts(facts: Sequence[Fact], wording: Wording) -> list[str]:
    lines = []
    for fact in facts:
        lines.append(_entry(fact.fid, fact.text, wording))
        if fact.element:
            lines.append(_labelled(wording.element, fact.element, wording))
    return lines


def _say_statutes(statutes: Sequence[Statute], wording: Wording) -> list[str]:
    lines = []
    for statute in statutes:
        lines.append(_entry(statute.sid, _name_statute(statute, wording), wording))
        if not wording.is_chinese:
            parts = (
                (wording.article, statute.article),
                (wording.paragraph, statute.paragraph),
                (wording.item, statute.item),
            )
            lines += [f"{label}{part}" for label, part in parts if part not in {None, ""}]
        if statute.text:
            lines.append(_labelled(wording.text, statute.text, wording))
    return lines


def _name_statute(statute: Statute, wording: Wording) -> str:
    # In English the article and its parts follow on lines of their own.
    if not wording.is_chinese:
        return statute.law
    law = f"《{statute.law}》" if statute.law else ""
    return f"{law}{statute.article}{format_part(statute.paragraph, statute.item)}"


def say_steps(record: LegalRecord, wording: Wording) -> str:
    """Each step with its premises written out.

    Raises:
        RowError: `unresolved_id`, where a premise is not in the record.
    """
    facts = {fact.fid: fact for fact in record.facts}
    statutes = {statute.sid: statute for statute in record.statutes}
    issues = {issue.iid: issue for issue in record.issues}
    lines = []
    for number, step in enumerate(record.syllogism, start=1):
        lines.append(wording.step.format(number))
        if step.issue:
            lines.append(wording.issue + _entry(step.issue, _resolve(issues, step.issue).text, wording))
        for sid in step.major:
            statute = _resolve(statutes, sid)
            name = _name_statute(statute, wording)
            if not wording.is_chinese:
                name += f", {statute.article}" if statute.article else ""
            lines.append(wording.major + _entry(sid, name, wording))
        lines += [wording.minor + _entry(fid, _resolve(facts, fid).text, wording) for fid in step.minor]
        lines.append(_labelled(wording.conclusion, step.conclusion, wording))
    return "\n".join(lines)


def _resolve(parts: dict[str, _Part], name: str) -> _Part:
    if name not in parts:
        raise RowError("unresolved_id", f"the record has no '{name}', which its syllogism names")
    return parts[name]


def say_judgment(judgment: Judgment, wording: Wording) -> str:
    """Offences and sentence; what the judgment leaves open is left out."""
    lines = [wording.offences, *(_escape(name, wording) for name in judgment.accusation)]
    for_ever = judgment.death_penalty or judgment.life_imprisonment
    # Beside death or life a file's 0 months say nothing.
    months = None if for_ever and judgment.imprisonment_months == 0 else judgment.imprisonment_months
    parts = [
        (wording.kind, judgment.kind),
        (wording.months, _amount(months, wording.unit_months)),
        (wording.probation, _amount(judgment.probation_months, wording.unit_months)),
        (wording.fine, _amount(judgment.fine, wording.unit_fine)),
        (wording.death, wording.yes * judgment.death_penalty),
        (wording.life, wording.yes * judgment.life_imprisonment),
    ]
    sentence = [label + part for label, part in parts if part]
    return "\n".join([*lines, wording.sentence, *sentence] if sentence else lines)


def _amount(number: int | None, unit: str) -> str:
    return "" if number is None else f"{number}{unit}"


def _entry(name: str, text: str, wording: Wording) -> str:
    return _labelled(f"[{name}] ", text, wording)


def _labelled(label: str, text: str, wording: Wording) -> str:
    first, newline, rest = text.partition("\n")
    return label + first + (newline + _escape(rest, wording) if newline else "")


def _escape(text: str, wording: Wording) -> str:
    """Put a backslash before each line that would be read as one of ours."""
    return "\n".join("\\" + line if marks(wording).match(line) else line for line in text.split("\n"))


def marks(wording: Wording) -> re.Pattern[str]:
    """What begins a line of ours, or an escaped one."""
    heading = "【" if wording.is_chinese else "## "
    labels = "|".join(re.escape(label) for label in wording.labels())
    return re.compile(rf"\\|{heading}|\[[\w.\-]{{1,64}}\] |{labels}")
