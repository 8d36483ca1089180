"""DISC-Law-SFT: pairs `{"id", "input", "output"}`, and triplets with `"reference"`, a list of statutes.

The fields are those of the released data (Yue et al. 2023, arXiv:2309.11325).
"""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import re
from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content
from tuneloop.data.formats.cail import refuse_unless_equal
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.legal import check_record
from tuneloop.data.formats.shape import Shape, text_of, type_name
from tuneloop.data.legal.citation import find_citations
from tuneloop.data.legal.provision import format_article, format_part
from tuneloop.data.legal.record import LegalRecord, Statute
from tuneloop.data.schema import RowError

_BETWEEN = re.compile(r"\s*(?:规定)?\s*[：:，,\s]?\s*")


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    question = text_of(shape.get(value, "input"), "input")
    output = text_of(shape.get(value, "output"), "output", missing="empty_answer")
    id_ = shape.get(value, "id")
    values: dict[str, Any] = {"id": "" if id_ is None else str(id_), "doc_type": "legal_question", "jurisdiction": "CN"}
    references = shape.get(value, "reference")
    if references is not None:
        if not isinstance(references, list):
            raise RowError("wrong_type", f"'reference' is {type_name(references)}, not a list of statutes")
        for index, reference in enumerate(references):
            text_of(reference, f"reference[{index}]")
        values["statutes"] = [_statute(text, f"S{number}") for number, text in enumerate(references, start=1)]
        # An empty list and none at all are two rows.
        values["meta"] = {} if references else {"reference": []}
    return check_record(values | {"question": question, "output": output})


def _statute(reference: str, sid: str) -> dict[str, Any]:
    """The law, the article and its text; a reference that names no article is text alone."""
    start = len(reference) - len(reference.lstrip())
    first = next(iter(find_citations(reference[:200])), None)
    if first is None or first.start != start:
        return {"sid": sid, "law": "", "article": "", "text": reference}
    between = _BETWEEN.match(reference, first.end)
    statute = {
        "sid": sid,
        "law": first.law,
        "article": format_article(first.article, first.article_suffix),
        "paragraph": first.paragraph,
        "item": first.item,
        "text": reference[between.end() if between else first.end :],
    }
    if _reference(statute) != reference:
        statute["source"] = reference
    return statute


def _reference(statute: Mapping[str, Any]) -> str:
    part = format_part(statute["paragraph"], statute["item"])
    return f"《{statute['law']}》{statute['article']}{part}：{statute['text']}"


def _written(statute: Statute) -> str:
    if statute.source or not statute.law:
        return statute.source or statute.text
    return _reference(statute.model_dump())


def _write(content: Content) -> dict[str, Any]:
    if not isinstance(content, LegalRecord):
        raise RowError("not_expressible", "disc_law holds legal records only")
    written: dict[str, Any] = {"id": content.id} if content.id else {}
    if content.statutes or "reference" in content.meta:
        written["reference"] = [_written(statute) for statute in content.statutes]
    written |= {"input": content.question, "output": content.output}
    refuse_unless_equal(content, written, FORMAT)
    return written


FORMAT = Format(
    name="disc_law",
    recognises=lambda value: {"id", "input", "output"} <= value.keys() and "instruction" not in value,
    parse=_parse,
    write=_write,
    fields=("input", "output", "reference"),
)
