"""Optimisers over the trainable weights, and their state as named tensors."""

from tuneloop.train.optim.build import build_optimizer
from tuneloop.train.optim.groups import set_learning_rate
from tuneloop.train.optim.state import optimizer_tensors, restore_optimizer

__all__ = ["build_optimizer", "optimizer_tensors", "restore_optimizer", "set_learning_rate"]
