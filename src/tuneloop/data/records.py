"""What the data stage leaves behind: which rows were read, kept, left out, and why."""

from typing import Literal

from tuneloop.core.config import Config
from tuneloop.core.records import Record


class FileLedger(Config):
    """One file: read + added = kept + every named reason."""

    path: str
    sha256: str
    format: str
    """The row format, as given or as found out: alpaca, sharegpt, messages ..."""
    read: int
    kept: int
    problems: dict[str, int]
    """Reason code -> number of rows."""
    added: int = 0
    """Rows that came of dividing longer ones (`overlong: split_turns`), beyond the first part of each."""
    truncated: int = 0
    """Kept or not, rows whose question was shortened (`overlong: truncate_prompt`)."""
    streamed: bool = False
    """The file was read while the model learned, so this ledger, made before, counts nothing."""


class LengthSummary(Config):
    """Tokens a row, over the kept rows."""

    mean: float
    median: float
    p95: float
    longest: int


class SplitSummary(Config):
    """One side of the split, as it reaches the batches."""

    rows: int
    tokens: int
    target_tokens: int
    lengths: LengthSummary | None = None
    """None where the split is empty."""


class DatasetRecord(Record):
    """The ledger of one round's rows."""

    kind: Literal["dataset"] = "dataset"
    round: int = 1
    files: tuple[FileLedger, ...]
    read: int
    kept: int
    problems: dict[str, int]
    train: SplitSummary
    eval: SplitSummary
    rows_sha256: str
    """Over the encoded files, which of their rows are used, and the order and weights of these."""
    contract: dict[str, object]
    """The prompt contract in full."""
    contract_hash: str
    notes: tuple[str, ...] = ()
    """What a person should know, for example text that the chat template adds by itself."""
