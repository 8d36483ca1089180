"""How a model answers when it is evaluated."""

from pydantic import Field, model_validator

from tuneloop.core.config import Config


class GenerateConfig(Config):
    """Greedy unless a temperature is given."""

    max_new_tokens: int = Field(default=256, gt=0)
    batch_size: int = Field(default=32, gt=0)
    """Prompts that are answered together; the next one, longest first, takes the place of one that is finished."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Of the likeliest tokens, the fewest with this share of the probability are drawn from."""
    top_k: int = Field(default=0, ge=0)
    """So many of the likeliest tokens are drawn from, before `top_p`; 0 is all."""
    num_samples: int = Field(default=1, ge=1)
    """Answers a prompt, each with chance of its own; more than one needs a temperature."""

    @model_validator(mode="after")
    def _differ(self) -> "GenerateConfig":
        if self.num_samples > 1 and self.temperature == 0:
            raise ValueError("num_samples above 1 needs a temperature above 0: greedy answers are all the same")
        return self
