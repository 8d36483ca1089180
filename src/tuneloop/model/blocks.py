"""Where a decoder keeps its repeated blocks."""

from torch import nn

from tuneloop.core.errors import ConfigError
from tuneloop.model.backbone import CausalModel


def blocks_of(model: CausalModel) -> nn.ModuleList:
    """The decoder's repeated blocks, first to last.

    Raises:
        ConfigError: the architecture keeps them under a name that is not known here.
    """
    decoder = model.base.get_decoder()
    for name in ("layers", "h", "blocks", "block"):
        blocks = getattr(decoder, name, None)
        if isinstance(blocks, nn.ModuleList):
            return blocks
    raise ConfigError(f"tune: the blocks of {type(decoder).__name__} are not known here; use tune.kind: full.")
