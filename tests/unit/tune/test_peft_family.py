"""Every method that peft implements: moves only what it names, merges to the same answers, is built again exactly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tuneloop.core.errors import ConfigError
from tuneloop.data.batches import build_batch
from tuneloop.deploy.adapter import merge
from tuneloop.model.backbone import CausalModel
from tuneloop.model.load import load_skeleton
from tuneloop.objectives.sft import Sft
from tuneloop.tune.build import Tuned, apply_tune
from tuneloop.tune.config import (
    AdapterConfig,
    FullConfig,
    Ia3Config,
    LoraConfig,
    OftConfig,
    TuneConfig,
    VeraConfig,
    export_formats,
)
from unit.train.training_kit import load, random_rows

METHODS: dict[str, TuneConfig] = {
    "lora": LoraConfig(rank=4),
    "rslora": LoraConfig(rank=4, use_rslora=True),
    "dora": LoraConfig(rank=4, use_dora=True),
    "gaussian": LoraConfig(rank=4, init="gaussian"),
    "pissa": LoraConfig(rank=4, alpha=4, init="pissa"),
    "olora": LoraConfig(rank=4, alpha=4, init="olora"),
    "orthogonal": LoraConfig(rank=4, init="orthogonal"),
    "patterns": LoraConfig(rank=4, rank_pattern={"q_proj": 8}, alpha_pattern={"layers.0.mlp.down_proj": 3.0}),
    "oft": OftConfig(block_size=8),
    "vera": VeraConfig(rank=8),
    "ia3": Ia3Config(),
}
IDS = torch.arange(3, 20)[None]


def logits(network: Any) -> torch.Tensor:
    with torch.no_grad():
        return network(input_ids=IDS).logits


def tuned(folder: Path, config: TuneConfig, *, steps: int = 0) -> tuple[CausalModel, Tuned]:
    model = load(folder)
    result = apply_tune(model, config, seed=0)
    optimizer = torch.optim.SGD(result.trainable.values(), lr=0.5)
    batch = build_batch(random_rows(3))
    for _ in range(steps):
        optimizer.zero_grad()
        Sft().loss(model, batch, Sft().counts(batch)).backward()
        optimizer.step()
    model.network.eval()
    return model, result


@pytest.mark.parametrize("config", METHODS.values(), ids=METHODS)
def test_only_what_is_named_moves_and_the_rest_is_built_again_to_the_bit(config: TuneConfig, tiny_model: Path) -> None:
    """What a checkpoint keeps are the trainable tensors: the rest has to come from base, recipe and seed alone."""
    fresh, start = tuned(tiny_model, config)
    moved, end = tuned(tiny_model, config, steps=2)
    before, after = fresh.network.state_dict(), moved.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert changed <= set(end.trainable)
    expected = logits(moved.network)
    assert not torch.allclose(expected, logits(fresh.network), atol=1e-3)
    with torch.no_grad():
        for name, parameter in start.trainable.items():
            parameter.copy_(end.trainable[name])
    assert torch.equal(logits(fresh.network), expected)
    merge(moved)
    torch.testing.assert_close(logits(moved.network), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["lora", "dora", "pissa", "olora", "oft", "vera", "ia3"])
def test_only_the_last_blocks(name: str, tiny_model: Path) -> None:
    """And below them nothing is touched, also where a method takes something out of the weights."""
    model, result = tuned(tiny_model, METHODS[name].replace(trainable_blocks=1))
    assert {key.partition("layers.")[2].partition(".")[0] for key in result.trainable} == {"2"}
    assert result.description.endswith("blocks 2 to 2") or "blocks 2 to 2, begun as" in result.description
    before = dict(load(tiny_model).base.named_parameters())
    for key, parameter in model.base.named_parameters():
        if ".layers.2." not in key:
            assert torch.equal(parameter, before[key]), key


def test_patterns_decide_ranks_and_scales(tiny_model: Path) -> None:
    model, result = tuned(tiny_model, METHODS["patterns"])
    ranks = {
        name.split(".lora_A")[0].rpartition(".")[2]: p.shape[0]
        for name, p in result.trainable.items()
        if "lora_A" in name
    }
    assert ranks["q_proj"] == 8
    assert ranks["k_proj"] == 4
    assert model.base.model.layers[0].mlp.down_proj.scaling["default"] == pytest.approx(3.0 / 4)
    assert model.base.model.layers[1].mlp.down_proj.scaling["default"] == pytest.approx(32.0 / 4)


def test_lora_plus_names_every_b(tiny_model: Path) -> None:
    _, result = tuned(tiny_model, LoraConfig(rank=2, loraplus_lr_ratio=16))
    assert set(result.rate_factors.values()) == {16}
    assert set(result.rate_factors) == {name for name in result.trainable if ".lora_B." in name}
    assert tuned(tiny_model, LoraConfig(rank=2))[1].rate_factors == {}


REFUSED: list[tuple[str, TuneConfig, str]] = [
    ("llama", LoraConfig(targets=("q_proj", "nothing", "lm_head")), "'nothing', 'lm_head' matches no linear layer"),
    ("llama", LoraConfig(targets=("layers.0.mlp.up_proj",), trainable_blocks=1), "matches no linear layer in the tr"),
    ("llama", LoraConfig(rank_pattern={"qq_proj": 3}), r"tune\.rank_pattern: 'qq_proj' matches none"),
    ("llama", LoraConfig(targets=("q_proj",), alpha_pattern={"v_proj": 3}), r"tune\.alpha_pattern: 'v_proj'"),
    ("llama", LoraConfig(rank_pattern={"*_proj": 3}), r"'\*_proj' is no regular expression"),
    (
        "llama",
        LoraConfig(rank_pattern={".*_proj": 3, "q_proj": 2}),
        r"'\.\*_proj', 'q_proj' all match model\.layers\.0",
    ),
    ("llama", LoraConfig(init="pissa", rank_pattern={"k_proj": 17}), "k_proj has only 16 directions"),
    ("llama", LoraConfig(init="olora", rank=33), "has only 32 directions"),
    ("gpt2", LoraConfig(init="olora", rank=2), "Choose pissa"),
    ("llama", OftConfig(targets=("nothing",)), "nothing"),
    ("llama", OftConfig(block_size=7), r"7 does not divide the input size 32 of .*Take 4"),
    ("llama", OftConfig(block_size=3), "does not divide .*Take 2"),
    ("gpt2", OftConfig(block_size=8), "Choose lora"),
    ("llama", VeraConfig(targets=("nothing",)), "nothing"),
    ("llama", Ia3Config(targets=("nothing",)), "nothing"),
    ("llama", Ia3Config(feed_forward=("o_proj", "nothing")), r"tune\.feed_forward: 'nothing'"),
    ("llama", Ia3Config(targets=("k_proj",), feed_forward=("down_proj",)), r"tune\.feed_forward: 'down_proj'"),
    ("llama", Ia3Config(trainable_blocks=9), "has 3 blocks"),
]


@pytest.mark.parametrize(("family", "config", "said"), REFUSED)
def test_what_does_not_fit_is_named(
    family: str, config: TuneConfig, said: str, family_model: Callable[[str], Path]
) -> None:
    with pytest.raises(ConfigError, match=said):
        apply_tune(load_skeleton(family_model(family)), config, seed=0)


@pytest.mark.parametrize(
    "values",
    [
        {"rank_pattern": {"q_proj": 0}},
        {"alpha_pattern": {"q_proj": -1}},
        {"pissa_iterations": 4},
        {"init": "orthogonal", "rank": 3},
        {"init": "orthogonal", "rank": 4, "rank_pattern": {"q_proj": 5}},
        {"init": "pizza"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LoraConfig.model_validate(values)


SCALED: list[tuple[str, Ia3Config, set[str], set[str]]] = [
    ("qwen2", Ia3Config(), {"k_proj", "v_proj"}, {"down_proj"}),
    ("gpt2", Ia3Config(), {"c_attn"}, {"mlp.c_proj"}),
    ("llama", Ia3Config(targets=("q_proj", "up_proj"), feed_forward=("up_proj",)), {"q_proj"}, {"up_proj"}),
    ("llama", Ia3Config(targets=("q_proj", "down_proj"), feed_forward=()), {"q_proj", "down_proj"}, set()),
    ("llama", Ia3Config(targets=("down_proj",)), set(), {"down_proj"}),
]


@pytest.mark.parametrize(("family", "config", "outputs", "inputs"), SCALED)
def test_ia3_scales_keys_and_values_and_what_goes_into_a_feed_forwards_last_layer(
    family: str, config: Ia3Config, outputs: set[str], inputs: set[str], family_model: Callable[[str], Path]
) -> None:
    """A factor for each input is a row, one for each output a column."""
    result = apply_tune(load_skeleton(family_model(family)), config, seed=0)
    layers = {name.partition(".ia3_l")[0]: parameter.shape for name, parameter in result.trainable.items()}
    assert len(layers) == 3 * len(outputs | inputs)
    for name, shape in layers.items():
        wanted = inputs if shape[0] == 1 else outputs
        assert any(name.endswith(f".{end}") for end in wanted), name
        assert shape.numel() == max(shape)


def test_formats_that_a_way_of_tuning_has() -> None:
    assert {name for name, why in export_formats(LoraConfig(init="pissa")).items() if why is None} == {
        "adapter",
        "merged",
    }
    assert export_formats(AdapterConfig())["adapter"] is None
    assert "Export adapter" in str(export_formats(AdapterConfig())["merged"])
    assert "Export merged" in str(export_formats(FullConfig())["adapter"])
