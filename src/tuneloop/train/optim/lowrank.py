"""What galore and apollo share: when a matrix has room for a smaller space, and how large a step out of it is."""

import math

from torch import nn

from tuneloop.train.config import StageConfig
from tuneloop.train.optim.groups import is_hidden_matrix


def has_smaller_space(name: str, parameter: nn.Parameter, config: StageConfig) -> bool:
    """Whether a projection to `optimizer_rank` makes it smaller; AdamW is exact and no larger where it does not."""
    return is_hidden_matrix(name, parameter) and min(parameter.shape) > config.optimizer_rank


def adamw_scale(parameter: nn.Parameter, rank: int) -> float:
    """sqrt(short side / rank): brings a step to the size of AdamW's, so that its learning rates fit.

    AdamW moves every number by about the learning rate. Numbers of that size in `rank` of `short` orthonormal
    directions make a matrix whose root mean square is smaller by sqrt(rank / short); so do APOLLO's factors, which are
    the root of a sum over `rank` rows instead of `short`.
    """
    return math.sqrt(min(parameter.shape) / rank)
