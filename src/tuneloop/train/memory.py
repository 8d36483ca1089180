"""How much memory training will take, computed before anything is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from torch import nn

from tuneloop.model.backbone import CausalModel
from tuneloop.model.config import ModelConfig
from tuneloop.objectives.sft import build_objective
from tuneloop.train.config import StageConfig
from tuneloop.train.optim.groups import is_hidden_matrix
from tuneloop.train.simulate import MicroBatch, StepCost, simulate_step
from tuneloop.tune.build import Tuned
from tuneloop.tune.freeze import blocks_of

_FLOAT = 4
_RUNTIME_BYTES = {"cpu": 600 << 20, "cuda": 600 << 20}
"""CPU: Python with torch, transformers, peft and some rows, measured. GPU: the CUDA context and cuBLAS's workspace."""
_SLACK = {"cpu": 0.0, "cuda": 0.08}
"""What the allocator holds beyond what is in use, as a share of the activations. CPU: measured with all or half of the
weights moving, on SmolLM2-135M and a model of fewer, wider blocks. GPU: assumed."""
_SLACK_OF_SMALL = {"cpu": 0.5, "cuda": 0.08}
"""The same where small tensors move: glibc puts them between the large ones, whose room is then not given back.
Measured with LoRA and QLoRA on the same models, 0.35 to 0.9 from run to run."""
_SMALL_BYTES = 1 << 20
_SMALLEST_8BIT = 4096
"""bitsandbytes keeps the state of smaller tensors in float32."""


@dataclass(frozen=True)
class Setting:
    """On what a step is computed, as far as memory depends on it."""

    device: str
    """cpu or cuda."""
    autocast_dtype: torch.dtype | None
    model: ModelConfig


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of each part."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """All that forward and backward hold at once: what autograd saves, a chunk of logits, temporaries."""
    rest: int
    """The libraries, and what the allocator keeps beyond what is in use."""

    @property
    def total(self) -> int:
        """The peak."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.rest


def estimate_step(
    model: CausalModel, tuned: Tuned, stage: StageConfig, setting: Setting, micro: MicroBatch, *, accumulates: bool
) -> tuple[MemoryEstimate, StepCost]:
    """The peak of a stage, and what its largest micro-batch costs; `model` lives on the meta device and is used up.

        total = weights + gradients + optimiser + activations + rest

    Weights are float32 (see `model.load`), those of frozen linear layers as they are quantised, or in the type of their
    products (`model.compact`). Several
    micro-batches a step accumulate: all gradients are there from the second on. With one alone the gradients come
    as the activations go, and the larger of the two is what counts.
    """
    sizes = weight_bytes(model, setting)
    cost = simulate_step(
        model,
        build_objective(stage.objective),
        micro,
        autocast_dtype=setting.autocast_dtype,
        checkpointing=stage.gradient_checkpointing,
        # Quantised weights are brought to the type of the product by their own layer, which keeps no copy; other
        # frozen ones lie in that type.
        other_dtypes=dict.fromkeys((*sizes.quantised, *sizes.compact), setting.autocast_dtype or torch.float32),
    )
    gradients = _FLOAT * tuned.num_trainable
    held = cost.peak_bytes + sizes.largest_quantised * (2 if setting.autocast_dtype else _FLOAT)
    moves_small = tuned.num_trainable * _FLOAT < _SMALL_BYTES * len(tuned.trainable)
    slack = (_SLACK_OF_SMALL if moves_small else _SLACK)[setting.device]
    activations = held if accumulates else max(0, held - gradients)
    memory = MemoryEstimate(
        weights=sizes.total,
        gradients=gradients,
        optimizer=optimizer_bytes(tuned.trainable, stage),
        activations=activations,
        rest=_RUNTIME_BYTES[setting.device] + int(slack * held),
    )
    return memory, cost


@dataclass(frozen=True)
class WeightBytes:
    """How the weights are stored."""

    total: int
    quantised: tuple[str, ...]
    """Names of the parameters that are."""
    compact: tuple[str, ...]
    """Names of those that lie in the type of the product."""
    largest_quantised: int
    """Numbers in the largest of them: it is brought back to full width while its layer is computed."""


