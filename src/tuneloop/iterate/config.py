"""When the loop is content, and how often it may try."""

import re
from typing import Literal

from pydantic import Field, field_validator

from tuneloop.core.config import Config

_TARGET = re.compile(r"\s*([^<>=]*[^<>=\s])\s*(>=|<=|>|<)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*")


class Target(Config):
    """A condition on one metric."""

    metric: str
    operator: Literal[">=", "<=", ">", "<"]
    value: float

    def is_met_by(self, value: float) -> bool:
        """Whether a measured value satisfies the condition."""
        match self.operator:
            case ">=":
                return value >= self.value
            case "<=":
                return value <= self.value
            case ">":
                return value > self.value
            case "<":
                return value < self.value


class IterateConfig(Config):
    """The closed loop."""

    max_rounds: int = Field(default=1, ge=1)
    """At most so many trainings."""
    target: str | None = None
    """`rougeL >= 0.45`: the loop ends once a round's model reaches it. Without one it ends at the first model that is
    better than the base."""
    min_rows: int = Field(default=20, ge=2)
    """With fewer held-out rows nothing is accepted. Bootstrap intervals are too narrow there: of two equal models
    one was called better in 4 % of trials at 20 rows, in 10 % at 5, where 2.5 % is promised."""
    protect: tuple[str, ...] = ()
    """Metrics that must not clearly fall. By default all that are measured."""

    @field_validator("target")
    @classmethod
    def _readable(cls, target: str | None) -> str | None:
        if target is not None:
            parse_target(target)
        return target


def parse_target(text: str) -> Target:
    """Read `metric >= number`.

    Raises:
        ValueError: it is not written so.
    """
    match = _TARGET.fullmatch(text)
    if match is None:
        raise ValueError("write it as 'rougeL >= 0.45': a metric, one of >= <= > <, a number")
    return Target.model_validate({"metric": match[1], "operator": match[2], "value": match[3]})
