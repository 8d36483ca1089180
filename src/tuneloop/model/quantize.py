"""Frozen linear layers kept in 4 or 8 bits, and brought back to full width for each product (QLoRA).

A product is x W^T with W brought back from its code, and nothing is approximated on the way: the layer computes what a
plain one with the rounded weights computes, on every device, forward and back.

Shapes: O outputs and I inputs of a layer.
"""

import importlib.metadata
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from tuneloop.core.errors import ConfigError
from tuneloop.core.optional import load_optional
from tuneloop.model.config import ModelConfig
from tuneloop.model.quiet import quiet_transformers

BLOCK = 64
"""Weights that share a scale in 4 bits (arXiv:2305.14314, section 4)."""

_LARGEST_INT8 = 127


class QuantisedLinear(nn.Linear):
    """A linear layer whose weight is stored as a code; it never learns, and is in no checkpoint.

    `weight` reads the rounded weight in float32, made anew each time; what is written into it is lost, so it cannot
    be assigned. To change it, put a plain layer in its place (`dequantise`).
    """

    def __init__(self, code: "Code4 | Code8", bias: nn.Parameter | None, loss: "Loss") -> None:
        # Not nn.Linear's: it would make a weight.
        nn.Module.__init__(self)
        self.out_features, self.in_features = code.shape
        self.register_parameter("bias", bias)
        self.code = code
        self.loss = loss
        self.train(mode=False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override] - the parameter has become a function of the code
        """The rounded weight, [O, I], float32."""
        return self.code.restore(torch.float32)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight":
            raise AttributeError("A quantised weight cannot be replaced; put a plain layer in the place of this one.")
        super().__setattr__(name, value)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Linear's name
        """X W^T + b, in the type of the autocast where there is one, else of the input."""
        device = input.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else input.dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        return _Product.apply(input, self.code, bias, dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "QuantisedLinear":  # noqa: FBT001, FBT002
        # A code has one type; only where it lives can change.
        super()._apply(fn, recurse)
        self.code = self.code.to(fn(torch.empty(0, dtype=torch.uint8, device=self.code.packed.device)).device)
        return self


class _Product(torch.autograd.Function):
    """y = x W^T + b and dx = dy W. W is made again on the way back: nothing of full width is kept between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, code: "Code4 | Code8", bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        ctx.code, ctx.dtype, ctx.input_dtype = code, dtype, x.dtype
        with torch.autocast(x.device.type, enabled=False):
            return linear(x.to(dtype), code.restore(dtype), bias)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        return (upstream[0].to(ctx.dtype) @ ctx.code.restore(ctx.dtype)).to(ctx.input_dtype), None, None, None


@dataclass(frozen=True)
class Code4:
    """A weight in 4 bits: of each block of 64 numbers the largest size, and of each number the nearest of 16 values.

    With double quantisation the sizes, less their mean, are stored in 8 bits each, in blocks of 256
    (arXiv:2305.14314, section 4). Formats and kernels are bitsandbytes'.
    """

    kind: Literal["nf4", "fp4"]
    shape: tuple[int, int]
    packed: Tensor
    """uint8, two numbers a byte."""
    sizes: Tensor
    """float32, or the 8-bit code of them."""
    nested: "_Nested | None"

    def restore(self, dtype: torch.dtype) -> Tensor:
        """The rounded weight, [O, I]."""
        sizes = self.sizes
        if self.nested is not None:
            sizes = torch.ops.bitsandbytes.dequantize_blockwise(
                sizes, self.nested.scales, self.nested.values, self.nested.block, torch.float32
            ).add_(self.nested.mean)
        flat = torch.ops.bitsandbytes.dequantize_4bit(self.packed, sizes, BLOCK, self.kind, self._rows, dtype)
        return flat.view(self.shape)

    @property
    def _rows(self) -> tuple[int, int]:
        """The shape to name to the kernel: on a CPU it begins a new block with every row, and rounding did not."""
        outputs, inputs = self.shape
        if inputs % BLOCK == 0:
            return self.shape
        numel = outputs * inputs
        return (numel // BLOCK, BLOCK) if numel % BLOCK == 0 else (1, numel)

    def to(self, device: torch.device) -> "Code4":
        """The same on another device."""
        nested = self.nested.to(device) if self.nested is not None else None
        return Code4(self.kind, self.shape, self.packed.to(device), self.sizes.to(device), nested)

    @property
    def num_bytes(self) -> int:
        """All that is stored, but for the 256 values of the 8-bit code."""
        extra = self.nested.scales.nbytes + 4 if self.nested is not None else 0
        return self.packed.nbytes + self.sizes.nbytes + extra


@dataclass(frozen=True)
class _Nested:
    """How the blocks' sizes are stored in 8 bits."""

    mean: Tensor
    scales: Tensor
    values: Tensor
    """The 256 numbers that a byte can mean, relative to a scale."""
    block: int

    def to(self, device: torch.device) -> "_Nested":
        """The same on another device."""
        return _Nested(self.mean.to(device), self.scales.to(device), self.values.to(device), self.block)


@dataclass(frozen=True)
class Code8:
    """A weight in 8 bits: of each output the largest size / 127, and each number as a multiple of it.

    These are the weights of LLM.int8() (arXiv:2208.07339, vector-wise); inputs stay as they are, so that forward and
    backward are those of the rounded weight.
    """

    shape: tuple[int, int]
    packed: Tensor
    """int8 [O, I]."""
    steps: Tensor
    """float32 [O, 1]."""

    def restore(self, dtype: torch.dtype) -> Tensor:
        """The rounded weight, [O, I]."""
        # Two passes of one type each: a product of int8 and float32 is many times slower on a CPU.
        return self.packed.float().mul_(self.steps).to(dtype)

    def to(self, device: torch.device) -> "Code8":
        """The same on another device."""
        return Code8(self.shape, self.packed.to(device), self.steps.to(device))

    @property
    def num_bytes(self) -> int:
        """All that is stored."""
        return self.packed.nbytes + self.steps.nbytes


@dataclass(frozen=True)
class Loss:
    """What rounding did to a weight: sums of squares, of the change and of the weight before."""

    change: float
    before: float


def quantise_linear(layer: nn.Linear, weight_OI: Tensor, config: ModelConfig) -> QuantisedLinear:
    """A layer with this weight, rounded; of `layer` the bias is taken.

    Raises:
        MissingError: 4 bits need bitsandbytes.
    """
    weight_OI = weight_OI.detach().float().contiguous()
    code = _encode(weight_OI, config)
    change = code.restore(torch.float32).sub_(weight_OI)
    loss = Loss(*(float(torch.linalg.vector_norm(tensor)) ** 2 for tensor in (change, weight_OI)))
    return QuantisedLinear(code, layer.bias, loss)


def _encode(weight_OI: Tensor, config: ModelConfig) -> Code4 | Code8:
    shape = (weight_OI.shape[0], weight_OI.shape[1])
    match config.quantization:
        case "nf4" | "fp4" as kind:
            return _encode4(weight_OI, shape, kind, is_double=config.double_quantization)
        case "int8":
            steps = weight_OI.abs().amax(dim=1, keepdim=True).div_(_LARGEST_INT8)
            # A row of zeros has no size to divide by.
            packed = (weight_OI / steps.where(steps > 0, 1.0)).round_().to(torch.int8)
            return Code8(shape, packed, steps)
        case None:
            raise AssertionError("there is something to quantise to")
        case unreachable:
            assert_never(unreachable)


def _encode4(weight_OI: Tensor, shape: tuple[int, int], kind: Literal["nf4", "fp4"], *, is_double: bool) -> Code4:
    functional = load_bitsandbytes().functional
    packed, state = functional.quantize_4bit(weight_OI, blocksize=BLOCK, quant_type=kind, compress_statistics=is_double)
    nested = None
    if is_double:
        inner = state.state2
        nested = _Nested(state.offset, inner.absmax, inner.code, inner.blocksize)
    return Code4(kind, shape, packed, state.absmax, nested)


def load_bitsandbytes() -> Any:
    """The library of 4-bit formats and kernels.

    Raises:
        MissingError: it is not installed.
    """
    with quiet_transformers():
        return load_optional("bitsandbytes", purpose="model.quantization", extra="quant")


def library_of(config: ModelConfig) -> str:
    """What rounds the weights, with its version: another one may round differently."""
    if config.quantization == "int8":
        return "torch"
    return f"bitsandbytes {importlib.metadata.version('bitsandbytes')}"


def quantised_layers(network: nn.Module) -> Iterator[QuantisedLinear]:
    """All quantised layers of a network."""
    return (module for module in network.modules() if isinstance(module, QuantisedLinear))


def num_quantised(network: nn.Module) -> int:
    """Weights that are stored as codes: they are no parameters, so whoever counts those counts these too."""
    return sum(layer.in_features * layer.out_features for layer in quantised_layers(network))


def bits_a_weight(network: nn.Module) -> float:
    """Stored bits of a quantised weight, its share of the scales included."""
    layers = list(quantised_layers(network))
    return 8 * sum(layer.code.num_bytes for layer in layers) / num_quantised(network) if layers else 0.0


def rounding_error(network: nn.Module) -> float:
    """Root mean square of what rounding changed, relative to that of the weights before, over all quantised layers."""
    losses = [layer.loss for layer in quantised_layers(network)]
    before = sum(loss.before for loss in losses)
    return math.sqrt(sum(loss.change for loss in losses) / before) if before else 0.0


def dequantise(network: nn.Module) -> int:
    """Put plain float32 layers with the rounded weights in place of all quantised ones; return how many.

    One layer at a time, each code let go as its weight comes. The network computes what it did before.
    """
    found = 0
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, QuantisedLinear):
                plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
                plain.weight = nn.Parameter(layer.weight, requires_grad=False)
                plain.register_parameter("bias", layer.bias)
                plain.train(layer.training)
                setattr(parent, name, plain)
                found += 1
    return found


def check_quantisable(linears: list[nn.Linear], kind: str) -> None:
    """Blocks without plain linear layers have nothing to quantise.

    Raises:
        ConfigError: so it is.
    """
    if not linears:
        raise ConfigError(
            f"model.quantization: the blocks of {kind} have no plain linear layers (GPT-2's lie the other way round). "
            "Leave quantization out."
        )