def weight_bytes(model: CausalModel, setting: Setting) -> WeightBytes:
    """Bytes of all weights, a tied tensor once."""
    quantised = _frozen_matrices(blocks_of(model)) if setting.model.quantization else {}
    compact = _frozen_matrices(model.network) if setting.autocast_dtype else {}
    compact.pop(id(model.base.get_input_embeddings().weight), None)
    total, quantised_names, compact_names, largest = 0, [], [], 0
    for name, parameter in model.network.named_parameters():
        if id(parameter) in quantised:
            quantised_names.append(name)
            largest = max(largest, parameter.numel())
            total += round(parameter.numel() * _bytes_a_weight(setting.model, quantised[id(parameter)]))
        elif id(parameter) in compact:
            compact_names.append(name)
            total += parameter.numel() * (setting.autocast_dtype or torch.float32).itemsize
        else:
            total += _FLOAT * parameter.numel()
    return WeightBytes(total, tuple(quantised_names), tuple(compact_names), largest)


def _frozen_matrices(module: nn.Module) -> dict[int, int]:
    """Weight's identity -> number of inputs, of every plain linear layer that does not learn."""
    return {
        id(layer.weight): layer.in_features
        for layer in module.modules()
        if type(layer) is nn.Linear and not layer.weight.requires_grad
    }


def _bytes_a_weight(config: ModelConfig, inputs: int) -> float:
    """Of a quantised weight, its share of the scales included. 8 bits have a float32 scale for each row of inputs.

    4 bits in blocks of 64, each with a float32 scale: 0.5 + 4/64 = 0.5625. Double quantisation keeps a scale in one
    byte, and a float32 for 256 of them: 0.5 + 1/64 + 4/(64 * 256) = 0.5159. Source: arXiv:2305.14314, section 3.
    """
    match config.quantization:
        case "nf4" | "fp4":
            return 0.5 + (1 / 64 + 4 / (64 * 256) if config.double_quantization else 4 / 64)
        case "int8":
            return 1.0 + 4 / inputs
        case None:
            return float(_FLOAT)
        case unreachable:
            assert_never(unreachable)


def optimizer_bytes(trainable: Mapping[str, nn.Parameter], stage: StageConfig) -> int:
    """The optimiser's state over these parameters; a paged one's wholly on the card.

    adamw: two float32 a weight. adamw_8bit: two bytes, and two float32 scales for 256 weights. lion and muon: one
    float32. adafactor: a float32 a row and a column of a matrix. galore, apollo: two moments in a space of
    `optimizer_rank` rows, and the projection into it (apollo draws it again from a seed). Beside muon, galore and
    apollo AdamW keeps embeddings, head and vectors.
    """
    beside = StageConfig(optimizer="adamw")
    total = 0
    for name, parameter in trainable.items():
        is_beside = stage.optimizer in {"muon", "galore", "apollo"} and not is_hidden_matrix(name, parameter)
        total += _state_bytes(tuple(parameter.shape), beside if is_beside else stage)
    return total


def _state_bytes(shape: tuple[int, ...], stage: StageConfig) -> int:
    numel = int(np.prod(shape, dtype=np.int64))
    is_matrix = len(shape) > 1
    short, long = min(shape, default=1), max(shape, default=1)
    match stage.optimizer:
        case "adamw" | "paged_adamw":
            return 2 * _FLOAT * numel
        case "adamw_8bit" | "paged_adamw_8bit":
            return 2 * _FLOAT * numel if numel < _SMALLEST_8BIT else 2 * numel + 2 * _FLOAT * -(-numel // 256)
        case "lion" | "muon":
            return _FLOAT * numel
        case "adafactor":
            return _FLOAT * (numel // shape[-1] + numel // shape[-2]) if is_matrix else _FLOAT * numel
        case "galore" | "apollo":
            rank = stage.optimizer_rank
            if short <= rank:
                return 2 * _FLOAT * numel
            return _FLOAT * rank * (2 * long + (short if stage.optimizer == "galore" else 0))
        case unreachable:
            assert_never(unreachable)


def longest_micro_batch(row_lengths: Sequence[int] | np.ndarray, *, budget: int, batch_size: int) -> int:
    """Tokens of the largest micro-batch that a step over rows of these lengths can make."""
    lengths = np.sort(np.asarray(row_lengths))[::-1][:batch_size].tolist()
    return max(min(budget, sum(lengths)), lengths[0])
