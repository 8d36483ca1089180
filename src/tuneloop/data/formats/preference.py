"""A better and a worse answer to one prompt: `{"prompt", "chosen", "rejected"}`, the rows of DPO (arXiv:2305.18290)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tuneloop.data.content import Content, Preference
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.formats.sides import (
    AROUND_FIELDS,
    QUESTIONS,
    parse_answer,
    parse_given,
    split_answer,
    unlearned,
    with_row_fields,
    write_answer,
    write_given,
)
from tuneloop.data.formats.tools import write_tools
from tuneloop.data.formats.turns import as_list
from tuneloop.data.schema import Message, RowError

_CHOSEN = ("chosen", "chosen_response")
_REJECTED = ("rejected", "rejected_response", "rejected_messages")
_TURNS = ("messages", "conversations", "conversation")


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    rejected_name = shape.name_of(value, *_REJECTED)
    found = shape.get(value, *_REJECTED)
    if found is None and (ranked := _ranked_outputs(value, shape)) is not None:
        return _explicit(value, shape, *(parse_answer(text, shape, "output") for text in ranked))
    rejected = parse_answer(found, shape, rejected_name)
    chosen_found = shape.get(value, *_CHOSEN)
    chosen_name = shape.name_of(value, *_CHOSEN)
    if chosen_found is None:
        # ms-swift: the chosen answer is the usual one, at the end of `messages` or as `response`.
        chosen_found, chosen_name = shape.get(value, *_TURNS, "response"), shape.name_of(value, *_TURNS, "response")
        if chosen_found is None:
            raise RowError("empty_answer", "'chosen' is missing or null")
    chosen = parse_answer(chosen_found, shape, chosen_name)
    if chosen[0].role != "assistant":
        return _implicit(value, shape, chosen, rejected)
    return _explicit(value, shape, chosen, rejected)


def _ranked_outputs(value: Mapping[str, Any], shape: Shape) -> tuple[object, object] | None:
    """LLaMA-Factory's first form: `output` is [better, worse]."""
    outputs = as_list(shape.get(value, "output"))
    if not isinstance(outputs, list):
        return None
    if len(outputs) != 2:  # noqa: PLR2004 - a pair
        raise RowError("wrong_type", f"'output' lists {len(outputs)} answers; a pair has two, the better one first")
    return outputs[0], outputs[1]


def _explicit(
    value: Mapping[str, Any], shape: Shape, chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> Preference:
    """The prompt stands beside the answers, as text or as turns."""
    turns = shape.get(value, *_TURNS)
    if turns is not None and shape.get(value, "prompt") is None:
        given = parse_given(value, replace(shape, columns={**shape.columns, "prompt": shape.name_of(value, *_TURNS)}))
    else:
        given = parse_given(value, shape, *QUESTIONS)
    if given is None:
        raise RowError("missing_key", "'prompt' is missing, and 'chosen' is no whole conversation")
    if rejected[0].role != "assistant":
        rejected = _after(given.messages, rejected)
    return _checked(Preference(given.messages, chosen, rejected, given.tools))


def _implicit(
    value: Mapping[str, Any], shape: Shape, chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> Preference:
    """`chosen` is a whole conversation: the prompt is what it shares with `rejected`, up to a question."""
    if rejected[0].role == "assistant":
        whole = with_row_fields(value, shape, chosen)
        prompt, answer = split_answer(whole.messages)
        return _checked(Preference(prompt, answer, rejected, whole.tools))
    whole, other = with_row_fields(value, shape, chosen), with_row_fields(value, shape, rejected)
    num_shared = 0
    for ours, theirs in zip(whole.messages[:-1], other.messages[:-1], strict=False):
        if ours != theirs:
            break
        num_shared += 1
    part_with = {messages[num_shared].role for messages in (whole.messages, other.messages)}
    if not part_with <= {"assistant", "tool"}:
        raise RowError("prompts_differ", "'chosen' and 'rejected' answer different questions")
    while num_shared and whole.messages[num_shared - 1].role == "assistant":
        num_shared -= 1
    prompt = unlearned(whole.messages[:num_shared])
    return _checked(Preference(prompt, whole.messages[num_shared:], other.messages[num_shared:], whole.tools))


def _after(prompt: tuple[Message, ...], whole: tuple[Message, ...]) -> tuple[Message, ...]:
    """The answer of a whole conversation that begins with the prompt; a system turn may be left out of it."""
    for start in (prompt, prompt[1:] if prompt and prompt[0].role == "system" else prompt):
        if unlearned(whole[: len(start)]) == start and len(whole) > len(start):
            return whole[len(start) :]
    raise RowError("prompts_differ", "'rejected' does not begin with the prompt of 'chosen'")


def _checked(preference: Preference) -> Preference:
    for name, answer in (("chosen", preference.chosen), ("rejected", preference.rejected)):
        if answer[0].role != "assistant":
            raise RowError("prompts_differ", f"'{name}' goes on with the {answer[0].role} where the prompts part")
    if unlearned(preference.chosen) == unlearned(preference.rejected):
        raise RowError("same_answers", "'chosen' and 'rejected' are the same: nothing is preferred")
    return preference


def _write(content: Content) -> dict[str, Any]:
    if not isinstance(content, Preference):
        raise RowError("not_expressible", "preference holds pairs of answers only")
    if unlearned(content.chosen) == unlearned(content.rejected):
        raise RowError("not_expressible", "both answers are the same")
    written: dict[str, Any] = {
        "prompt": write_given(content.prompt, "preference"),
        "chosen": write_answer(content.chosen, "preference"),
        "rejected": write_answer(content.rejected, "preference"),
    }
    if tools := write_tools(content.tools):
        written["tools"] = tools
    return written


def _recognises(value: Mapping[str, Any]) -> bool:
    if any(value.get(name) is not None for name in _REJECTED):
        return True
    outputs = value.get("output")
    return "instruction" in value and isinstance(outputs, list) and len(outputs) == 2  # noqa: PLR2004 - a pair


FORMAT = Format(
    name="preference",
    recognises=_recognises,
    parse=_parse,
    write=_write,
    fields=("prompt", "chosen", "rejected", "messages", "input", "output", *AROUND_FIELDS),
)
