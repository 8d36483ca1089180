"""One answer and whether it was wanted: `{"prompt", "completion", "label"}`, the rows of KTO (arXiv:2402.01306)."""

from collections.abc import Mapping
from typing import Any

from tuneloop.data.content import Content, Feedback
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import Shape, type_name
from tuneloop.data.formats.sides import (
    AROUND_FIELDS,
    QUESTIONS,
    parse_answer,
    parse_given,
    split_answer,
    with_row_fields,
    write_answer,
    write_given,
)
from tuneloop.data.formats.tools import write_tools
from tuneloop.data.schema import RowError

_ANSWERS = ("output", "response", "answer")
_TURNS = ("messages", "conversations", "conversation")
_WORDS = {"true": True, "false": False, "1": True, "0": False}


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    is_desirable = _parse_label(value, shape)
    found, name = shape.get(value, "completion", *_ANSWERS), shape.name_of(value, "completion", *_ANSWERS)
    if found is None and (turns := shape.get(value, *_TURNS)) is not None:
        found, name = turns, shape.name_of(value, *_TURNS)
    answer = parse_answer(found, shape, name)
    if answer[0].role != "assistant":
        whole = with_row_fields(value, shape, answer)
        prompt, answer = split_answer(whole.messages)
        return Feedback(prompt, answer, is_desirable, whole.tools)
    given = parse_given(value, shape, *QUESTIONS)
    if given is None:
        raise RowError("missing_key", f"'prompt' is missing, and '{name}' is no whole conversation")
    return Feedback(given.messages, answer, is_desirable, given.tools)


def _parse_label(value: Mapping[str, Any], shape: Shape) -> bool:
    found = shape.get(value, "label", "kto_tag")
    if found is None:
        raise RowError("missing_key", "'label' is missing or null: was the answer wanted?")
    # Tables of text write a truth value as a word.
    known = _WORDS.get(str(found).strip().lower()) if isinstance(found, bool | int | str) else None
    if known is None:
        shown = repr(found[:40]) if isinstance(found, str) else type_name(found)
        raise RowError("wrong_type", f"'label' is {shown}, not true or false")
    return known


def _write(content: Content) -> dict[str, Any]:
    if not isinstance(content, Feedback):
        raise RowError("not_expressible", "kto holds answers with a label only")
    written: dict[str, Any] = {
        "prompt": write_given(content.prompt, "kto"),
        "completion": write_answer(content.completion, "kto"),
        "label": content.is_desirable,
    }
    if tools := write_tools(content.tools):
        written["tools"] = tools
    return written


def _recognises(value: Mapping[str, Any]) -> bool:
    has_label = isinstance(value.get("label"), bool) or "kto_tag" in value
    has_turns = any(isinstance(value.get(key), list) for key in _TURNS)
    has_prompt = any(key in value for key in ("prompt", *QUESTIONS))
    has_answer = any(key in value for key in ("completion", *_ANSWERS))
    has_whole = isinstance(value.get("completion"), list)
    return has_label and (has_turns or has_whole or (has_prompt and has_answer))


FORMAT = Format(
    name="kto",
    recognises=_recognises,
    parse=_parse,
    write=_write,
    fields=("prompt", "completion", "label", "messages", "input", *AROUND_FIELDS),
)
