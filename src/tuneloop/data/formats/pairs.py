"""Questions and answers in pairs: `{"query", "response", "history", "system"}` and `{"conversation": [pair, ...]}`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneloop.data.content import Content, Conversation
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import MEDIA_FIELDS, Shape, text_of, type_name
from tuneloop.data.formats.tools import parse_tools, write_tools
from tuneloop.data.formats.turns import as_list, parse_weight, require_conversation
from tuneloop.data.schema import Message, RowError

_QUESTIONS = ("query", "question", "prompt", "input")
_ANSWERS = ("response", "answer", "output")
_PAIRS = (("human", "assistant"), ("input", "output"))


@dataclass(frozen=True)
class Exchange:
    """A conversation of plain questions and answers."""

    system: str
    history: list[list[str]]
    """[question, answer] before the last."""
    question: str
    answer: str
    tools: str = ""

    def conversation(self) -> Conversation:
        """The same as messages."""
        messages = [Message("system", self.system)] if self.system else []
        for question, answer in [*self.history, [self.question, self.answer]]:
            messages += [Message("user", question), Message("assistant", answer)]
        return Conversation(tuple(messages), self.tools)


def parse_around(value: Mapping[str, Any], shape: Shape, question: str, answer: str) -> Conversation:
    """What stands around the last question and answer of a row: `system`, `history`, `tools`.

    Raises:
        RowError: one of them has the wrong type, or the row holds pictures.
    """
    shape.refuse_media(value)
    system = text_of(shape.get(value, "system", "system_prompt"), "system", required=False)
    history = _parse_history(shape.get(value, "history"))
    tools = parse_tools(shape.get(value, "tools"))
    return Exchange(system, history, question, answer, tools).conversation()


def _parse_history(found: object) -> list[list[str]]:
    history = as_list(found)
    if history is None or history == "":
        return []
    if not isinstance(history, list):
        raise RowError("wrong_type", f"'history' is {type_name(history)}, not a list of [question, answer] pairs")
    for pair in history:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):  # noqa: PLR2004 - a pair
            raise RowError("wrong_type", "history is a list of [question, answer] pairs of text")
    return history


def require_exchange(content: Content, format_name: str) -> Exchange:
    """The conversation to write as pairs.

    Raises:
        RowError: `not_expressible`, where it is more than questions and answers of equal weight.
    """
    conversation = require_conversation(content, format_name)
    messages = list(conversation.messages)
    system = messages.pop(0).content if messages and messages[0] == Message("system", messages[0].content) else None
    plain = [Message(("user", "assistant")[index % 2], message.content) for index, message in enumerate(messages)]
    if messages != plain or not messages or len(messages) % 2 or system == "":
        raise RowError(
            "not_expressible",
            f"{format_name} holds questions and answers in turn: no tool turns or calls, names, or weights of turns",
        )
    write_tools(conversation.tools)
    texts = [message.content for message in messages]
    pairs = [[question, answer] for question, answer in zip(texts[::2], texts[1::2], strict=True)]
    question, answer = pairs.pop()
    return Exchange(system or "", pairs, question, answer, conversation.tools)


def written_around(exchange: Exchange) -> dict[str, Any]:
    """The fields beside question and answer, where they say something."""
    around = {"system": exchange.system, "history": exchange.history, "tools": exchange.tools}
    return {key: value for key, value in around.items() if value}


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    conversation = as_list(shape.get(value, "conversation", "conversations"))
    if isinstance(conversation, list):
        return _parse_pairs(value, conversation, shape)
    question = text_of(shape.get(value, *_QUESTIONS), "query")
    answer = text_of(shape.get(value, *_ANSWERS), "response", missing="empty_answer")
    return parse_around(value, shape, question, answer)


def _parse_pairs(value: Mapping[str, Any], pairs: list[Any], shape: Shape) -> Conversation:
    shape.refuse_media(value)
    system = text_of(shape.get(value, "system", "system_prompt"), "system", required=False)
    messages = [Message("system", system)] if system else []
    for index, pair in enumerate(pairs):
        where = f"conversation[{index}]"
        if not isinstance(pair, Mapping):
            raise RowError("wrong_type", f"{where} is {type_name(pair)}, not an object")
        human, assistant = next((names for names in _PAIRS if pair.get(names[0]) is not None), _PAIRS[0])
        if own_system := text_of(pair.get("system"), f"{where}.system", required=False):
            messages.append(Message("system", own_system))
        question = text_of(pair.get(human), f"{where}.{human}")
        answer = text_of(pair.get(assistant), f"{where}.{assistant}", missing="empty_answer")
        weight = parse_weight(pair.get("output_with_loss"), where)
        messages += [Message("user", question), Message("assistant", answer, weight)]
    return Conversation(tuple(messages), parse_tools(shape.get(value, "tools")))


def _write(content: Content) -> dict[str, Any]:
    exchange = require_exchange(content, "pairs")
    return {"query": exchange.question, "response": exchange.answer} | written_around(exchange)


def _recognises(value: Mapping[str, Any]) -> bool:
    conversation = next((value[key] for key in ("conversation", "conversations") if key in value), None)
    if isinstance(conversation, list):
        first = conversation[0] if conversation else None
        return isinstance(first, Mapping) and any(names[0] in first and names[1] in first for names in _PAIRS)
    return any(name in value for name in _QUESTIONS) and any(name in value for name in _ANSWERS)


FORMAT = Format(
    name="pairs",
    recognises=_recognises,
    parse=_parse,
    write=_write,
    fields=("query", "response", "history", "system", "conversation", "tools", *MEDIA_FIELDS),
)
