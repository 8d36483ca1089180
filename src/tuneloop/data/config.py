"""Which rows a run reads, and what happens to those that do not fit."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tuneloop.core.config import Config

FormatName = Literal["auto", "alpaca", "sharegpt", "messages"]


class FileSpec(Config):
    """One file of labelled rows. A plain string in the recipe means `{path: ...}`."""

    path: str
    """JSONL, or JSON with one array. Relative to the recipe's folder."""
    format: FormatName = "auto"
    """`auto` looks at the keys of the first rows and says what it found."""
    weight: float = Field(default=1.0, gt=0)
    """How much each row of this file counts in the loss."""


def _spec(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


Files = tuple[Annotated[FileSpec, BeforeValidator(_spec, json_schema_input_type=str | FileSpec)], ...]


class DataConfig(Config):
    """Rows, their split, and the policy for rows that are too long, doubled or broken."""

    train: Files = Field(min_length=1)
    eval: Files = ()
    """Held-out rows. Where none are given, `eval_fraction` of the training rows is held out."""
    eval_fraction: float = Field(default=0.1, ge=0, le=0.9)
    """Share of the rows that is held out; not used where `eval` names files."""
    max_eval_rows: int | None = Field(default=None, gt=0)
    """At most so many held-out rows, chosen by the seed."""
    max_samples: int | None = Field(default=None, gt=0)
    """At most so many training rows, chosen by the seed."""
    cutoff_len: int = Field(default=1024, ge=8)
    """Longest row, in tokens."""
    overlong: Literal["drop", "error"] = "drop"
    """A row above `cutoff_len` is left out and counted, or stops the run. An answer is never cut."""
    duplicates: Literal["drop", "keep"] = "drop"
    """An exact copy of an earlier row is left out and counted, or kept. A training row that stands among the
    held-out rows is always left out."""
    template: str = "auto"
    """How a conversation becomes text: `auto` (the model's own chat template; one of ours where the model's adds
    hidden system text and is otherwise the same), `model`, or a name: chatml, llama3, gemma, mistral, plain."""
    train_on: Literal["all", "last"] = "all"
    """Which answers of a conversation are learned: all of them, or only the last."""
    strict: bool = False
    """Stop at the first bad row, rather than count it."""
