"""The one training step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils import clip_grad_norm_

from tuneloop.batch import Batch, Counts, Model, Objective, total_counts
from tuneloop.core.stop import Stop


@dataclass(frozen=True)
class StepReport:
    """What one step did."""

    loss: float
    """Nats a target token, over the whole step, before the update."""
    grad_norm: float
    """L2 norm of all gradients before clipping."""
    counts: Counts
    applied: bool
    """False where loss or gradient was not finite: the weights are then what they were."""


def train_step(
    model: Model,
    objective: Objective,
    batches: Sequence[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    max_grad_norm: float,
    stop: Stop,
) -> StepReport:
    """Learn once from `batches`, which lie on the model's device, as if they were one large batch.

    Raises:
        StoppedError: an end was asked for between two batches; nothing of the step was applied.
    """
    # Count before the first forward pass: a mean of per-batch means would weigh a token
    # by the length of its neighbours.
    counts = total_counts(objective, batches)
    optimizer.zero_grad(set_to_none=True)
    loss = torch.zeros((), device=batches[0].ids_T.device)
    for batch in batches:
        stop.check()
        share = objective.loss(model, batch, counts)
        share.backward()
        loss += share.detach()
        del share  # the graph goes before the next forward builds its own
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    grad_norm = clip_grad_norm_(parameters, max_grad_norm)
    applied = math.isfinite(loss.item()) and math.isfinite(grad_norm.item())
    if applied:
        optimizer.step()
    return StepReport(loss=loss.item(), grad_norm=grad_norm.item(), counts=counts, applied=applied)
