"""How a model answers when it is evaluated."""

from pydantic import Field

from tuneloop.core.config import Config


class GenerateConfig(Config):
    """Greedy unless a temperature is given."""

    max_new_tokens: int = Field(default=256, gt=0)
    batch_size: int = Field(default=32, gt=0)
    """Prompts that are answered together; they are sorted by length first."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
