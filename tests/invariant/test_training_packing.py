"""What must not matter: how conversations share a pack, their order, their neighbours.

Shapes: T tokens of all conversations, N targets, D hidden size.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tuneloop.batch import Batch, total_counts
from tuneloop.data.batches import build_batch, build_batches
from tuneloop.data.tokens.block import TokenRow
from tuneloop.model.backbone import CausalModel
from tuneloop.objectives.sft import Sft
from unit.train.training_kit import FAMILIES, VOCABULARY, load, random_rows

FamilyModel = Callable[[str], Path]

TOLERANCE = 1e-5
"""Float32 sums in another order, relative to the largest value."""


def all_targets(rows: Sequence[TokenRow]) -> list[TokenRow]:
    """The same rows with every token a target, so that `states` shows (nearly) every hidden state."""
    return [TokenRow(row.ids, np.ones_like(row.weights), row.origin) for row in rows]


def loss_and_gradients(model: CausalModel, batches: Sequence[Batch]) -> tuple[float, dict[str, Tensor]]:
    """Over all batches as one step."""
    model.network.requires_grad_(requires_grad=True)
    model.network.zero_grad()
    counts = total_counts(Sft(), batches)
    total = 0.0
    for batch in batches:
        loss = Sft().loss(model, batch, counts)
        loss.backward()
        total += loss.item()
    return total, {name: parameter.grad.clone() for name, parameter in model.network.named_parameters()}


def assert_same(found: tuple[float, dict[str, Tensor]], expected: tuple[float, dict[str, Tensor]]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=TOLERANCE)
    largest = max(float(gradient.abs().max()) for gradient in expected[1].values())
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=TOLERANCE, atol=TOLERANCE * largest)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_equals_one_by_one(family: str, family_model: FamilyModel) -> None:
    model = load(family_model(family))
    batches = build_batches(random_rows(6), budget=10_000)
    assert len(batches) == 1
    packed = loss_and_gradients(model, batches)
    model.is_packable = False
    assert_same(packed, loss_and_gradients(model, batches))


@pytest.mark.parametrize("family", FAMILIES)
def test_order_within_a_pack_does_not_matter(family: str, family_model: FamilyModel) -> None:
    model = load(family_model(family))
    rows = random_rows(5)
    expected = loss_and_gradients(model, [build_batch(rows)])
    for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        assert_same(loss_and_gradients(model, [build_batch([rows[i] for i in order])]), expected)


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt2"])
def test_the_split_into_micro_batches_does_not_matter(family: str, family_model: FamilyModel) -> None:
    model = load(family_model(family))
    rows = random_rows(9)
    expected = loss_and_gradients(model, build_batches(rows, budget=10_000))
    sizes = set()
    for budget in (1, 48, 100):
        batches = build_batches(rows, budget=budget)
        sizes.add(len(batches))
        assert_same(loss_and_gradients(model, batches), expected)
    assert len(sizes) == 3
    assert max(sizes) == len(rows)


def with_other_tokens(row: TokenRow, seed: int) -> TokenRow:
    """A row of the same length that shares no token with the first one."""
    rng = np.random.default_rng(seed)
    ids = 3 + (row.ids - 3 + rng.integers(1, VOCABULARY - 3, size=len(row.ids))) % (VOCABULARY - 3)
    assert not np.any(ids == row.ids)
    return replace(row, ids=ids.astype(np.int32))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_does_not_see_its_neighbours(family: str, family_model: FamilyModel) -> None:
    """Change one conversation: the states of every other one stay what they were, bit for bit."""
    model = load(family_model(family))
    rows = all_targets(random_rows(4, shortest=10, longest=50))
    batch = build_batch(rows)
    with torch.no_grad():
        before_ND = model.states(batch)
        for changed in range(len(rows)):
            others = list(rows)
            others[changed] = with_other_tokens(rows[changed], seed=changed)
            after_ND = model.states(build_batch(others))
            is_changed_N = batch.conversation_N == changed
            assert torch.equal(after_ND[~is_changed_N], before_ND[~is_changed_N])
            assert (after_ND[is_changed_N] - before_ND[is_changed_N]).abs().amax(dim=1).min() > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_no_gradient_flows_between_conversations(family: str, family_model: FamilyModel) -> None:
    """The loss of one conversation alone moves the embeddings of its own tokens only."""
    model = load(family_model(family))
    rows = random_rows(3, shortest=20, longest=40)
    for place in (0, 2):
        rows[place] = replace(rows[place], weights=np.zeros_like(rows[place].weights))
    batch = build_batch(rows)
    seen: list[Tensor] = []

    def keep(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        del module, inputs
        leaf_BTD = output.detach().requires_grad_()
        seen.append(leaf_BTD)
        return leaf_BTD

    handle = model.base.get_input_embeddings().register_forward_hook(keep)
    Sft().loss(model, batch, {"tokens": 1.0}).backward()
    handle.remove()
    assert seen[0].grad is not None
    sizes_T = seen[0].grad[0].abs().amax(dim=1)
    begin, end = batch.bounds[1], batch.bounds[2]
    assert (sizes_T[begin : end - 1] > 0).all()
    assert (sizes_T[:begin] == 0).all()
    assert (sizes_T[end:] == 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_token_does_not_see_what_comes_after_it(family: str, family_model: FamilyModel) -> None:
    model = load(family_model(family))
    row = all_targets(random_rows(1, shortest=40))[0]
    with torch.no_grad():
        before_ND = model.states(build_batch([row]))
        changed = with_other_tokens(row, seed=9)
        changed.ids[:25] = row.ids[:25]
        after_ND = model.states(build_batch([changed]))
    # Other batch rows of a matrix product may round differently: nearly, not bit for bit.
    torch.testing.assert_close(after_ND[:25], before_ND[:25], rtol=1e-5, atol=1e-5)
    assert (after_ND[25:] - before_ND[25:]).abs().amax(dim=1).min() > 1e-4


@pytest.mark.parametrize(("family", "sees_it"), [("mistral", False), ("llama", True)])
def test_a_sliding_window_reaches_as_far_as_window_times_blocks(
    family: str,
    sees_it: bool,  # noqa: FBT001 - a parameter of pytest
    family_model: FamilyModel,
) -> None:
    """Window 16 looks back 15 tokens; through 3 blocks that is 45: the first token is out of sight from place 46 on."""
    model = load(family_model(family))
    row = all_targets(random_rows(1, shortest=64, longest=64))[0]
    changed = replace(row, ids=row.ids.copy())
    changed.ids[0] = 3 + (row.ids[0] + 100) % 200
    neighbour = random_rows(1, seed=2, shortest=20)[0]
    with torch.no_grad():
        before_ND = model.states(build_batch([row]))
        after_ND = model.states(build_batch([changed]))
        packed_ND = model.states(build_batch([all_targets([neighbour])[0], changed]))[-len(after_ND) :]
    difference_N = (after_ND - before_ND).abs().amax(dim=1)
    assert (difference_N[:46] > 0).all()
    assert bool((difference_N[46:] > 0).any()) is sees_it
    torch.testing.assert_close(packed_ND, after_ND, rtol=1e-5, atol=1e-5)


def test_a_row_of_weight_two_counts_like_the_same_row_twice(tiny_model: Path) -> None:
    model = load(tiny_model)
    first, second = random_rows(2)
    twice = loss_and_gradients(model, build_batches([first, second, second], budget=10_000))
    heavy = replace(second, weights=second.weights * 2)
    assert_same(loss_and_gradients(model, build_batches([first, heavy], budget=10_000)), twice)


def test_a_network_that_looks_over_the_border_is_found_out(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attention that forgets the borders: loading notices, and conversations then go through one by one."""
    from transformers import AttentionInterface

    from tuneloop.model import attention

    expected = loss_and_gradients(load(tiny_model), [build_batch(random_rows(3))])

    def leaky(*arguments: object, **features: object) -> object:
        features.pop("bounds", None)
        return attention.packed_attention(*arguments, **features)  # type: ignore[arg-type]

    monkeypatch.setitem(AttentionInterface._global_mapping, attention.PACKED_ATTENTION, leaky)
    model = load(tiny_model)
    assert not model.is_packable
    assert_same(loss_and_gradients(model, [build_batch(random_rows(3))]), expected)


def test_positions_begin_again_in_each_conversation() -> None:
    batch = build_batch(random_rows(4))
    for begin, end in itertools.pairwise(batch.bounds):
        assert batch.positions_T[begin:end].tolist() == list(range(end - begin))
