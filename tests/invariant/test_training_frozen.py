"""Only the chosen weights move, and every other one stays as it was, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tuneloop.data.batches import build_batch
from tuneloop.model.backbone import CausalModel
from tuneloop.train.config import StageConfig
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig
from unit.train.training_kit import FAMILIES, Lab, load, random_rows

FamilyModel = Callable[[str], Path]

CONV1D_WARNING = "ignore:fan_in_fan_out is set to False"
TIED = ("gemma", "gemma2", "gpt2")


def snapshot(model: CausalModel) -> dict[str, Tensor]:
    """Copies of all weights and buffers under the names of the plain network, whatever wraps it."""
    tensors = {**dict(model.network.named_parameters()), **dict(model.network.named_buffers())}
    return {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): tensor.detach().clone()
        for name, tensor in tensors.items()
    }


def train(folder: Path, tune: TuneConfig, where: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], set[str]]:
    """Weights of the base, weights after three decaying steps, and the names that were to move."""
    stage = StageConfig(max_steps=3, batch_size=4, learning_rate=1e-2, weight_decay=0.1, warmup_ratio=0.0, keep="last")
    lab = Lab(folder, where, tune=tune, stages=(stage,), eval_rows=())
    job = lab.job()
    lab.fit_job(job)
    chosen = {name.removeprefix("base_model.model.").replace(".base_layer", "") for name in job.trainable}
    return snapshot(load(folder)), snapshot(job.model), chosen


def assert_only_moved(before: dict[str, Tensor], after: dict[str, Tensor], chosen: set[str]) -> None:
    for name, tensor in before.items():
        is_equal = tensor.dtype == after[name].dtype and torch.equal(tensor, after[name])
        assert is_equal is (name not in chosen), name


@pytest.mark.slow
@pytest.mark.filterwarnings(CONV1D_WARNING)
@pytest.mark.parametrize("family", FAMILIES)
def test_lora_says_nothing_at_the_start(family: str, family_model: FamilyModel) -> None:
    model = load(family_model(family))
    batch = build_batch(random_rows(4))
    with torch.no_grad():
        before_ND = model.states(batch)
        apply_tune(model, LoraConfig(rank=4), seed=3)
        assert torch.equal(model.states(batch), before_ND)


@pytest.mark.filterwarnings(CONV1D_WARNING)
@pytest.mark.parametrize("family", FAMILIES)
def test_lora_moves_its_corrections_and_nothing_else(family: str, family_model: FamilyModel, tmp_path: Path) -> None:
    before, after, chosen = train(family_model(family), LoraConfig(rank=2), tmp_path)
    assert chosen
    assert all("lora_" in name for name in chosen)
    assert set(after) == set(before) | chosen
    assert_only_moved(before, after, chosen)
    assert all(after[name].abs().max() > 0 for name in chosen)


def test_lora_of_the_last_blocks_touches_no_block_below(family_model: FamilyModel, tmp_path: Path) -> None:
    _, _, chosen = train(family_model("llama"), LoraConfig(rank=2, trainable_blocks=1), tmp_path)
    assert len(chosen) == 14
    assert all(".layers.2." in name for name in chosen)


@pytest.mark.parametrize("family", FAMILIES)
def test_freeze_moves_the_last_blocks_and_nothing_else(family: str, family_model: FamilyModel, tmp_path: Path) -> None:
    before, after, chosen = train(family_model(family), FreezeConfig(trainable_blocks=2), tmp_path)
    container = "transformer.h" if family == "gpt2" else "model.layers"
    last_two = {name for name in before if name.startswith((f"{container}.1.", f"{container}.2."))}
    assert chosen == last_two
    assert_only_moved(before, after, chosen)


@pytest.mark.parametrize("family", ["llama", *TIED])
@pytest.mark.parametrize("part", ["train_embeddings", "train_head"])
def test_freeze_of_embeddings_or_head(family: str, part: str, family_model: FamilyModel, tmp_path: Path) -> None:
    """Where both are one tensor either choice moves it, and the two stay one."""
    folder = family_model(family)
    tune = FreezeConfig.model_validate({"trainable_blocks": 0, part: True})
    before, after, chosen = train(folder, tune, tmp_path)
    embeddings = "transformer.wte.weight" if family == "gpt2" else "model.embed_tokens.weight"
    expected = embeddings if family in TIED or part == "train_embeddings" else "lm_head.weight"
    assert chosen == {expected}
    assert_only_moved(before, after, chosen)


@pytest.mark.parametrize("family", TIED)
def test_tied_tensors_stay_one(family: str, family_model: FamilyModel, tmp_path: Path) -> None:
    stage = StageConfig(max_steps=2, batch_size=4, learning_rate=1e-2, keep="last")
    lab = Lab(family_model(family), tmp_path, tune=FullConfig(), stages=(stage,), eval_rows=())
    job = lab.job()
    lab.fit_job(job)
    base = job.model.base
    assert base.get_output_embeddings().weight is base.get_input_embeddings().weight
    assert sum("embed" in name or "wte" in name or "lm_head" in name for name in job.trainable) == 1


@pytest.mark.parametrize("family", ["qwen2", "gpt2"])
def test_full_moves_everything(family: str, family_model: FamilyModel, tmp_path: Path) -> None:
    before, after, chosen = train(family_model(family), FullConfig(), tmp_path)
    assert chosen == {name for name, _ in load(family_model(family)).network.named_parameters()}
    assert_only_moved(before, after, chosen)


def test_patterns_choose_by_name(tiny_model: Path, tmp_path: Path) -> None:
    tune = FreezeConfig(trainable_blocks=0, trainable_patterns=("model.norm.weight", "*.0.mlp.*"))
    before, after, chosen = train(tiny_model, tune, tmp_path)
    assert chosen == {
        "model.norm.weight",
        *(f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
    }
    assert_only_moved(before, after, chosen)
