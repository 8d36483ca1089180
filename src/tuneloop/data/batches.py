"""Token rows to tensors."""

from collections.abc import Sequence

import numpy as np
import torch

from tuneloop.batch import Batch
from tuneloop.data.pack import pack_rows
from tuneloop.data.tokens.block import TokenRow


def build_batch(rows: Sequence[TokenRow]) -> Batch:
    """Lay whole conversations end to end.

    The first token of a conversation is never a target: nothing stands before it that could predict it.
    """
    lengths = [len(row.ids) for row in rows]
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate([row.ids for row in rows]).astype(np.int64)
    weights = np.concatenate([row.weights for row in rows])
    weights[bounds[:-1]] = 0.0
    targets = np.flatnonzero(weights)
    conversation = np.repeat(np.arange(len(rows)), lengths)
    return Batch(
        ids_T=torch.from_numpy(ids),
        positions_T=torch.from_numpy(np.concatenate([np.arange(length) for length in lengths])),
        bounds=tuple(bounds.tolist()),
        predictors_N=torch.from_numpy(targets - 1),
        targets_N=torch.from_numpy(ids[targets]),
        weights_N=torch.from_numpy(weights[targets]),
        conversation_N=torch.from_numpy(conversation[targets]),
    )


def build_batches(rows: Sequence[TokenRow], *, budget: int) -> list[Batch]:
    """The micro-batches of one step, each at most `budget` tokens (a longer row has one of its own)."""
    packs = pack_rows([len(row.ids) for row in rows], budget)
    return [build_batch([rows[index] for index in pack]) for pack in packs]
