"""What a look at files of rows leaves behind: profiles, findings, tokens; plain values that a page can show."""

from typing import Literal

from tuneloop.core.config import Config
from tuneloop.data.records import FileLedger, SplitSummary

FindingKind = Literal["near_duplicate", "contradiction", "leak_exact", "leak_near", "leak_ngram"]


class Histogram(Config):
    """Counts between edges: counts[i] values lie from edges[i] to below edges[i + 1] (the last edge included)."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Mark(Config):
    """Something that rows of a file have, with the first rows that have it."""

    code: str
    rows: int
    meaning: str
    """One line, in English."""
    meaning_zh: str
    """The same in Chinese."""
    examples: tuple[str, ...]
    """`file:line` of the first rows."""


class FileProfile(Config):
    """The good rows of one file."""

    path: str
    rows: int
    turns: dict[str, int]
    """Messages without the system turn -> number of rows."""
    characters: Histogram
    languages: dict[str, int]
    """ISO code -> rows; `und` where a text is too short to say."""
    personal: tuple[Mark, ...]
    """Personal data and secrets, by kind."""
    health: tuple[Mark, ...]
    """What looks wrong with texts, by code."""


class Finding(Config):
    """Rows that should not stand together."""

    kind: FindingKind
    rows: tuple[str, ...]
    """`file:line` of each; of a leak first the training row, then the held-out one."""
    similarity: float | None = None
    text: str
    """The beginning of what they say."""


class FindingGroup(Config):
    """All findings of one kind: how many, and the first of them."""

    kind: FindingKind
    count: int
    rows: int
    """Rows that take part."""
    examples: tuple[Finding, ...]


class TokenProfile(Config):
    """What a model's tokenizer and template make of the rows."""

    template: str
    contract_hash: str
    cutoff_len: int
    overlong: str
    """The policy."""
    lengths: Histogram
    """Tokens of every row that could be encoded, too long or not."""
    overlong_rows: int
    target_tokens: int
    lost_target_tokens: int
    """Targets of the rows that are left out as too long."""
    cut_target_tokens: int
    """Targets that would be lost silently if long rows were cut at `cutoff_len` instead."""
    train: SplitSummary
    eval: SplitSummary | None


class DataReport(Config):
    """The answer of `data check`."""

    files: tuple[FileLedger, ...]
    profiles: tuple[FileProfile, ...]
    findings: tuple[FindingGroup, ...]
    tokens: TokenProfile | None = None
    """None without a model."""
    skipped: tuple[str, ...] = ()
    """What was not looked for, and why."""
    notes: tuple[str, ...] = ()

    @property
    def read(self) -> int:
        """Rows read, over all files."""
        return sum(file.read for file in self.files)

    @property
    def kept(self) -> int:
        """Rows that can be used."""
        return sum(file.kept for file in self.files)
