"""CAIL2018, criminal cases with charge and sentence: `{"fact", "meta": {"accusation", "relevant_articles", ...}}`.

The fields are those of the challenge's data (Xiao et al. 2018, arXiv:1807.02478).
"""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.legal import check_record
from tuneloop.data.formats.shape import Shape, text_of, type_name
from tuneloop.data.legal.provision import format_article
from tuneloop.data.legal.record import Judgment, LegalRecord
from tuneloop.data.schema import RowError

_LAW = "中华人民共和国刑法"
_META = ("relevant_articles", "accusation", "punish_of_money", "criminals", "term_of_imprisonment")
_TERM = ("death_penalty", "imprisonment", "life_imprisonment")
_MOST_ARTICLE = 99_999


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    fact = text_of(shape.get(value, "fact"), "fact")
    meta = _object(shape.get(value, "meta"), "meta")
    term = _object(meta.get("term_of_imprisonment"), "meta.term_of_imprisonment")
    articles = _list(meta.get("relevant_articles"), "relevant_articles")
    if not all(_is_number(article) and 0 < article <= _MOST_ARTICLE for article in articles):
        raise RowError("wrong_type", "'meta.relevant_articles' holds something else than numbers of articles")
    others = {name: item for name, item in meta.items() if name not in _META}
    other_terms = {name: item for name, item in term.items() if name not in _TERM}
    id_ = shape.get(value, "id")
    return check_record(
        {
            "id": "" if id_ is None else str(id_),
            "doc_type": "criminal_judgment",
            "jurisdiction": "CN",
            "facts": [{"fid": "F1", "text": fact}],
            "statutes": [
                {"sid": f"S{number}", "law": _LAW, "article": format_article(article)}
                for number, article in enumerate(articles, start=1)
            ],
            "judgment": {
                "accusation": _list(meta.get("accusation"), "accusation"),
                "imprisonment_months": _number(term, "imprisonment"),
                "death_penalty": _truth(term, "death_penalty"),
                "life_imprisonment": _truth(term, "life_imprisonment"),
                "fine": None if meta.get("punish_of_money") is None else _number(meta, "punish_of_money"),
                "criminals": None if meta.get("criminals") is None else _list(meta["criminals"], "criminals"),
            },
            "meta": others | ({"term_of_imprisonment": other_terms} if other_terms else {}),
        }
    )


def _object(found: object, name: str) -> Mapping[str, Any]:
    if found is None:
        raise RowError("missing_key", f"'{name}' is missing or null")
    if not isinstance(found, Mapping):
        raise RowError("wrong_type", f"'{name}' is {type_name(found)}, not an object")
    return found


def _list(found: object, name: str) -> list[Any]:
    if found is None:
        raise RowError("missing_key", f"'meta.{name}' is missing or null")
    if not isinstance(found, list):
        raise RowError("wrong_type", f"'meta.{name}' is {type_name(found)}, not a list")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(values: Mapping[str, Any], name: str) -> int:
    found = values.get(name)
    if found is None:
        raise RowError("missing_key", f"'{name}' is missing or null")
    if not _is_number(found):
        raise RowError("wrong_type", f"'{name}' is {type_name(found)}, not a whole number")
    return found


def _truth(values: Mapping[str, Any], name: str) -> bool:
    found = values.get(name)
    if found is None:
        raise RowError("missing_key", f"'{name}' is missing or null")
    if not isinstance(found, bool):
        raise RowError("wrong_type", f"'{name}' is {type_name(found)}, not true or false")
    return found


def _write(content: Content) -> dict[str, Any]:
    if not isinstance(content, LegalRecord):
        raise RowError("not_expressible", "cail holds legal records only")
    judgment = content.judgment or Judgment()
    further = dict(content.meta)
    other_terms = further.pop("term_of_imprisonment", {})
    meta: dict[str, Any] = {
        "relevant_articles": [place.article if (place := item.provision()) else 0 for item in content.statutes],
        "accusation": list(judgment.accusation),
    }
    if judgment.fine is not None:
        meta["punish_of_money"] = judgment.fine
    if judgment.criminals is not None:
        meta["criminals"] = list(judgment.criminals)
    meta["term_of_imprisonment"] = {
        "death_penalty": judgment.death_penalty,
        "imprisonment": judgment.imprisonment_months,
        "life_imprisonment": judgment.life_imprisonment,
        **(other_terms if isinstance(other_terms, Mapping) else {}),
    }
    written = {"id": content.id} if content.id else {}
    written |= {"fact": content.facts[0].text if content.facts else "", "meta": meta | further}
    refuse_unless_equal(content, written, FORMAT)
    return written


def refuse_unless_equal(record: LegalRecord, written: Mapping[str, Any], into: Format) -> None:
    """Refuse to write a record that would be another one when it is read again.

    Raises:
        RowError: `not_expressible`, with the fields that the format has no place for.
    """
    try:
        again = into.parse(written, Shape())
    except RowError as error:
        raise RowError("not_expressible", f"{into.name} cannot hold it: {error.reason}") from error
    lost = [name for name in LegalRecord.model_fields if getattr(again, name) != getattr(record, name)]
    if lost:
        raise RowError("not_expressible", f"{into.name} has no place for what the record says in: {', '.join(lost)}")


FORMAT = Format(
    name="cail",
    recognises=lambda value: "fact" in value and isinstance(value.get("meta"), Mapping),
    parse=_parse,
    write=_write,
    fields=("fact", "meta"),
)
