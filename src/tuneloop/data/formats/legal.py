"""Legal records as JSON: `{"facts", "issues", "statutes", "syllogism", "judgment", "output", ...}`."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tuneloop.data.content import Content
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.legal.record import LegalRecord
from tuneloop.data.legal.validate import validate
from tuneloop.data.schema import RowError

_FIELDS = tuple(LegalRecord.model_fields)
# They belong to every row of every format.
_ROW_FIELDS = ("weight", "score")
_ONLY_OURS = ({"facts", "statutes"}, {"facts", "judgment"}, {"facts", "syllogism"}, {"statutes", "syllogism"})
_MISTAKES_SHOWN = 3


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    known = {shape.columns.get(name, name) for name in (*_FIELDS, *_ROW_FIELDS)}
    unknown = [] if shape.only_columns else sorted(key for key in value if key not in known and value[key] is not None)
    if unknown:
        raise RowError("unknown_key", f"a legal record has no field '{unknown[0]}'. It has: {', '.join(_FIELDS)}")
    given = {name: shape.get(value, name) for name in _FIELDS}
    if isinstance(given["id"], int) and not isinstance(given["id"], bool):
        given["id"] = str(given["id"])
    meta = given.pop("meta")
    try:
        values = _without_nulls(given)
    except RecursionError:
        raise RowError("wrong_value", "the record is nested too deep") from None
    record = check_record(values | ({} if meta is None else {"meta": meta}))
    findings = validate(record)
    if findings:
        shown = "; ".join(f"{finding.where}: {finding.text}" for finding in findings[:_MISTAKES_SHOWN])
        more = f" (and {len(findings) - _MISTAKES_SHOWN} more)" if len(findings) > _MISTAKES_SHOWN else ""
        raise RowError(findings[0].code, shown + more)
    return record


def check_record(values: Mapping[str, Any]) -> LegalRecord:
    """The record of a tree of plain values.

    Raises:
        RowError: a field is missing, not known or wrong, with its name.
    """
    try:
        return LegalRecord.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        message = first["msg"].removeprefix("Value error, ")
        match first["type"]:
            case "missing":
                raise RowError("missing_key", f"'{where}' is missing") from None
            case "extra_forbidden":
                raise RowError("unknown_key", f"'{where}' is not known") from None
            case kind if kind.endswith(("_type", "_parsing")):
                raise RowError("wrong_type", f"'{where}': {message}") from None
            case _:
                raise RowError("wrong_value", f"'{where}': {message}") from None


def _without_nulls(value: Any) -> Any:
    """Null says the same as a field that is left out."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _write(content: Content) -> dict[str, Any]:
    if not isinstance(content, LegalRecord):
        raise RowError("not_expressible", "legal holds legal records only")
    written = content.model_dump(mode="json", exclude_defaults=True, exclude={"meta"})
    head = {name: written[name] for name in ("id", "doc_type") if name in written}
    # What pydantic does not know it could change on the way: meta stays as it is.
    tail = {"meta": content.meta} if content.meta else {}
    return {**head, "jurisdiction": content.jurisdiction, **written, **tail}


FORMAT = Format(
    name="legal",
    recognises=lambda value: any(names <= value.keys() for names in _ONLY_OURS),
    parse=_parse,
    write=_write,
    fields=_FIELDS,
)
