"""The same recipe on a CUDA device and on the CPU; the code is the same, so the curves must be."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tuneloop.core.events import last_by_step, read_events
from tuneloop.core.stop import Stop
from tuneloop.pipeline.folder import RunFolder
from tuneloop.pipeline.rounds import train_round
from tuneloop.pipeline.session import Session
from tuneloop.plan import load_plan


def _losses(recipe: Path, out: Path, *overrides: str) -> list[float]:
    plan = load_plan(recipe, overrides)
    folder = RunFolder(out)
    with folder.work(plan, recipe.parent) as log:
        train_round(Session(plan, recipe.parent, folder, out, log, Stop()), plan, 1)
    return [event["loss"] for event in last_by_step(read_events(folder.events, "step"))]


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["lora", "full", "freeze"])
def test_cuda_and_cpu_learn_the_same(recipe: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    path = recipe(tune={"kind": kind})
    on_cpu = _losses(path, tmp_path / "cpu", "hardware.device=cpu")
    on_gpu = _losses(path, tmp_path / "gpu", "hardware.device=cuda", "hardware.precision=float32")
    # Sums run in another order, and each step builds on the last: a relative 1e-3 after a dozen steps.
    assert on_gpu == pytest.approx(on_cpu, rel=1e-3)


@pytest.mark.gpu
def test_bf16_stays_near_float32(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = recipe()
    exact = _losses(path, tmp_path / "exact", "hardware.device=cuda", "hardware.precision=float32")
    rounded = _losses(path, tmp_path / "rounded", "hardware.device=cuda", "hardware.precision=bf16")
    assert rounded == pytest.approx(exact, rel=0.05)
    assert rounded != exact
