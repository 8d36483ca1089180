"""Prompts and answers of rows that keep them apart: texts or turns, read to messages and written as turns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tuneloop.data.content import Conversation
from tuneloop.data.formats import messages as messages_format
from tuneloop.data.formats.pairs import parse_around
from tuneloop.data.formats.shape import MEDIA_FIELDS, Shape, text_of, type_name
from tuneloop.data.formats.tools import parse_tools
from tuneloop.data.formats.turns import TURN_FIELDS, as_list, looks_like_turns, parse_conversation, parse_turns
from tuneloop.data.schema import Message, RowError

AROUND_FIELDS = ("system", "history", "tools", *TURN_FIELDS, *MEDIA_FIELDS)
"""What every row of this kind may have beside its prompt and its answers."""
QUESTIONS = ("instruction", "question", "query")
"""Other names of a prompt that is text."""


@dataclass(frozen=True)
class Given:
    """What stands before the answers."""

    messages: tuple[Message, ...]
    tools: str = ""


def parse_given(value: Mapping[str, Any], shape: Shape, *others: str) -> Given | None:
    """The prompt of a row, as turns or as text with `system`, `history` and `input`; None where it has none.

    Answers inside it have weight 0: whoever wrote the row says something about the answer after it, and nothing
    about these. The prompt is found as `prompt` or under one of `others`.

    Raises:
        RowError: it is neither, or holds pictures.
    """
    found = _turns_or_same(shape.get(value, "prompt", *others))
    if found is None:
        return None
    name = shape.name_of(value, "prompt", *others)
    if isinstance(found, list):
        renamed = replace(shape, columns={**shape.columns, "messages": name})
        conversation = parse_conversation({**value, name: found}, renamed)
        return Given(unlearned(conversation.messages), conversation.tools)
    question = text_of(found, name)
    # Only beside an instruction is `input` the rest of the question; elsewhere it is somebody else's column.
    if name == "instruction" or "input" in shape.columns:
        question = "\n".join(
            part for part in (question, text_of(shape.get(value, "input"), "input", required=False)) if part
        )
    conversation = parse_around(value, shape, question, "")
    return Given(unlearned(conversation.messages[:-1]), conversation.tools)


def parse_answer(found: object, shape: Shape, name: str) -> tuple[Message, ...]:
    """One answer: its text, its turn, or a list of turns, which may also be a whole conversation.

    Raises:
        RowError: it is missing, empty, or something else.
    """
    found = _turns_or_same(found)
    match found:
        case None:
            raise RowError("empty_answer", f"'{name}' is missing or null")
        case str():
            answer: tuple[Message, ...] = (Message("assistant", found),)
        case list():
            answer = parse_turns(found, shape, name)
        case Mapping():
            answer = parse_turns([found], shape, name)
        case _:
            raise RowError(
                "wrong_type", f"'{name}' is {type_name(found)}; an answer is text, a turn or a list of turns"
            )
    if not answer or not (answer[-1].content.strip() or answer[-1].tool_calls):
        raise RowError("empty_answer", f"'{name}' is empty")
    if answer[-1].role != "assistant":
        raise RowError("no_answer", f"'{name}' ends with the {answer[-1].role}: there is no answer in it")
    return answer


def split_answer(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """A conversation as what stands before its last answer, with weight 0, and that answer.

    The answer is all that follows the last question: calls of tools and their results too.
    """
    after = max(
        (index for index, message in enumerate(messages, start=1) if message.role in ("user", "system")), default=0
    )
    return unlearned(messages[:after]), messages[after:]


def with_row_fields(value: Mapping[str, Any], shape: Shape, messages: tuple[Message, ...]) -> Given:
    """Turns with the row's own `system` and `tools`.

    Raises:
        RowError: one of them has the wrong type, or the row holds pictures.
    """
    shape.refuse_media(value)
    system = text_of(shape.get(value, "system", "system_prompt"), "system", required=False)
    if system:
        messages = (Message("system", system), *messages)
    return Given(messages, parse_tools(shape.get(value, "tools")))


def unlearned(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The same turns, with weight 0 for each answer."""
    return tuple(replace(message, weight=0.0) if message.role == "assistant" else message for message in messages)


def write_given(prompt: tuple[Message, ...], format_name: str) -> list[dict[str, Any]]:
    """A prompt as turns. Its answers are not learned, and no weight says so: a prompt never is.

    Raises:
        RowError: `not_expressible`, where an answer in it is learned.
    """
    if unlearned(prompt) != prompt:
        raise RowError("not_expressible", f"{format_name} learns no answer that stands in the prompt")
    plain = (replace(message, weight=1.0) if message.role == "assistant" else message for message in prompt)
    return write_turns(tuple(plain))


def write_answer(answer: tuple[Message, ...], format_name: str) -> list[dict[str, Any]]:
    """An answer as turns.

    Raises:
        RowError: `not_expressible`, where it is empty, or reading it would find another prompt.
    """
    ends = (answer[0], answer[-1]) if answer else ()
    has_text = bool(answer) and (answer[-1].content.strip() or answer[-1].tool_calls)
    if not has_text or any(message.role != "assistant" for message in ends):
        raise RowError(
            "not_expressible", f"in {format_name} an answer begins and ends with the assistant, and is not empty"
        )
    return write_turns(answer)


def write_turns(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Messages as OpenAI writes them.

    Raises:
        RowError: `not_expressible`.
    """
    return messages_format.FORMAT.write(Conversation(messages))["messages"]


def _turns_or_same(found: object) -> object:
    """Turns that a table keeps as JSON text, as a list; an answer that is itself a JSON list stays text."""
    listed = as_list(found)
    return listed if listed and looks_like_turns(listed) else found
