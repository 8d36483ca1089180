"""Legal records to conversations and back: question to answer, facts to charge, facts and law to syllogism."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from tuneloop.data.content import Conversation
from tuneloop.data.legal.layout import ask_charge, ask_question, ask_syllogism, marks, say_judgment, say_steps
from tuneloop.data.legal.provision import number_of
from tuneloop.data.legal.record import Judgment, LegalRecord
from tuneloop.data.legal.wording import CHINESE, ENGLISH, WORDINGS, Wording
from tuneloop.data.schema import Message, RowError

Kind = Literal["answer", "syllogism", "charge"]
ORDER: tuple[Kind, ...] = ("answer", "syllogism", "charge")


def render_record(record: LegalRecord, kind: Kind | Literal["auto"] = "auto") -> Conversation:
    """A record as a question by the user and an answer by the assistant.

    answer: the question, with the facts and those statutes whose text is given -> the output.
    syllogism: facts, statutes and issues -> issue, premises and conclusion of each step.
    charge: facts -> offences and sentence.
    auto: the first of these, in this order, for which the record holds what is needed.

    Raises:
        RowError: `cannot_render`, with what is missing; `unresolved_id`, where a premise is not in the record.
    """
    missing = {name: _missing(record, name) for name in (ORDER if kind == "auto" else (kind,))}
    chosen = next((name for name in missing if not missing[name]), None)
    if chosen is None:
        wants = "; ".join(f"{name} needs {' and '.join(parts)}" for name, parts in missing.items())
        raise RowError("cannot_render", f"the legal record holds too little: {wants}")
    wording = CHINESE if record.is_chinese() else ENGLISH
    match chosen:
        case "answer":
            asked, answered = ask_question(record, wording), record.output
        case "syllogism":
            asked, answered = ask_syllogism(record, wording), say_steps(record, wording)
        case "charge":
            asked, answered = ask_charge(record, wording), say_judgment(record.judgment or Judgment(), wording)
    return Conversation((Message("user", asked), Message("assistant", answered)))


def _missing(record: LegalRecord, kind: Kind) -> list[str]:
    has_facts = any(fact.text.strip() for fact in record.facts)
    match kind:
        case "answer":
            needs = {"'question'": record.question.strip(), "'output'": record.output.strip()}
        case "syllogism":
            concluded = record.syllogism and all(step.conclusion.strip() for step in record.syllogism)
            needs = {"'facts'": has_facts, "'statutes'": record.statutes, "'syllogism' with conclusions": concluded}
        case "charge":
            accusation = record.judgment and record.judgment.accusation
            needs = {"'facts'": has_facts, "'judgment.accusation'": accusation}
    return [name for name, given in needs.items() if not given]


def parse_conversation(messages: Sequence[Message]) -> LegalRecord:
    """The parts of a record that a conversation of ours shows; the reverse of `render_record`.

    Rendered again, the record gives the same text; what gives another is no conversation of ours.

    Raises:
        RowError: `no_legal_record`.
    """
    foreign = RowError("no_legal_record", "the conversation is not one that a legal record makes")
    if [message.role for message in messages] != ["user", "assistant"]:
        raise foreign
    asked, answered = (message.content for message in messages)
    order = asked.partition("\n")[0]
    for wording in WORDINGS:
        orders: dict[str, Kind] = {
            wording.answer: "answer",
            wording.syllogism: "syllogism",
            wording.charge: "charge",
        }
        kind = orders.get(order)
        if kind is None:
            continue
        try:
            values = _read_turns(asked, answered, kind, wording)
            record = LegalRecord.model_validate({"jurisdiction": "CN" if wording.is_chinese else "", **values})
            again = render_record(record, kind)
        except (ValidationError, ValueError, RowError) as error:
            raise foreign from error
        if [message.content for message in again.messages] == [asked, answered]:
            return record
    raise foreign


def _read_turns(asked: str, answered: str, kind: Kind, wording: Wording) -> dict[str, Any]:
    """The fields of the record. What does not fit is passed over: the comparison finds it."""
    asks = _sections(asked, wording.headings().__contains__)
    values: dict[str, Any] = {
        "facts": list(_facts(asks.get(wording.facts, []), wording)),
        "statutes": list(_statutes(asks.get(wording.statutes, []), wording)),
        "issues": [{"iid": key[1:-2], "text": text} for key, text in _entries(asks.get(wording.issues, []), wording)],
    }
    match kind:
        case "answer":
            question = asks.get(wording.question, [])
            return values | {"question": "\n".join(map(_unescape, question)), "output": answered}
        case "syllogism":
            return values | {"syllogism": list(_steps(answered, wording))}
        case "charge":
            return values | {"judgment": _judgment(_sections(answered, wording.headings().__contains__), wording)}


def _sections(text: str, is_heading: Callable[[str], object]) -> dict[str, list[str]]:
    """Heading -> the lines below it."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.split("\n"):
        if is_heading(line):
            lines = sections.setdefault(line, [])
        else:
            lines.append(line)
    return sections


