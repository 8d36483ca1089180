"""Each optimiser against formulas written out here in float64, or against another library."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tuneloop.train.config import StageConfig
from tuneloop.train.optim import build_optimizer, set_learning_rate

RATE, DECAY, STEPS, EPS = 1e-3, 0.1, 6, 1e-8
SHAPES = {"up": (96, 48), "down": (48, 96), "norm": (48,)}


def start(scale: float = 0.1) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn(shape) * scale for name, shape in SHAPES.items()}


def gradient(name: str, step: int) -> Tensor:
    torch.manual_seed(1000 * step + sum(map(ord, name)))
    return torch.randn(SHAPES[name]) * 0.01


def trained(kind: str, *, steps: int = STEPS, **changes: object) -> dict[str, Tensor]:
    """The weights after some steps of ours."""
    config = StageConfig.model_validate(
        {"optimizer": kind, "weight_decay": DECAY, "adam_epsilon": EPS, "optimizer_rank": 8} | changes
    )
    weights = {name: nn.Parameter(value) for name, value in start().items()}
    optimizer = build_optimizer(weights, config)
    set_learning_rate(optimizer, RATE)
    for step in range(1, steps + 1):
        for name, weight in weights.items():
            weight.grad = gradient(name, step)
        optimizer.step()
    return {name: weight.detach() for name, weight in weights.items()}


def by_formula(
    update: Callable[[Tensor, int, dict[str, Tensor]], Tensor],
    names: tuple[str, ...] = tuple(SHAPES),
    steps: int = STEPS,
) -> dict[str, Tensor]:
    """W <- W - rate decay W - rate update(gradient, step, state), in float64; vectors do not decay."""
    results = {}
    for name in names:
        weight, state = start()[name].double(), {}
        for step in range(1, steps + 1):
            decay = DECAY if weight.ndim > 1 else 0.0
            weight = weight * (1 - RATE * decay) - RATE * update(gradient(name, step).double(), step, state)
        results[name] = weight
    return results


def check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], share: float = 1e-4) -> None:
    """What the weights moved by agrees up to a share of it: a tolerance on the weights would hide a wrong step."""
    for name, value in expected.items():
        before = start()[name].double()
        moved, wanted = found[name].double() - before, value - before
        assert (moved - wanted).norm() < share * wanted.norm(), name


def adam(gradient: Tensor, step: int, state: dict[str, Tensor], eps: float = EPS) -> Tensor:
    """Kingma and Ba 2015, algorithm 1 (arXiv:1412.6980)."""
    state["m"] = 0.9 * state.get("m", torch.zeros_like(gradient)) + 0.1 * gradient
    state["v"] = 0.999 * state.get("v", torch.zeros_like(gradient)) + 0.001 * gradient**2
    return (state["m"] / (1 - 0.9**step)) / ((state["v"] / (1 - 0.999**step)).sqrt() + eps)


def lion(gradient: Tensor, _: int, state: dict[str, Tensor]) -> Tensor:
    """Chen et al. 2023, algorithm 2 (arXiv:2302.06675)."""
    mean = state.get("m", torch.zeros_like(gradient))
    state["m"] = 0.99 * mean + 0.01 * gradient
    return torch.sign(0.9 * mean + 0.1 * gradient)


def test_adamw() -> None:
    check(trained("adamw"), by_formula(adam))


def test_lion() -> None:
    """The sign of a number near 0 may differ between float32 and float64: none does here."""
    pytest.importorskip("pytorch_optimizer")
    check(trained("lion"), by_formula(lion))


def test_adafactor_is_that_of_the_trainer() -> None:
    """Against transformers' Adafactor as its Trainer sets it, whose weights are smaller than 1 in root mean square.

    Its 1e-30 is added to squares, here it is the least variance: no difference at these sizes.
    """
    from transformers.optimization import Adafactor

    weights = {name: nn.Parameter(value) for name, value in start().items()}
    groups = [{"params": [weight], "weight_decay": DECAY if weight.ndim > 1 else 0.0} for weight in weights.values()]
    reference = Adafactor(groups, lr=RATE, scale_parameter=False, relative_step=False)
    for step in range(1, STEPS + 1):
        for name, weight in weights.items():
            weight.grad = gradient(name, step)
        reference.step()
    check(trained("adafactor"), {name: weight.detach().double() for name, weight in weights.items()})


def test_adafactor_learns_from_rows_without_gradient_and_from_tiny_ones() -> None:
    weights = {"w": nn.Parameter(torch.ones(4, 6))}
    optimizer = build_optimizer(weights, StageConfig(optimizer="adafactor"))
    set_learning_rate(optimizer, RATE)
    weights["w"].grad = torch.zeros(4, 6)
    weights["w"].grad[1] = 1e-9
    optimizer.step()
    moved = 1 - weights["w"].detach()
    assert torch.equal(moved[0], torch.zeros(6))
    # One row of four has all the square: 2 in that row makes a root mean square of 1, the clipping threshold.
    torch.testing.assert_close(moved[1], torch.full((6,), 2 * RATE), rtol=1e-3, atol=1e-6)


def test_muon_is_newton_and_schulz_of_the_momentum() -> None:
    """Jordan et al. 2024 (kellerjordan.github.io/posts/muon), five steps of its polynomial.

    Torch computes them in bfloat16, with 8 bits: the direction agrees to a few thousandths.
    """

    def muon(gradient: Tensor, _: int, state: dict[str, Tensor]) -> Tensor:
        state["m"] = 0.95 * state.get("m", torch.zeros_like(gradient)) + 0.05 * gradient
        x = 0.05 * gradient + 0.95 * state["m"]
        is_tall = x.shape[0] > x.shape[1]
        x = (x.T if is_tall else x) / x.norm()
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x - 4.775 * gram @ x + 2.0315 * gram @ gram @ x
        x = x.T if is_tall else x
        # Equation 4 of arXiv:2502.16982: the root mean square of AdamW's updates, 0.2 to 0.4.
        return 0.2 * math.sqrt(max(gradient.shape)) * x

    check(trained("muon"), by_formula(muon, ("up", "down")), share=0.02)
    check(trained("muon"), by_formula(adam, ("norm",)))


def test_muons_steps_are_nearly_orthonormal() -> None:
    moved = trained("muon", steps=1, weight_decay=0.0)["down"] - start()["down"]
    singular = torch.linalg.svdvals(moved / (RATE * 0.2 * math.sqrt(96)))
    assert singular.min() > 0.5
    assert singular.max() < 1.3


def test_galore_is_adam_on_the_strongest_directions() -> None:
    """Zhao et al. 2024, algorithm 2 (arXiv:2403.03507), with the directions of the first gradient."""
    pytest.importorskip("pytorch_optimizer")

    def galore(gradient: Tensor, step: int, state: dict[str, Tensor]) -> Tensor:
        is_tall = gradient.shape[0] > gradient.shape[1]
        gradient = gradient.T if is_tall else gradient
        if step == 1:
            state["directions"] = torch.linalg.svd(gradient)[0][:, :8]
        # The library adds epsilon to the root of the variance before its correction, as the paper's code does.
        small = adam(state["directions"].T @ gradient, step, state, EPS / math.sqrt(1 - 0.999**step))
        update = math.sqrt(48 / 8) * state["directions"] @ small
        return update.T if is_tall else update

    # It decays after the step instead of before: a ten-thousandth of the step.
    check(trained("galore"), by_formula(galore, ("up", "down")), share=5e-4)
    check(trained("galore"), by_formula(adam, ("norm",)))


def test_galores_space_changes_every_so_many_steps() -> None:
    pytest.importorskip("pytorch_optimizer")
    few, many = (trained("galore", optimizer_update_steps=steps) for steps in (3, 100))
    assert torch.linalg.matrix_rank(few["up"] - start()["up"] * (1 - RATE * DECAY) ** STEPS, rtol=1e-3) > 8
    assert torch.linalg.matrix_rank(many["up"] - start()["up"] * (1 - RATE * DECAY) ** STEPS, rtol=1e-3) == 8


def test_apollo_is_its_algorithm() -> None:
    """Zhu et al. 2024, algorithm 1 (arXiv:2412.05270), first step, where Adam's is the sign.

    Each column moves along the gradient, by sqrt(48 / 8) sqrt(8) / |P g|.
    """
    torch.manual_seed(5)
    seed = int(torch.randint(1 << 62, (1,)).item())
    projection = torch.randn((8, 48), generator=torch.Generator().manual_seed(seed)) / math.sqrt(8)
    weight = nn.Parameter(start()["down"])
    optimizer = build_optimizer({"down": weight}, StageConfig(optimizer="apollo", optimizer_rank=8, adam_epsilon=EPS))
    set_learning_rate(optimizer, RATE)
    weight.grad = gradient("down", 1)
    torch.manual_seed(5)
    optimizer.step()
    moved = weight.detach() - start()["down"]
    scales = math.sqrt(48 / 8) * math.sqrt(8) / (projection @ weight.grad).norm(dim=0)
    torch.testing.assert_close(moved, -RATE * weight.grad * scales, rtol=1e-3, atol=1e-6)


def test_apollo_moves_along_the_gradient_and_in_all_its_rank() -> None:
    """The library pytorch_optimizer moves inside the small space, which is not the paper's method."""
    moved = trained("apollo", steps=1, weight_decay=0.0)["up"] - start()["up"]
    assert torch.linalg.matrix_rank(moved, rtol=1e-3) == 48
    assert nn.functional.cosine_similarity(moved.flatten(), -gradient("up", 1).flatten(), dim=0) > 0.9


