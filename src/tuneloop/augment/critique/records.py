"""What a critique run leaves behind beside its rows."""

from tuneloop.core.config import Config
from tuneloop.core.records import Record
from tuneloop.data.records import FileLedger
from tuneloop.evaluate.records import Interval


class TeacherError(Config):
    """How often a teacher's verdict is not true, where the right answer is known."""

    value: float
    interval: Interval
    n: int


class CritiqueRecord(Record):
    """asked = kept + the sum of `problems`."""

    kind: str = "critiques"
    files: tuple[FileLedger, ...]
    """Of the rows that were read."""
    teachers: tuple[str, ...]
    answers_from: str = ""
    """Who wrote the answers; "" where the rows hold them."""
    read: int
    asked: int
    """Answers times teachers."""
    kept: int
    problems: dict[str, int]
    verdicts: dict[str, int]
    """Of the rows that are kept: right, wrong."""
    teacher_error: TeacherError | None
    calls: int
    tokens: int
    cost: float
    rows_sha256: str