def _entries(lines: Sequence[str], wording: Wording) -> Iterator[tuple[str, str]]:
    """Mark (`[F1] ` or a label) and text of each entry, its further lines joined."""
    mark, text = "", ""
    for line in lines:
        found = marks(wording).match(line)
        if found is None or found.group() == "\\":
            text += "\n" + _unescape(line)
            continue
        if mark:
            yield mark, text
        mark, text = found.group(), line[found.end() :]
    if mark:
        yield mark, text


def _unescape(line: str) -> str:
    return line.removeprefix("\\")


def _facts(lines: Sequence[str], wording: Wording) -> Iterator[dict[str, Any]]:
    fact: dict[str, Any] = {}
    for mark, text in _entries(lines, wording):
        if mark == wording.element:
            fact["element"] = text
        else:
            if fact:
                yield fact
            fact = {"fid": mark[1:-2], "text": text}
    if fact:
        yield fact


_NAMED = re.compile(
    r"(?:《(?P<law>.*)》)?(?P<article>.*?)(?:第(?P<paragraph>[^第（]+)款)?(?:第（(?P<item>[^第（]+)）项)?"
)


def _statutes(lines: Sequence[str], wording: Wording) -> Iterator[dict[str, Any]]:
    statute: dict[str, Any] = {}
    for mark, text in _entries(lines, wording):
        if mark.startswith("["):
            if statute:
                yield statute
            statute = {"sid": mark[1:-2], **(_read_name(text) if wording.is_chinese else {"law": text, "article": ""})}
        elif mark == wording.text:
            statute["text"] = text
        elif mark == wording.article:
            statute["article"] = text
        elif mark in {wording.paragraph, wording.item}:
            statute["paragraph" if mark == wording.paragraph else "item"] = int(text)
    if statute:
        yield statute


def _read_name(name: str) -> dict[str, Any]:
    found = _NAMED.fullmatch(name)
    if not found:
        return {"law": name, "article": ""}
    parts = {key: number_of(found[key]) for key in ("paragraph", "item") if found[key]}
    return {"law": found["law"] or "", "article": found["article"], **parts}


def _steps(answered: str, wording: Wording) -> Iterator[dict[str, Any]]:
    before, after = map(re.escape, wording.step.split("{}"))
    heading = re.compile(rf"{before}\d+{after}", re.ASCII)
    for lines in _sections(answered, heading.fullmatch).values():
        step: dict[str, Any] = {"major": [], "minor": []}
        for mark, text in _entries(lines, wording):
            if mark == wording.conclusion:
                step["conclusion"] = text
                continue
            name = text[1 : text.index("]")]
            if mark == wording.issue:
                step["issue"] = name
            elif mark in {wording.major, wording.minor}:
                step["major" if mark == wording.major else "minor"].append(name)
        yield step


def _judgment(sections: dict[str, list[str]], wording: Wording) -> dict[str, Any]:
    said: dict[str, Any] = {"accusation": [_unescape(line) for line in sections.get(wording.offences, [])]}
    numbers = {
        wording.months: ("imprisonment_months", wording.unit_months),
        wording.probation: ("probation_months", wording.unit_months),
        wording.fine: ("fine", wording.unit_fine),
    }
    for line in sections.get(wording.sentence, []):
        for label, (name, unit) in numbers.items():
            if line.startswith(label):
                said[name] = int(line.removeprefix(label).removesuffix(unit))
        if line.startswith(wording.kind):
            said["kind"] = line.removeprefix(wording.kind)
        said["death_penalty"] = said.get("death_penalty", False) or line == wording.death + wording.yes
        said["life_imprisonment"] = said.get("life_imprisonment", False) or line == wording.life + wording.yes
    return said
