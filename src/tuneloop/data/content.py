"""What a row of a file can be: one closed union, whatever shape it was written in."""

from dataclasses import dataclass

from tuneloop.data.legal.record import LegalRecord
from tuneloop.data.schema import Message


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns to learn from."""

    messages: tuple[Message, ...]
    tools: str = ""
    """JSON text of the list of tool definitions (OpenAI's shape); "" where there are none."""


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text, every token of which is learned."""

    text: str


@dataclass(frozen=True, slots=True)
class Preference:
    """Two ways to go on after the same prompt, one better than the other."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: str = ""


@dataclass(frozen=True, slots=True)
class Feedback:
    """One answer and whether it was wanted (the rows of KTO, arXiv:2402.01306)."""

    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    is_desirable: bool
    tools: str = ""


@dataclass(frozen=True, slots=True)
class Critique:
    """A question, somebody's answer, and a critique that ends in a verdict (arXiv:2501.17703)."""

    question: str
    answer: str
    critique: str
    is_right: bool | None = None
    """None where the critique gives no verdict."""


Content = Conversation | Text | Preference | Feedback | Critique | LegalRecord


@dataclass(frozen=True, slots=True)
class Example:
    """One content with what its row says about it."""

    content: Content
    weight: float = 1.0
    """How much the row counts in the loss."""
    id: str = ""
    score: float | None = None
