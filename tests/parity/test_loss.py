"""Loss and gradients against plain transformers and float64 cross-entropy, one conversation at a time.

Shapes: T tokens of a conversation, N targets, V vocabulary, D hidden size.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tuneloop.batch import Head, total_counts
from tuneloop.data.batches import build_batch, build_batches
from tuneloop.data.tokens.block import TokenRow
from tuneloop.model.quiet import quiet_transformers
from tuneloop.objectives import logp
from tuneloop.objectives.logp import token_nll
from tuneloop.objectives.sft import Sft
from unit.train.training_kit import FAMILIES, load, random_rows

FamilyModel = Callable[[str], Path]

TOLERANCE = 1e-5
"""Of float32 sums over a few thousand terms in another order, relative to the largest value: about 100 roundings."""


def plain_network(folder: Path) -> Any:
    """What anyone gets from transformers; eager attention is the one that every architecture has in full."""
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return network.eval()


def weighted_rows() -> list[TokenRow]:
    """Lengths on both sides of Mistral's window of 16; weights that are not all alike."""
    rows = [*random_rows(4, shortest=3, longest=12), *random_rows(3, seed=5, shortest=20, longest=48)]
    for place, weight in enumerate((0.25, 1.0, 2.0)):
        rows[place] = TokenRow(rows[place].ids, rows[place].weights * np.float32(weight), rows[place].origin)
    # An answer in two parts: what lies between them is context.
    rows[-1].weights[:] = 0.0
    rows[-1].weights[[1, 2, 9, 10]] = [1.0, 1.0, 0.5, 3.0]
    return rows


def reference_loss(network: Any, rows: list[TokenRow]) -> Tensor:
    """sum_n w_n nll_n / sum_n w_n, the way a textbook writes it."""
    total, weight = torch.zeros((), dtype=torch.float64), 0.0
    for row in rows:
        ids_T = torch.from_numpy(row.ids.astype(np.int64))
        logits_TV = network(input_ids=ids_T[None], use_cache=False).logits[0].double()
        nll_T = cross_entropy(logits_TV[:-1], ids_T[1:], reduction="none")
        weights_T = torch.from_numpy(row.weights[1:]).double()
        total = total + (nll_T * weights_T).sum()
        weight += float(weights_T.sum())
    return total / weight


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_loss_and_every_gradient_equal_plain_transformers(family: str, family_model: FamilyModel) -> None:
    rows = weighted_rows()
    network = plain_network(family_model(family))
    expected = reference_loss(network, rows)
    expected.backward()

    model = load(family_model(family))
    assert model.is_packable
    model.network.requires_grad_(requires_grad=True)
    batches = build_batches(rows, budget=64)
    assert 1 < len(batches) < len(rows)
    counts = total_counts(Sft(), batches)
    losses = [Sft().loss(model, batch, counts) for batch in batches]
    torch.stack(losses).sum().backward()

    assert sum(loss.item() for loss in losses) == pytest.approx(expected.item(), rel=TOLERANCE)
    reference = dict(network.named_parameters())
    found = dict(model.network.named_parameters())
    assert found.keys() == reference.keys()
    largest = max(float(parameter.grad.abs().max()) for parameter in reference.values())
    for name, parameter in found.items():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, reference[name].grad, rtol=TOLERANCE, atol=TOLERANCE * largest)


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_and_head_make_the_logits_of_plain_transformers(family: str, family_model: FamilyModel) -> None:
    from tuneloop.model.backbone import logits_of

    rows = weighted_rows()
    for row in rows:
        row.weights[:] = 1.0
    network, model = plain_network(family_model(family)), load(family_model(family))
    batch = build_batch(rows)
    with torch.no_grad():
        found_NV = logits_of(model.head, model.states(batch))
        expected_NV = torch.cat(
            [network(input_ids=torch.from_numpy(row.ids.astype(np.int64))[None]).logits[0, :-1] for row in rows]
        )
    torch.testing.assert_close(found_NV, expected_NV, rtol=TOLERANCE, atol=TOLERANCE * float(expected_NV.abs().max()))


N, D, V = 11, 6, 37
SHAPES = [
    pytest.param(bias, scale, softcap, id=f"bias={bias},scale={scale},softcap={softcap}")
    for bias in (False, True)
    for scale, softcap in ((1.0, None), (0.25, None), (1.0, 3.0), (0.5, 3.0))
]


def head_and_states(*, bias: bool, scale: float, softcap: float | None) -> tuple[Head, Tensor, Tensor, Tensor]:
    """A head, states, targets, and an uneven demand from above; logits reach well into the softcap's bend."""
    random = torch.Generator().manual_seed(3)
    weight_VD = torch.randn(V, D, generator=random) * 2
    bias_V = torch.randn(V, generator=random) if bias else None
    states_ND = torch.randn(N, D, generator=random)
    targets_N = torch.randint(0, V, (N,), generator=random)
    upstream_N = torch.rand(N, generator=random) - 0.3
    return Head(weight_VD, bias_V, scale, softcap), states_ND, targets_N, upstream_N


def reference_nll(head: Head, states_ND: Tensor, targets_N: Tensor) -> Tensor:
    """The same in float64, by autograd."""
    logits_NV = states_ND.double() @ head.weight_VD.double().T
    if head.bias_V is not None:
        logits_NV = logits_NV + head.bias_V.double()
    logits_NV = logits_NV * head.scale
    if head.softcap is not None:
        logits_NV = head.softcap * torch.tanh(logits_NV / head.softcap)
    return cross_entropy(logits_NV, targets_N, reduction="none")


