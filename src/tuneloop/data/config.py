"""Which rows a run reads, and what happens to those that do not fit."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tuneloop.core.config import Config

FormatName = Literal[
    "auto",
    "alpaca",
    "sharegpt",
    "messages",
    "pairs",
    "prompt_completion",
    "text",
    "preference",
    "kto",
    "critique",
    "legal",
    "cail",
    "disc_law",
    "segments",
]
"""One page of docs/formats describes each."""

Render = Literal["auto", "chosen", "critique", "answer", "charge", "syllogism"]


class FileSpec(Config):
    """One source of rows. A plain string in the recipe means `{path: ...}`."""

    path: str
    """A file, a folder, a pattern such as `cases/*.jsonl.gz`, or `hf:ORG/NAME`. Relative to the recipe's folder.
    JSONL, JSON array, CSV, TSV, Parquet, Arrow, plain text; gzip or zstd."""
    format: FormatName = "auto"
    """`auto` looks at the keys of the first rows and says what it found."""
    columns: dict[str, str] = Field(default_factory=dict)
    """What the file calls a field: `{instruction: question, output: reply, messages: dialog, messages.role: speaker,
    messages.content: says, messages.weight: train}`. A field that is not named keeps the format's own name."""
    only_columns: bool = False
    """Read no field that `columns` does not name."""
    roles: dict[str, Literal["system", "user", "assistant", "tool", "function_call"]] = Field(default_factory=dict)
    """Names of roles beyond those that every format knows: `{doctor: assistant, patient: user}`."""
    render: Render = "auto"
    """Which conversation is made of a richer row: `chosen` of a preference pair, `critique` of a critique row;
    `answer` (question to reasoned answer), `charge` (facts to charge) or `syllogism` (facts and statutes to
    syllogism) of a legal record. `auto` takes chosen, critique, or what the legal record holds."""
    train_on: Literal["all", "last"] | None = None
    """Which answers of this file are learned; None: as data.train_on says."""
    subset: str | None = None
    """The configuration of a hub data set, where it has several."""
    split: str = "train"
    """The split of a hub data set."""
    revision: str | None = None
    """The revision of a hub data set."""
    num_samples: int | None = Field(default=None, gt=0)
    """At most so many rows of this file, chosen by the seed."""
    epochs: float = Field(default=1.0, gt=0, le=100)
    """How often each row of this file comes in one epoch of the run: 2 doubles it, 0.5 takes another half each time."""
    weight: float = Field(default=1.0, gt=0)
    """How much each row of this file counts in the loss."""


def _spec(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


Files = tuple[Annotated[FileSpec, BeforeValidator(_spec, json_schema_input_type=str | FileSpec)], ...]


class SplitConfig(Config):
    """How rows are held out where no file names them."""

    stratify: Literal["file"] | None = None
    """Hold out the same share of every file."""
    keep_together: Literal["near_duplicates"] | None = None
    """Rows that nearly repeat each other stay on one side."""


class MixingConfig(Config):
    """How much of each file an epoch holds."""

    temperature: float | None = Field(default=None, ge=1)
    """A file's share of an epoch is proportional to its rows to the power of 1 / temperature: 1 as they are, large
    values nearly equal shares. None: `epochs` of each file says it."""


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
    overlong: Literal["drop", "truncate_prompt", "split_turns", "error"] = "drop"
    """What becomes of a row above `cutoff_len`. `drop`: left out and counted. `truncate_prompt`: the middle of its
    longest question is left out until it fits. `split_turns`: whole exchanges are kept together in rows that fit,
    each with the system turn; plain text is cut into stretches. `error`: the run stops. An answer is never cut."""
    duplicates: Literal["drop", "keep"] = "drop"
    """An exact copy of an earlier row is left out and counted, or kept. A training row that stands among the
    held-out rows is always left out."""
    near_duplicates: Literal["keep", "drop"] = "keep"
    """A training row that nearly repeats an earlier one, or a held-out one, is kept, or left out and counted."""
    near_threshold: float = Field(default=0.8, gt=0.3, le=1)
    """From this Jaccard similarity of their shingles on, two rows are near-duplicates."""
    personal: Literal["keep", "mask", "drop"] = "keep"
    """Rows with personal data or secrets (identity numbers, phones, cards, e-mail, keys): kept, kept with a
    placeholder in each place, or left out and counted."""
    split: SplitConfig = SplitConfig()
    mixing: MixingConfig = MixingConfig()
    order: Literal["shuffle", "length", "score", "file"] = "shuffle"
    """The order of an epoch: by chance, from short to long, from low to high `score` (a curriculum), or as it is."""
    streaming: bool = False
    """Begin to train while the rows are still being read. Needs `max_steps` in every stage, and `eval` files or
    `eval_fraction: 0`; rows are shuffled within windows of `shuffle_window`."""
    shuffle_window: int = Field(default=16_384, ge=1)
    """Rows that are shuffled among themselves where `streaming` is on."""
    template: str = "auto"
    """How a conversation becomes text: `auto` (the model's own chat template; one of ours where the model's adds
    hidden system text and is otherwise the same), `model`, or a name: chatml, llama3, gemma, mistral, plain."""
    train_on: Literal["all", "last"] = "all"
    """Which answers of a conversation are learned: all of them, or only the last."""
    strict: bool = False
    """Stop at the first bad row, rather than count it."""
