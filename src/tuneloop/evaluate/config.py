"""What is measured on the held-out rows."""

from pydantic import Field, field_validator

from tuneloop.core.config import Config
from tuneloop.core.errors import ConfigError
from tuneloop.evaluate.metrics.registry import expand_metrics
from tuneloop.generate.config import GenerateConfig


class EvaluateConfig(Config):
    """The same rows and the same measures for the base and for every round."""

    metrics: tuple[str, ...] = ("exact_match", "rouge", "bleu", "chrf")
    """exact_match, bleu, chrf, rouge1, rouge2, rougeL, rouge (all three), accuracy:yes|no|maybe; the loss always."""
    language: str = "auto"
    """`zh`, `en`, or `auto`: by the letters of the references."""
    generate: GenerateConfig = GenerateConfig()
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of the 95 % intervals."""

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        try:
            expand_metrics(metrics)
        except ConfigError as error:
            raise ValueError(str(error).removesuffix(".")) from error
        return metrics
