"""What a task is: a file that says how rows become questions, and answers become scores."""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from tuneloop.core.config import Config
from tuneloop.core.errors import ConfigError
from tuneloop.core.store import hash_json
from tuneloop.evaluate.metrics.options import MetricOptions
from tuneloop.evaluate.metrics.registry import expand_metrics
from tuneloop.evaluate.tasks.filters import check_filter
from tuneloop.evaluate.tasks.wording import check_expression, check_template
from tuneloop.generate.config import GenerateConfig


class ScoreConfig(Config):
    """One measure over the outputs. Several of them look at the same outputs, each through filters of its own."""

    metric: str
    """As `tuneloop score` names it: gsm8k, choice, rougeL, codebleu:python, pass@1 ..."""
    name: str = ""
    """What the table calls it; the metric's own name where it is empty."""
    filters: tuple[str, ...] = ()
    """How the answer is found in the output, one after the other: `strip`, `number`, `code`, `regex:...` ..."""
    options: MetricOptions = MetricOptions()

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        try:
            expand_metrics([metric])
        except ConfigError as error:
            raise ValueError(str(error).removesuffix(".")) from error
        return metric

    @field_validator("filters")
    @classmethod
    def _usable(cls, filters: tuple[str, ...]) -> tuple[str, ...]:
        for name in filters:
            check_filter(name)
        return filters


class TaskConfig(Config):
    """A benchmark. Templates and expressions are Jinja over the columns of a row, and nothing else."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    version: int = Field(ge=1)
    """Raised whenever a number could come out otherwise."""
    description: str
    source: str = ""
    """Who published it, and where."""
    language: str = "auto"
    """Of the references: `zh`, `en`, or `auto`."""
    where: str = ""
    """An expression: rows for which it is false are left out. Empty: all."""
    system: str | None = None
    """A template. None: no system turn beside what the model's own template adds."""
    prompt: str
    """A template: what the user asks."""
    reference: str
    """An expression: a text, or a list of texts of which each is right."""
    document: str = ""
    """An expression: the text that the answer is about, whose length sorts the row into a bin. Empty: the prompt."""
    shots: tuple[dict[str, Any], ...] = ()
    """Rows of the same columns that are shown with their `shot` before the question, turn by turn."""
    shot: str = ""
    """A template: the answer of a shown row. Empty: its reference."""
    generate: GenerateConfig = GenerateConfig()
    scores: tuple[ScoreConfig, ...] = Field(min_length=1)

    @field_validator("prompt", "system", "shot")
    @classmethod
    def _is_template(cls, text: str | None) -> str | None:
        if text:
            check_template(text)
        return text

    @field_validator("where", "reference", "document")
    @classmethod
    def _is_expression(cls, text: str) -> str:
        if text:
            check_expression(text)
        return text

    @field_validator("scores")
    @classmethod
    def _distinct(cls, scores: tuple[ScoreConfig, ...]) -> tuple[ScoreConfig, ...]:
        names = [score.name or score.metric for score in scores]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two scores are called {twice[0]!r}: give one of them a name of its own")
        return scores

    @property
    def hash(self) -> str:
        """Over everything that decides a number; two runs compare only where it is equal."""
        return hash_json(self.model_dump(mode="json", exclude={"description", "source"}))

    def inside(self, folder: Path) -> "TaskConfig":
        """The same task; files that it names are looked for beside it."""
        scores = tuple(score.replace(options=score.options.inside(folder)) for score in self.scores)
        return self.replace(scores=scores)