def test_apollos_norm_grows_by_a_hundredth_at_most() -> None:
    weight = nn.Parameter(torch.zeros(48, 96))
    optimizer = build_optimizer({"down": weight}, StageConfig(optimizer="apollo", optimizer_rank=8))
    set_learning_rate(optimizer, RATE)
    norms = []
    for step in range(1, 5):
        before = weight.detach().clone()
        weight.grad = gradient("down", step) * 10**step
        optimizer.step()
        norms.append((weight.detach() - before).norm().item())
    for one, following in pairwise(norms):
        assert following <= 1.0101 * one


@pytest.mark.parametrize("kind", ["muon", "galore", "apollo"])
def test_steps_have_the_size_of_adamws(kind: str) -> None:
    """So that its learning rates fit: root mean squares of first steps, within a factor of 5 (muon: 0.2 to 0.4)."""
    if kind == "galore":
        pytest.importorskip("pytorch_optimizer")
    for name in ("up", "down"):
        sizes = [
            (trained(some, steps=1, weight_decay=0.0)[name] - start()[name]).square().mean().sqrt()
            for some in (kind, "adamw")
        ]
        assert (0.15 if kind == "muon" else 0.9) < sizes[0] / sizes[1] < 1.2


def test_eight_bits_stay_near_adamw() -> None:
    """Over 20 steps the path differs by less than a twentieth of its length: moments have 8 bits in blocks of 256.

    A vector is too small for 8 bits and differs by rounding only.
    """
    pytest.importorskip("bitsandbytes")
    found, expected = (trained(kind, steps=20) for kind in ("adamw_8bit", "adamw"))
    check(found, {name: expected[name].double() for name in ("up", "down")}, share=0.05)
    check(found, {"norm": expected["norm"].double()})
    assert not torch.equal(found["up"], expected["up"])
