"""Token rows to tensors."""

from collections.abc import Sequence

import numpy as np
import torch

from tuneloop.batch import Batch
from tuneloop.data.pack import pack_rows
from tuneloop.data.tokens.block import TokenRow


def build_batch(rows: Sequence[TokenRow], *, prefix: int = 0) -> Batch:
    """Lay whole conversations end to end; where all begin with the same `prefix` tokens, those stand once, in front.

    The first token of a conversation is never a target: nothing stands before it that could predict it.
    """
    pieces = [(row.ids[prefix:], row.weights[prefix:], prefix) for row in rows]
    if prefix:
        pieces.insert(0, (rows[0].ids[:prefix], np.zeros(prefix, np.float32), 0))
    lengths = [len(ids) for ids, _, _ in pieces]
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate([ids for ids, _, _ in pieces]).astype(np.int64)
    weights = np.concatenate([weights for _, weights, _ in pieces])
    weights[bounds[:-1]] = 0.0
    targets = np.flatnonzero(weights)
    # The piece in front belongs to all of them, and holds no target.
    conversation = np.repeat(np.arange(len(pieces)) - bool(prefix), lengths)
    return Batch(
        ids_T=torch.from_numpy(ids),
        positions_T=torch.from_numpy(np.concatenate([np.arange(len(ids)) + begin for ids, _, begin in pieces])),
        bounds=tuple(bounds.tolist()),
        predictors_N=torch.from_numpy(targets - 1),
        targets_N=torch.from_numpy(ids[targets]),
        weights_N=torch.from_numpy(weights[targets]),
        conversation_N=torch.from_numpy(conversation[targets]),
        total_weight=float(torch.from_numpy(weights[targets]).sum()),
        parents=(-1, *[0] * len(rows)) if prefix else (),
    )


def build_batches(rows: Sequence[TokenRow], *, budget: int) -> list[Batch]:
    """The micro-batches of one step, each at most `budget` tokens (a longer row has one of its own)."""
    packs = pack_rows([len(row.ids) for row in rows], budget)
    return [build_batch([rows[index] for index in pack]) for pack in packs]
