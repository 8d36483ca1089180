"""Supervised fine-tuning: the mean negative log-likelihood of the target tokens."""

from torch import Tensor

from tuneloop.batch import Batch, Counts, Model
from tuneloop.objectives.config import ObjectiveConfig
from tuneloop.objectives.logp import token_nll


class Sft:
    """Cross-entropy over targets, weighted, divided by the weights of the whole optimiser step.

        loss = sum_n w_n nll_n / sum_n w_n        over every micro-batch of the step

    Dividing each micro-batch by its own count instead would weigh a token by the length of its neighbours.
    """

    def counts(self, batch: Batch) -> Counts:
        """The sum of target weights."""
        known = batch.total_weight
        return {"tokens": float(batch.weights_N.sum()) if known is None else known}

    def loss(self, model: Model, batch: Batch, counts: Counts) -> Tensor:
        """This batch's share of the step's loss, in nats a token."""
        nll_N = token_nll(model.head, model.states(batch), batch.targets_N)
        return (nll_N * batch.weights_N).sum() / counts["tokens"]


def build_objective(config: ObjectiveConfig) -> Sft:
    """The objective of a stage."""
    match config.kind:
        case "sft":
            return Sft()
