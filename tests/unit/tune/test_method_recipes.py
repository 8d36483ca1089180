"""The recipes of `examples/methods`: read as they stand, nothing unusual in them, and each fits a model."""

from pathlib import Path

import pytest

from tuneloop.model.load import load_skeleton
from tuneloop.plan import load_plan
from tuneloop.tune.build import apply_tune

FOLDER = Path(__file__).parents[3] / "examples/methods"
RECIPES = sorted(FOLDER.glob("*.yaml"))
DESCRIBED = {
    "adapter": "Houlsby adapter 'default' of 2 in 32",
    "dora": "DoRA rank 16, alpha 32, on all linear layers",
    "ia3": "IA3 on outputs of k_proj, v_proj and on inputs of down_proj",
    "lora": "LoRA rank 16, alpha 32, on all linear layers",
    "lora_patterns": "LoRA rank 16, alpha 32, on all linear layers, with 2 patterns of rank",
    "loraplus": "LoRA rank 16, alpha 32, on all linear layers, B at 16 times the rate",
    "oft": "OFT with blocks of 32, on all linear layers",
    "olora": "LoRA rank 16, alpha 16, on all linear layers, begun as olora",
    "pissa": "LoRA rank 16, alpha 16, on all linear layers, begun as pissa",
    "qlora": "LoRA rank 16, alpha 32, on all linear layers",
    "rslora": "LoRA rank 64, alpha 16, on all linear layers, rank-stabilised",
    "vera": "VeRA rank 256, on all linear layers",
}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_an_example_fits_and_asks_for_nothing_unusual(path: Path, tiny_model: Path) -> None:
    plan = load_plan(path)
    assert plan.advice() == []
    assert f"tuneloop run {path.name}" in path.read_text()
    assert all((FOLDER / str(source.path)).exists() for source in (*plan.data.train, *plan.data.eval))
    tuned = apply_tune(load_skeleton(tiny_model), plan.tune, seed=plan.seed)
    if path.stem in DESCRIBED:
        assert tuned.description == DESCRIBED[path.stem]


def test_every_way_of_tuning_has_its_example() -> None:
    assert DESCRIBED.keys() <= {path.stem for path in RECIPES}