@pytest.mark.parametrize("rows_of_chunk", [1, 3, N, 10 * N])
@pytest.mark.parametrize("learning", ["states", "head", "both"])
@pytest.mark.parametrize(("bias", "scale", "softcap"), SHAPES)
def test_token_nll_equals_cross_entropy_in_float64(
    monkeypatch: pytest.MonkeyPatch,
    rows_of_chunk: int,
    learning: str,
    bias: bool,  # noqa: FBT001 - a parameter of pytest
    scale: float,
    softcap: float | None,
) -> None:
    monkeypatch.setattr(logp, "_CHUNK_BYTES", 4 * V * rows_of_chunk)
    head, states_ND, targets_N, upstream_N = head_and_states(bias=bias, scale=scale, softcap=softcap)
    leaves = [states_ND] if learning == "states" else []
    leaves = [*leaves, head.weight_VD, *([head.bias_V] if bias else [])] if learning == "head" else leaves
    leaves = [states_ND, head.weight_VD, *([head.bias_V] if bias else [])] if learning == "both" else leaves
    leaves = [leaf.requires_grad_() for leaf in leaves if leaf is not None]

    nll_N = token_nll(head, states_ND, targets_N)
    expected_N = reference_nll(head, states_ND, targets_N)
    assert nll_N.dtype == torch.float32
    torch.testing.assert_close(nll_N.double(), expected_N, rtol=1e-5, atol=1e-5)

    found = torch.autograd.grad((nll_N * upstream_N).sum(), leaves)
    expected = torch.autograd.grad((expected_N * upstream_N.double()).sum(), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("learning", ["states", "head"])
@pytest.mark.parametrize(("bias", "scale", "softcap"), SHAPES)
def test_the_gradient_of_token_nll_is_its_slope(
    learning: str,
    bias: bool,  # noqa: FBT001 - a parameter of pytest
    scale: float,
    softcap: float | None,
) -> None:
    """Central differences along random directions; no other formula is involved.

    With h = 0.01 the method's own error is of order h^2 = 1e-4, rounding of float32 sums over 2h adds about 1e-4.
    """
    head, states_ND, targets_N, upstream_N = head_and_states(bias=bias, scale=scale, softcap=softcap)
    leaf = (states_ND if learning == "states" else head.weight_VD).requires_grad_()

    def value(moved: Tensor) -> Tensor:
        states, weight = (moved, head.weight_VD) if learning == "states" else (states_ND, moved)
        nll_N = token_nll(Head(weight, head.bias_V, scale, softcap), states, targets_N)
        return (nll_N * upstream_N).double().sum()

    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    random = torch.Generator().manual_seed(8)
    for _ in range(4):
        direction = torch.randn(leaf.shape, generator=random)
        direction /= direction.norm()
        with torch.no_grad():
            slope = float(value(leaf + 0.01 * direction) - value(leaf - 0.01 * direction)) / 0.02
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=3e-3, abs=3e-3)


def test_equal_logits_give_log_of_the_vocabulary() -> None:
    nll_N = token_nll(Head(torch.zeros(V, D)), torch.randn(N, D), torch.arange(N))
    torch.testing.assert_close(nll_N, torch.full((N,), math.log(V)))


def test_logits_far_beyond_the_range_of_exp_stay_finite() -> None:
    weight_VD = torch.zeros(V, D)
    weight_VD[5, 0] = 1e4
    states_ND = torch.ones(2, D, requires_grad=True)
    nll_N = token_nll(Head(weight_VD), states_ND, torch.tensor([5, 6]))
    assert nll_N.tolist() == [0.0, 1e4]
    nll_N.sum().backward()
    assert states_ND.grad is not None
    assert torch.isfinite(states_ND.grad).all()


def test_no_targets_give_no_losses_and_no_gradient() -> None:
    states_ND = torch.zeros(0, D, requires_grad=True)
    nll_N = token_nll(Head(torch.randn(V, D)), states_ND, torch.zeros(0, dtype=torch.int64))
    assert nll_N.shape == (0,)
    nll_N.sum().backward()
    assert states_ND.grad is not None
    assert states_ND.grad.shape == (0, D)


@pytest.mark.parametrize("head_learns", [False, True])
def test_a_head_in_bf16_is_near_float64_and_keeps_the_types_of_its_inputs(
    head_learns: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    """bf16 keeps 8 bits: a logit of size 10 is off by up to 0.04, a gradient by about 1 %."""
    head, states_ND, targets_N, upstream_N = head_and_states(bias=False, scale=1.0, softcap=None)
    head = Head(head.weight_VD, compute_dtype=torch.bfloat16)
    states_ND.requires_grad_()
    head.weight_VD.requires_grad_(requires_grad=head_learns)
    nll_N = token_nll(head, states_ND, targets_N)
    expected_N = reference_nll(head, states_ND, targets_N)
    torch.testing.assert_close(nll_N.double(), expected_N, rtol=0.02, atol=0.1)
    leaves = [states_ND, head.weight_VD] if head_learns else [states_ND]
    found = torch.autograd.grad((nll_N * upstream_N).sum(), leaves)
    expected = torch.autograd.grad((expected_N * upstream_N.double()).sum(), leaves)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05 * float(other.abs().max()))
