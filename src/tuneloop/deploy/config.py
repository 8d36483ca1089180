"""What a run leaves for others to use."""

from typing import Literal

from tuneloop.core.config import Config


class DeployConfig(Config):
    """Exported folders."""

    export: tuple[Literal["adapter", "merged"], ...] = ("adapter", "merged")
    """`adapter` is a small folder beside the base (peft's, or tuneloop's for bottleneck adapters), `merged` a folder
    that plain transformers loads. What a way of tuning does not have is left out."""
    dtype: Literal["auto", "float32", "bf16"] = "auto"
    """Of the merged weights; `auto` is the type in which the base was stored."""
