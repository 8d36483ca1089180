"""What a recipe may let move, and what is said where it asks for what is not there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from torch import nn

from tuneloop.core.errors import ConfigError
from tuneloop.model.backbone import CausalModel
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig
from tuneloop.tune.freeze import blocks_of
from unit.train.training_kit import FAMILIES, HARDWARE, load

FamilyModel = Callable[[str], Path]

REFUSED: list[tuple[TuneConfig, str]] = [
    (FreezeConfig(trainable_blocks=4), r"tune\.trainable_blocks: the model has 3 blocks, not 4"),
    (FreezeConfig(trainable_blocks=0), "nothing would move"),
    (
        FreezeConfig(trainable_patterns=("*.nonsense",)),
        r"tune\.trainable_patterns: '\*\.nonsense' matches no parameter",
    ),
    (LoraConfig(trainable_blocks=4), r"tune\.trainable_blocks: the model has 3 blocks, not 4"),
    (LoraConfig(targets=("nonsense",)), r"tune\.targets: .*nonsense"),
]


@pytest.mark.parametrize(("tune", "message"), REFUSED)
def test_what_does_not_fit_the_model_is_refused(tune: TuneConfig, message: str, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_tune(load(tiny_model), tune, seed=0)


DESCRIBED: list[tuple[TuneConfig, str]] = [
    (FullConfig(), "all weights"),
    (FreezeConfig(trainable_blocks=2), "only blocks 1 to 2"),
    (FreezeConfig(trainable_blocks=0, train_embeddings=True, train_head=True), "only embeddings, head"),
    (FreezeConfig(trainable_blocks=1, trainable_patterns=("*norm*",)), "only blocks 2 to 2, *norm*"),
    (LoraConfig(rank=8, alpha=16), "LoRA rank 8, alpha 16, on all linear layers"),
    (
        LoraConfig(rank=2, alpha=0.5, targets=("q_proj", "v_proj"), trainable_blocks=1),
        "LoRA rank 2, alpha 0.5, on q_proj, v_proj of blocks 2 to 2",
    ),
]


@pytest.mark.parametrize(("tune", "text"), DESCRIBED)
def test_the_description_says_what_moves(tune: TuneConfig, text: str, tiny_model: Path) -> None:
    assert apply_tune(load(tiny_model), tune, seed=0).description == text


def test_counts_by_hand(tiny_model: Path) -> None:
    """A block: q 1024, k 512, v 512, o 1024, MLP 3 x 2048, two norms of 32 = 9280; embeddings and head 286 x 32."""
    total = 3 * 9280 + 2 * 286 * 32 + 32
    for tune, moving in (
        (FullConfig(), total),
        (FreezeConfig(trainable_blocks=1), 9280),
        (FreezeConfig(trainable_blocks=3, train_head=True), 3 * 9280 + 286 * 32),
    ):
        tuned = apply_tune(load(tiny_model), tune, seed=0)
        assert (tuned.num_trainable, tuned.total) == (moving, total)


def test_a_tied_tensor_counts_once(family_model: FamilyModel) -> None:
    model = load(family_model("gemma"))
    tuned = apply_tune(model, FullConfig(), seed=0)
    assert tuned.total == tuned.num_trainable == sum(parameter.numel() for parameter in model.network.parameters())
    assert len({id(parameter) for parameter in tuned.trainable.values()}) == len(tuned.trainable)


def test_chosen_layers_of_chosen_blocks(tiny_model: Path) -> None:
    tuned = apply_tune(load(tiny_model), LoraConfig(rank=2, targets=("q_proj", "v_proj"), trainable_blocks=2), seed=0)
    layers = {name.partition(".lora_")[0].removeprefix("base_model.model.model.") for name in tuned.trainable}
    assert layers == {f"layers.{block}.self_attn.{name}_proj" for block in (1, 2) for name in ("q", "v")}


def test_the_seed_decides_where_a_correction_begins(tiny_model: Path) -> None:
    def first(seed: int) -> list[float]:
        tuned = apply_tune(load(tiny_model), LoraConfig(rank=2), seed=seed)
        return next(parameter for name, parameter in tuned.trainable.items() if "lora_A" in name).flatten().tolist()

    assert first(0) == first(0)
    assert first(0) != first(1)


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_found(family: str, family_model: FamilyModel) -> None:
    assert len(blocks_of(load(family_model(family)))) == 3


def test_blocks_under_an_unknown_name_are_an_error_not_a_guess() -> None:
    class Odd(nn.Module):
        def get_decoder(self) -> nn.Module:
            return nn.Sequential(nn.Linear(1, 1))

    with pytest.raises(ConfigError, match="the blocks of Sequential are not known here"):
        blocks_of(CausalModel(Odd(), HARDWARE.device))


@pytest.mark.parametrize(
    "values",
    [{"rank": 0}, {"alpha": 0}, {"dropout": 1.0}, {"targets": "everything"}, {"trainable_blocks": 0}, {"rnak": 3}],
)
def test_a_recipe_that_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LoraConfig.model_validate(values)


def test_lora_on_gpt2_warns_of_nothing(family_model: FamilyModel) -> None:
    apply_tune(load(family_model("gpt2")), LoraConfig(rank=2), seed=0)
