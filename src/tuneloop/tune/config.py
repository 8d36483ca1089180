"""Which weights move, as a recipe writes it."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from tuneloop.core.config import Config


class FullConfig(Config):
    """Every weight moves."""

    kind: Literal["full"] = "full"


class FreezeConfig(Config):
    """Only some weights move: the last blocks, or whatever a pattern names."""

    kind: Literal["freeze"] = "freeze"
    trainable_blocks: int = Field(default=2, ge=0)
    """The last n blocks move (LLaMA-Factory's default is 2)."""
    trainable_patterns: tuple[str, ...] = ()
    """Parameters whose name holds one of these shell patterns move too: `*.mlp.*`, `model.norm.weight`."""
    train_embeddings: bool = False
    train_head: bool = False
    """Where input embeddings and head are one tensor, either of the two moves both."""


class LoraConfig(Config):
    """A low-rank correction moves beside frozen weights (arXiv:2106.09685)."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=16, gt=0)
    alpha: float = Field(default=32.0, gt=0)
    """The correction is scaled by alpha / rank (by alpha / sqrt(rank) with `use_rslora`)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str | tuple[str, ...] = "all-linear"
    """`all-linear` is every linear layer but the head; or the ends of module names: [q_proj, v_proj]."""
    trainable_blocks: int | None = Field(default=None, gt=0)
    """Only the last n blocks get a correction: no gradient is computed below them."""
    use_rslora: bool = False
    """Rank-stabilised scaling (arXiv:2312.03732)."""

    @field_validator("targets")
    @classmethod
    def _known_word(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(targets, str) and targets != "all-linear":
            raise ValueError("is 'all-linear' or a list of module names")
        return targets


TuneConfig = Annotated[FullConfig | FreezeConfig | LoraConfig, Field(discriminator="kind")]
