"""What an evaluation by a task leaves behind: scores, every sample, and what became of every row."""

from typing import Literal

from tuneloop.core.config import Config
from tuneloop.core.records import Record
from tuneloop.data.records import FileLedger
from tuneloop.evaluate.records import Comparison, Score


class TaskScore(Config):
    """One measure over the outputs, through its filters."""

    name: str
    filters: tuple[str, ...]
    score: Score
    without_answer: int = 0
    """Outputs in which the filters found nothing; they count as empty answers."""


class TaskComparison(Config):
    """A measure of two evaluations over the same questions: this one against another, paired."""

    name: str
    comparison: Comparison


class TaskSample(Config):
    """One question, what the model wrote, and what each measure thinks of it."""

    row: str
    prompt: str
    references: tuple[str, ...]
    outputs: tuple[str, ...]
    finished: tuple[bool, ...]
    prompt_tokens: int
    output_tokens: tuple[int, ...]
    document: str
    answers: dict[str, tuple[str | None, ...]]
    """Measure -> what its filters found in each output."""
    scores: dict[str, float]
    """Measure -> value of this sample alone."""


class TaskRecord(Record):
    """One model on one task."""

    kind: Literal["task"] = "task"
    task: str
    version: int
    task_sha256: str
    model: str
    identity_sha256: str
    """Over everything about the model that decides what it writes."""
    contract_hash: str | None
    """None: a server rendered the prompts by a template of its own."""
    questions_sha256: str
    """Over questions and references: two records compare only where these are equal."""
    files: tuple[FileLedger, ...]
    scores: tuple[TaskScore, ...]
    against: str = ""
    """The model that `comparisons` are with."""
    comparisons: tuple[TaskComparison, ...] = ()
    num_questions: int
    samples: str
    """The file of samples (JSONL), beside the record."""
    samples_sha256: str
    wall_s: float
    """Of the process that finished it, from the loaded model on."""
    generated_tokens: int
    """By all processes."""
    cut_outputs: int
    """Outputs that reached the limit of new tokens."""
    warnings: tuple[str, ...] = ()
