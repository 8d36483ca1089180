"""Who judges, in which language, by which criteria."""

import unicodedata

from pydantic import Field, field_validator, model_validator

from tuneloop.core.config import Config
from tuneloop.generate.endpoint_config import EndpointConfig

LOWEST, HIGHEST = 1, 5
"""The scale of every criterion."""


class Criterion(Config):
    """One thing that answers are rated on, from 1 to 5."""

    name: str = Field(min_length=1, max_length=60)
    """What the judge calls it in its verdict; unique, on one line."""
    question: str = Field(min_length=1)
    """What the judge asks itself."""
    anchors: dict[int, str]
    """What a rating means, in words: of 1 and of 5 at least."""

    @field_validator("name")
    @classmethod
    def _is_one_word(cls, name: str) -> str:
        # Verdicts are normalised before the name is looked for in them.
        plain = unicodedata.normalize("NFKC", name)
        if plain != plain.strip() or not plain.isprintable() or any(mark in plain for mark in ':="{}\\'):
            raise ValueError("a name stands on one line, without colons, quotes, braces, backslashes and '='")
        return plain

    @field_validator("anchors")
    @classmethod
    def _has_ends(cls, anchors: dict[int, str]) -> dict[int, str]:
        if not {LOWEST, HIGHEST} <= anchors.keys() or not all(LOWEST <= place <= HIGHEST for place in anchors):
            raise ValueError(f"say what {LOWEST} and {HIGHEST} mean, and nothing outside of them")
        return anchors


class JudgeConfig(Config):
    """A judge behind an endpoint."""

    endpoint: EndpointConfig
    language: str = "auto"
    """Of the judge's instructions: `zh`, `en`, or `auto`: by the letters of the rows."""
    criteria: tuple[Criterion, ...] = ()
    """Of a rubric; none means instruction following, coherence and faithfulness."""
    runs: int = Field(default=1, ge=1, le=100)
    """How often each answer is rated by a rubric; the mean counts. More than one needs a temperature."""
    model_a: str = ""
    """Who wrote the answers, or answers A: a judge that judges its own is warned of."""
    model_b: str = ""
    """Who wrote answers B."""
    teachers: tuple[str, ...] = ()
    """Whose answers these models were trained on."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of the 95 % intervals."""
    seed: int = 0

    @field_validator("language")
    @classmethod
    def _is_known(cls, language: str) -> str:
        if language not in {"auto", "en", "zh"}:
            raise ValueError("choose auto, en or zh")
        return language

    @field_validator("criteria")
    @classmethod
    def _are_different(cls, criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
        names = [criterion.name.casefold() for criterion in criteria]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"the criterion '{twice[0]}' is given twice")
        return criteria

    @model_validator(mode="after")
    def _runs_differ(self) -> "JudgeConfig":
        if self.runs > 1 and self.endpoint.parameters.temperature == 0:
            raise ValueError(
                f"{self.runs} runs at temperature 0 are one run, paid {self.runs} times; "
                f"set endpoint.parameters.temperature above 0, or runs to 1"
            )
        return self
