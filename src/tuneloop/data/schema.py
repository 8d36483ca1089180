"""What a row is once it was read: a conversation, where it stood, or the reason why it is not one."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the assistant asks for."""

    name: str
    arguments: str
    """JSON text, as the model writes it."""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: str
    weight: float = 1.0
    """How much each of its tokens counts in the loss; only an assistant's turn is ever trained on."""
    tool_calls: tuple[ToolCall, ...] = ()
    """An assistant's turn may call tools beside its text, or in place of it."""
    name: str = ""
    """Who speaks, where that is said; for a tool's turn the tool."""
    tool_call_id: str = ""
    """For a tool's turn, the call that it answers, where the file names it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row stands: the file, and the line (counted from 1) on which it begins."""

    file: str
    line: int
    part: int = 0
    """Which part of a row that was divided, from 1; 0 for a whole row."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f"#{self.part}" if self.part else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation to learn from."""

    messages: tuple[Message, ...]
    origin: Origin
    weight: float = 1.0
    tools: str = ""
    """JSON text of the list of tools that the assistant may call; "" where there are none."""
    is_text: bool = False
    """Plain text to continue: one assistant's message, no question, no chat template."""
    score: float | None = None
    """How good, or how hard, the row is by its file's own account; a curriculum may order by it."""

    def before_answer(self) -> tuple[Message, ...]:
        """The conversation up to its last answer: what an evaluation asks."""
        return self.messages[:-1]

    def answer(self) -> str:
        """The last answer: what an evaluation compares with."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that is left out."""

    origin: Origin
    code: str
    """A stable name of the reason: `empty_answer`, `not_json` ..."""
    reason: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.reason} [{self.code}]"

    def as_json(self) -> dict[str, str | int]:
        """The problem as `data check --json` prints it."""
        return {"file": self.origin.file, "line": self.origin.line, "code": self.code, "reason": self.reason}


class RowError(Exception):
    """Raised inside the data stage for one row; always turned into a `Problem`."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
