"""Losses of rows that are not learned from: for validation while training, and for evaluation."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tuneloop.batch import Batch
from tuneloop.core.stop import Stop
from tuneloop.model.backbone import CausalModel
from tuneloop.objectives.logp import token_nll


def measure_batches(model: CausalModel, batches: Sequence[Batch], *, stop: Stop) -> Iterator[tuple[Batch, Tensor]]:
    """Each batch with the negative log-likelihood of its targets, [N] in nats, without gradients or dropout.

    Raises:
        StoppedError: an end was asked for.
    """
    was_training = model.network.training
    model.network.eval()
    try:
        for batch in batches:
            stop.check()
            on_device = batch.to(model.device)
            with torch.no_grad():
                yield batch, token_nll(model.head, model.states(on_device), on_device.targets_N).cpu()
    finally:
        model.network.train(was_training)


def mean_loss(model: CausalModel, batches: Sequence[Batch], *, stop: Stop) -> float:
    """Weighted mean negative log-likelihood a target token, in nats.

    Raises:
        StoppedError: an end was asked for.
    """
    total, weight = 0.0, 0.0
    for batch, nll_N in measure_batches(model, batches, stop=stop):
        total += float((nll_N * batch.weights_N).double().sum())
        weight += float(batch.weights_N.double().sum())
    return total / weight
