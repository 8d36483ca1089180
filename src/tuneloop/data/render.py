"""Contents to the rows that training sees: one conversation, or one text, a content."""

from typing import assert_never

from tuneloop.data.config import Render
from tuneloop.data.content import Content, Conversation, Critique, Example, Feedback, Preference, Text
from tuneloop.data.formats.check import check_messages
from tuneloop.data.formats.critique import layout_of
from tuneloop.data.legal.record import LegalRecord
from tuneloop.data.legal.render import render_record
from tuneloop.data.schema import Message, Origin, Row, RowError


def to_row(example: Example, render: Render, origin: Origin, *, weight: float = 1.0) -> Row:
    """What is learned from an example; `weight` is that of its file.

    Raises:
        RowError: the content is no sound conversation, or cannot be rendered so.
    """
    conversation = to_conversation(example.content, render)
    is_text = isinstance(example.content, Text)
    if is_text:
        _check_text(conversation.messages[0].content)
    else:
        check_messages(conversation.messages, conversation.tools)
    return Row(
        conversation.messages,
        origin,
        weight=example.weight * weight,
        tools=conversation.tools,
        is_text=is_text,
        score=example.score,
    )


def _check_text(text: str) -> None:
    if not text.strip():
        raise RowError("empty_text", "the text is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError("lone_surrogate", "the text has half of a surrogate pair: it is not valid text") from error


def to_conversation(content: Content, render: Render) -> Conversation:
    """The turns that a content stands for.

    A text becomes one answer without a question. Of a preference the chosen answer is learned, of feedback the
    answer if it was wanted, of a critique the critique: in the words of arXiv:2501.17703, or the same in Chinese
    where the question is Chinese. What stands in the prompt keeps its weight, 0 in rows that were read.

    Raises:
        RowError: `cannot_render`: another rendering fits; `not_desirable`: the answer is marked as unwanted.
    """
    match content:
        case Conversation():
            _require(render, "a conversation", "auto")
            return content
        case Text():
            _require(render, "a text", "auto")
            return Conversation((Message("assistant", content.text),))
        case Preference():
            _require(render, "a preference pair", "auto", "chosen")
            return Conversation(content.prompt + content.chosen, content.tools)
        case Feedback():
            _require(render, "an answer with a label", "auto")
            if not content.is_desirable:
                raise RowError(
                    "not_desirable", "left out: the answer is marked as unwanted, and this run learns answers"
                )
            return Conversation(content.prompt + content.completion, content.tools)
        case Critique():
            _require(render, "a critique", "auto", "critique")
            return _render_critique(content)
        case LegalRecord():
            if render == "chosen" or render == "critique":  # noqa: PLR1714 - the type checker follows only this
                raise _cannot(render, "a legal record", "auto", "answer", "charge", "syllogism")
            return render_record(content, render)
        case unreachable:
            assert_never(unreachable)


def _render_critique(critique: Critique) -> Conversation:
    layout = layout_of(critique)
    asked = f"{layout.instruction}\n{layout.question_text(critique)}"
    return Conversation((Message("user", asked), Message("assistant", critique.critique)))


def _require(render: Render, name: str, *fitting: Render) -> None:
    if render not in fitting:
        raise _cannot(render, name, *fitting)


def _cannot(render: Render, name: str, *fitting: Render) -> RowError:
    return RowError("cannot_render", f"{name} cannot be rendered as {render!r}; what fits is {', '.join(fitting)}")
