"""Two optimisers as one: a method for the hidden matrices, AdamW for all that it is not made for."""

from typing import Any

import torch


class Pair(torch.optim.Optimizer):
    """Steps each. Its groups are theirs, the same objects, so that a new learning rate reaches them."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts

    def step(self, closure: Any = None) -> Any:
        """One step of each.

        Raises:
            NotImplementedError: a closure was given; both would call it.
        """
        if closure is not None:
            raise NotImplementedError("Two optimisers cannot share a closure.")
        for part in self.parts:
            part.step()


def parts_of(optimizer: torch.optim.Optimizer) -> tuple[torch.optim.Optimizer, ...]:
    """The optimisers that hold the state."""
    return optimizer.parts if isinstance(optimizer, Pair) else (optimizer,)
