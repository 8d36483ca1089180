"""Quantised layers as parts of a network: which are, how many weights and bytes they have, where they go."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tuneloop.core.errors import ConfigError, MissingError, ModelError
from tuneloop.model.compact import compact_frozen
from tuneloop.model.config import ModelConfig
from tuneloop.model.load import load_model
from tuneloop.model.quantize import (
    bits_a_weight,
    dequantise,
    num_quantised,
    quantise_linear,
    quantised_layers,
    rounding_error,
)
from tuneloop.train.flops import matrix_shapes, shape_of
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig, quantised_refusal
from unit.train.training_kit import HARDWARE, load, write_model

pytest.importorskip("bitsandbytes")

NF4 = ModelConfig(quantization="nf4")


def test_only_the_linear_layers_of_blocks_are_quantised(tiny_model: Path) -> None:
    plain, model = load(tiny_model), load_model(tiny_model, HARDWARE, NF4)
    names = {name for name, module in model.network.named_modules() if module in set(quantised_layers(model.network))}
    linears = {name for name, module in plain.network.named_modules() if isinstance(module, nn.Linear)}
    assert names == linears - {"lm_head"}
    left = {name for name, _ in model.network.named_parameters()}
    assert left == {name for name, _ in plain.network.named_parameters()} - {f"{name}.weight" for name in names}
    for name, parameter in model.network.named_parameters():
        assert torch.equal(parameter, plain.network.get_parameter(name)), name
        assert parameter.dtype == torch.float32


def test_a_tensor_that_is_rounded_while_loading_is_rounded_as_one_that_was_there(tiny_model: Path) -> None:
    plain, model = load(tiny_model), load_model(tiny_model, HARDWARE, NF4)
    for name, layer in model.network.named_modules():
        if layer in set(quantised_layers(model.network)):
            original: Any = plain.network.get_submodule(name)
            assert torch.equal(layer.weight, quantise_linear(original, original.weight, NF4).weight)


def test_weights_are_counted_by_number_and_not_by_byte(tiny_model: Path) -> None:
    plain, model = load(tiny_model), load_model(tiny_model, HARDWARE, NF4)
    assert num_quantised(plain.network) == 0
    lora = LoraConfig(rank=4)
    of_plain, of_model = apply_tune(plain, lora, seed=0), apply_tune(model, lora, seed=0)
    assert (of_plain.total, of_plain.num_trainable) == (of_model.total, of_model.num_trainable)
    assert shape_of(plain) == shape_of(model)
    assert matrix_shapes(plain) == matrix_shapes(model)


@pytest.mark.parametrize(
    ("config", "bits"),
    [
        (NF4, 4 + 8 / 64 + 32 / (64 * 256)),
        (ModelConfig(quantization="fp4", double_quantization=False), 4 + 32 / 64),
        (ModelConfig(quantization="int8"), 8 + 32 / 1024),
    ],
    ids=["nf4", "fp4", "int8"],
)
def test_stored_bits_are_those_of_the_paper(config: ModelConfig, bits: float) -> None:
    layer = quantise_linear(nn.Linear(1024, 512, bias=False), torch.randn(512, 1024), config)
    assert bits_a_weight(layer) == pytest.approx(bits, abs=1e-3)


def test_the_rounding_error_is_that_of_all_weights_together(tiny_model: Path) -> None:
    plain, model = load(tiny_model), load_model(tiny_model, HARDWARE, NF4)
    change = before = 0.0
    for name, layer in model.network.named_modules():
        if layer in set(quantised_layers(model.network)):
            original: Any = plain.network.get_submodule(name)
            change += float((layer.weight - original.weight).detach().double().square().sum())
            before += float(original.weight.detach().double().square().sum())
    assert rounding_error(model.network) == pytest.approx((change / before) ** 0.5, rel=1e-5)
    assert rounding_error(plain.network) == 0.0


def test_a_network_moves_and_is_copied_with_its_codes(tiny_model: Path) -> None:
    model = load_model(tiny_model, HARDWARE, NF4)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        expected = model.network(input_ids=ids).logits
        assert torch.equal(copy.deepcopy(model.network)(input_ids=ids).logits, expected)
        model.network.to(torch.float64).to(torch.float32)
        assert torch.equal(model.network(input_ids=ids).logits, expected)
    layer = next(quantised_layers(model.network.to("meta")))
    assert layer.weight.device.type == "meta"


def test_a_quantised_weight_cannot_be_written(tiny_model: Path) -> None:
    layer = next(quantised_layers(load_model(tiny_model, HARDWARE, NF4).network))
    with pytest.raises(AttributeError, match="plain layer"):
        layer.weight = nn.Parameter(torch.zeros(2, 2))
    assert not any("weight" in name for name in layer.state_dict())


def test_dequantised_a_network_is_plain_and_answers_the_same(tiny_model: Path) -> None:
    model = load_model(tiny_model, HARDWARE, NF4)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        expected = model.network(input_ids=ids).logits
        assert dequantise(model.network) == 7 * 3
        assert torch.equal(model.network(input_ids=ids).logits, expected)
    assert num_quantised(model.network) == dequantise(model.network) == 0
    assert model.network.state_dict().keys() == load(tiny_model).network.state_dict().keys()


def test_frozen_weights_that_are_codes_are_not_compacted(tiny_model: Path) -> None:
    model = load_model(tiny_model, HARDWARE, NF4)
    model.autocast_dtype = torch.bfloat16
    model.network.requires_grad_(requires_grad=False)
    before = next(quantised_layers(model.network)).weight
    compact_frozen(model)
    assert torch.equal(next(quantised_layers(model.network)).weight, before)


def test_a_missing_or_misshapen_weight_is_an_error(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({key: value for key, value in tensors.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="lacks 1 weights"):
        load_model(folder, HARDWARE, NF4)
    save_file(tensors | {name: torch.zeros(3, 32)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="does not load"):
        load_model(folder, HARDWARE, NF4)


def test_layers_of_gpt2s_kind_are_refused(family_model: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="no plain linear layers"):
        load_model(family_model("gpt2"), HARDWARE, NF4)


@pytest.mark.parametrize(
    "config",
    [FullConfig(), FreezeConfig(), LoraConfig(init="pissa"), LoraConfig(init="olora")],
    ids=["full", "freeze", "pissa", "olora"],
)
def test_what_would_move_a_quantised_weight_is_refused(config: TuneConfig, tiny_model: Path) -> None:
    reason = quantised_refusal(config)
    assert reason is not None
    with pytest.raises(ConfigError, match=r"^tune: (kind|init)"):
        apply_tune(load_model(tiny_model, HARDWARE, NF4), config, seed=0)


def test_without_the_library_the_error_names_the_extra(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingError, match=r"tuneloop\[quant\]"):
        load_model(tiny_model, HARDWARE, NF4)
    assert load_model(tiny_model, HARDWARE, ModelConfig(quantization="int8")) is not None
