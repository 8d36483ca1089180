"""What one micro-batch needs, found by running it on tensors that have a shape and no memory."""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from tuneloop.batch import Batch, Objective
from tuneloop.model.attention import PACKED_ATTENTION
from tuneloop.model.backbone import CausalModel
from tuneloop.model.checkpointing import Checkpointing, checkpointed
from tuneloop.model.quiet import quiet_transformers
from tuneloop.tune.freeze import blocks_of

_FEW, _SOME = 2, 4
"""Depths that are run; even numbers, for there are models whose blocks are of two kinds in turns."""

_MOST_CONVERSATIONS = 16


@dataclass(frozen=True)
class MicroBatch:
    """The shape of what is computed at once."""

    lengths: tuple[int, ...]
    """Tokens of each conversation."""
    num_targets: int

    @property
    def num_tokens(self) -> int:
        """Over all conversations."""
        return sum(self.lengths)


@dataclass(frozen=True)
class StepCost:
    """Of one micro-batch, forward and backward."""

    phase_bytes: tuple[int, int, int]
    """Most that is held at once beside weights, gradients that were there before and the optimiser's state: in the
    decoder; from there until the gradient is through the top block; afterwards, while more is let go than is made."""
    forward_flops: float
    flops: float
    """Forward and backward, of matrix products and attention; a multiplication and an addition are two."""

    @property
    def peak_bytes(self) -> int:
        """Most that is held at once."""
        return max(self.phase_bytes)


def simulate_step(
    model: CausalModel,
    objective: Objective,
    micro: MicroBatch,
    *,
    autocast_dtype: torch.dtype | None,
    checkpointing: Checkpointing,
    other_dtypes: Mapping[str, torch.dtype],
) -> StepCost:
    """Count memory and operations of a model that lives on the meta device; nothing is computed.

    The real code runs, so what autograd saves is counted, not assumed. Only a few blocks are run: bytes and
    operations grow by the same amount with each further block. Blocks below the lowest one with something to learn
    save nothing; one of them is run for what it needs while it is computed.

    Args:
        model: tuned; its tensors are left changed, so it is of no use afterwards.
        objective: what is asked of the model.
        micro: how much is computed at once.
        autocast_dtype: of matrix products; None leaves them in float32.
        checkpointing: whether each block, or what of it, is computed again on the way back.
        other_dtypes: name of a parameter -> type that it is stored in, where that is not float32.
    """
    with quiet_transformers():
        model.base.set_attn_implementation(PACKED_ATTENTION)
        model.network.train()
    runner = CausalModel(model.network, torch.device("cpu"), autocast_dtype)
    with checkpointed(model, checkpointing), FakeTensorMode():
        _make_fake(model.network, other_dtypes)
        batch = _fake_batch(micro)
        blocks = list(blocks_of(model))
        learning = differentiated_blocks(model)
        below, above = blocks[: len(blocks) - learning], blocks[len(blocks) - learning :]

        def run(num_below: int, num_above: int) -> StepCost:
            kept = below[len(below) - num_below :] + above[len(above) - num_above :]
            with _only_blocks(model, kept):
                return _run(runner, objective, batch, top=kept[-1])

        few, some = min(_FEW, learning), min(_SOME, learning)
        least = run(min(1, len(below)), few)
        total = least
        if some > few:
            total = _plus(total, run(min(1, len(below)), some), least, (learning - few) / (some - few))
        if len(below) > 1:
            total = _plus(total, run(2, few), least, len(below) - 1)
    return total


def differentiated_blocks(model: CausalModel) -> int:
    """Blocks at or above the lowest one with something to learn; all, where the embeddings learn."""
    blocks = blocks_of(model)
    if any(p.requires_grad for p in model.base.get_input_embeddings().parameters()):
        return len(blocks)
    learning = [index for index, block in enumerate(blocks) if any(p.requires_grad for p in block.parameters())]
    return len(blocks) - min(learning, default=len(blocks))


def _plus(total: StepCost, more: StepCost, less: StepCost, times: float) -> StepCost:
    """What further blocks add. In the first two phases each adds the same; the last one is highest at its ends."""
    growing = [
        int(base + (high - low) * times)
        for base, high, low in zip(total.phase_bytes[:2], more.phase_bytes[:2], less.phase_bytes[:2], strict=True)
    ]
    return StepCost(
        (growing[0], growing[1], max(total.phase_bytes[2], more.phase_bytes[2])),
        total.forward_flops + (more.forward_flops - less.forward_flops) * times,
        total.flops + (more.flops - less.flops) * times,
    )


