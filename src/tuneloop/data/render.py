"""Contents to the rows that training sees: one conversation, or one text, a content."""

from typing import assert_never

from tuneloop.data.config import Render
from tuneloop.data.content import Content, Conversation, Critique, Example, Feedback, Preference, Text
from tuneloop.data.formats.check import check_messages
from tuneloop.data.legal.record import LegalRecord
from tuneloop.data.schema import Message, Origin, Row, RowError


def to_row(example: Example, render: Render, origin: Origin, *, weight: float = 1.0) -> Row:
    """What is learned from an example; `weight` is that of its file.

    Raises:
        RowError: the content is no sound conversation, or cannot be rendered so.
    """
    conversation = to_conversation(example.content, render)
    is_text = isinstance(example.content, Text)
    if is_text:
        if not conversation.messages[0].content.strip():
            raise RowError("empty_text", "the text is empty")
    else:
        check_messages(conversation.messages)
    return Row(
        conversation.messages,
        origin,
        weight=example.weight * weight,
        tools=conversation.tools,
        is_text=is_text,
        score=example.score,
    )


def to_conversation(content: Content, render: Render) -> Conversation:
    """The turns that a content stands for.

    Raises:
        RowError: it cannot be rendered so.
    """
    match content:
        case Conversation():
            return content
        case Text():
            return Conversation((Message("assistant", content.text),))
        case Preference() | Feedback() | Critique() | LegalRecord():
            raise RowError("not_expressible", f"no rendering {render}")
        case unreachable:
            assert_never(unreachable)
