"""What can be asked of a model, as a recipe writes it."""

from typing import Literal

from tuneloop.core.config import Config


class SftConfig(Config):
    """Supervised fine-tuning: cross-entropy on the answers' tokens."""

    kind: Literal["sft"] = "sft"


ObjectiveConfig = SftConfig