def _run(model: CausalModel, objective: Objective, batch: Batch, *, top: nn.Module) -> StepCost:
    state = [*model.network.parameters(), *model.network.buffers()]
    state += [parameter.grad for parameter in model.network.parameters() if parameter.grad is not None]
    state += [value for value in vars(batch).values() if isinstance(value, Tensor)]
    watch = _Watch(state)
    hooked: list[nn.Module] = []

    def enter_top(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        # With checkpointing the block is entered again on the way back.
        if not hooked and inputs and isinstance(inputs[0], Tensor) and inputs[0].requires_grad:
            hooked.append(module)
            inputs[0].register_hook(lambda _: watch.begin(2))

    handles = [
        top.register_forward_pre_hook(enter_top),
        model.base.get_decoder().register_forward_hook(lambda *_: watch.begin(1)),
    ]
    with watch:
        loss = objective.loss(model, batch, {"tokens": float(batch.num_targets)})
        forward_flops = watch.flops
        loss.backward()
    for handle in handles:
        handle.remove()
    decoder, head, late = watch.peaks_bytes
    return StepCost((decoder, head, late), forward_flops, watch.flops)


class _Watch(TorchDispatchMode):
    """Follows every tensor from its making to its end, and counts the operations."""

    def __init__(self, state: Sequence[Tensor]) -> None:
        super().__init__()
        self.live_bytes = self.phase = 0
        self.peaks_bytes = [0, 0, 0]
        self.flops = 0.0
        self._known: Any = weakref.WeakSet(tensor.untyped_storage() for tensor in state)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if count := flop_registry.get(func._overloadpacket):  # noqa: SLF001 - what torch's own counter looks up
            self.flops += count(*args, **kwargs, out_val=result)
        else:
            self.flops += _cpu_attention_flops(str(func), args)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()) not in self._known:
                self._known.add(storage)
                self.live_bytes += storage.nbytes()
                weakref.finalize(storage, self._forget, storage.nbytes())
        self.peaks_bytes[self.phase] = max(self.peaks_bytes[self.phase], self.live_bytes)
        return result

    def begin(self, phase: int) -> None:
        """Another phase of the step begins."""
        self.phase = phase

    def _forget(self, num_bytes: int) -> None:
        self.live_bytes -= num_bytes


def _cpu_attention_flops(name: str, args: tuple[Any, ...]) -> float:
    """Of the CPU's flash attention, which torch's registry lacks; counted as it counts the others, uncausally.

    Forward: two products of 2 L^2 D operations a head. Backward: five, for it makes the scores again.
    """
    if "flash_attention_for_cpu" not in name:
        return 0.0
    is_backward = "backward" in name
    query, key = args[1:3] if is_backward else args[:2]
    product = 2.0 * query.numel() * key.shape[-2]
    return (5 if is_backward else 2) * product


def _make_fake(network: nn.Module, other_dtypes: Mapping[str, torch.dtype]) -> None:
    """Tensors of the same shapes under the fake mode that is on; a tied one stays tied. Gradients are there."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    made: dict[int, Any] = {}
    for module in network.modules():
        for key, parameter in module._parameters.items():  # noqa: SLF001 - the one place where tensors are replaced
            if parameter is None:
                continue
            if id(parameter) not in made:
                dtype = other_dtypes.get(names[id(parameter)], torch.float32)
                fake = nn.Parameter(torch.empty(parameter.shape, dtype=dtype), requires_grad=parameter.requires_grad)
                fake.grad = torch.empty_like(fake) if fake.requires_grad else None
                made[id(parameter)] = fake
            module._parameters[key] = made[id(parameter)]  # noqa: SLF001
        for key, buffer in module._buffers.items():  # noqa: SLF001
            if buffer is not None:
                module._buffers[key] = torch.empty(buffer.shape, dtype=buffer.dtype)  # noqa: SLF001


def _fake_batch(micro: MicroBatch) -> Batch:
    ids_T = torch.zeros(micro.num_tokens, dtype=torch.int64)
    ids_N = torch.zeros(micro.num_targets, dtype=torch.int64)
    ends = [0]
    for length in micro.lengths:
        ends.append(ends[-1] + length)
    return Batch(ids_T, ids_T.clone(), tuple(ends), ids_N, ids_N.clone(), torch.ones(len(ids_N)), ids_N.clone())


@contextmanager
def _only_blocks(model: CausalModel, kept: Sequence[nn.Module]) -> Iterator[None]:
    decoder, blocks = model.base.get_decoder(), blocks_of(model)
    name = next(name for name, child in decoder.named_children() if child is blocks)
    setattr(decoder, name, nn.ModuleList(kept))
    try:
        yield
    finally:
        setattr(decoder, name, blocks)


def split_evenly(num_tokens: int, longest: int, *, num_targets: int) -> MicroBatch:
    """A micro-batch of so many tokens whose conversations are as long as they can be.

    Of very many short ones fewer and longer ones are made: linear layers do not see the difference, attention is
    then overstated a little, and the simulation takes a moment instead of a minute.
    """
    longest = max(longest, -(-num_tokens // _MOST_CONVERSATIONS))
    full, rest = divmod(num_tokens, max(1, longest))
    lengths = (longest,) * full + ((rest,) if rest else ())
    assert all(length > 0 for length in lengths)
    return MicroBatch(lengths, max(1, min(num_targets, num_tokens - 1)))
