"""Folders to models in memory: what loads is what was saved, and what does not load is told in one paragraph."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from tuneloop.core.errors import ModelError
from tuneloop.data.batches import build_batch
from tuneloop.data.contract import load_renderer
from tuneloop.model.backbone import logits_of
from tuneloop.model.load import load_skeleton
from tuneloop.model.quiet import quiet_transformers
from unit.train.training_kit import FAMILIES, load, random_rows, write_model

FamilyModel = Callable[[str], Path]


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change_config(folder: Path, **changes: object) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | changes))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_loaded_is_what_was_saved(family: str, family_model: FamilyModel) -> None:
    model = load(family_model(family))
    saved = load_file(family_model(family) / "model.safetensors")
    found = dict(model.network.named_parameters())
    assert all(torch.equal(found[name], saved[name]) for name in found)
    assert not model.network.training
    assert model.is_packable
    assert {parameter.dtype for parameter in found.values()} == {torch.float32}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_skeleton_has_the_shapes_and_no_bytes(family: str, family_model: FamilyModel) -> None:
    skeleton, model = load_skeleton(family_model(family)), load(family_model(family))
    shapes = {name: parameter.shape for name, parameter in skeleton.network.named_parameters()}
    assert shapes == {name: parameter.shape for name, parameter in model.network.named_parameters()}
    assert {parameter.device.type for parameter in skeleton.network.parameters()} == {"meta"}


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    with quiet_transformers():
        folder = write_model(tmp_path)
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    model = load(folder)
    saved = load_file(folder / "model.safetensors")["lm_head.weight"]
    assert saved.dtype == torch.bfloat16
    assert torch.equal(model.head.weight_VD, saved.float())


SCALED = {
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 4.0, "attention_multiplier": 0.2, "residual_multiplier": 0.7},
}


@pytest.mark.parametrize("family", SCALED)
def test_heads_that_scale_their_logits(family: str, tmp_path: Path) -> None:
    """Cohere multiplies, Granite divides: the head says so, and its logits are the network's own."""
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"num_key_value_heads": 2, "vocab_size": 259, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **shape, **SCALED[family])
    network: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(5.0)
    with quiet_transformers():
        network.save_pretrained(tmp_path)
    model = load(tmp_path)
    assert model.head.scale == pytest.approx(0.3 if family == "cohere" else 0.25)
    row = random_rows(1, shortest=20)[0]
    row.weights[:] = 1.0
    with torch.no_grad():
        found_NV = logits_of(model.head, model.states(build_batch([row])))
        expected_NV = network.eval()(input_ids=torch.from_numpy(row.ids).long()[None]).logits[0, :-1]
    torch.testing.assert_close(found_NV, expected_NV, rtol=1e-5, atol=1e-5 * float(expected_NV.abs().max()))


def test_a_head_that_is_not_known_is_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that does something of its own between the hidden states and the logits."""
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    forward = LlamaForCausalLM.forward

    def twisted(*arguments: Any, **options: Any) -> Any:
        output = forward(*arguments, **options)
        output.logits = output.logits.flip(-1)
        return output

    monkeypatch.setattr(LlamaForCausalLM, "forward", twisted)
    with pytest.raises(ModelError, match="LlamaForCausalLM turns hidden states into logits in a way"):
        load(tiny_model)


def test_an_unknown_architecture_is_refused(copy: Path) -> None:
    change_config(copy, model_type="nonsense")
    for loader in (load, load_skeleton):
        with pytest.raises(ModelError, match=r"model\.source: .*does not load: .*nonsense"):
            loader(copy)


def test_other_shapes_than_the_configs_are_refused(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    change_config(copy, hidden_size=64)
    with pytest.raises(ModelError, match="does not load"):
        load(copy)
    capfd.readouterr()


def test_a_folder_that_lacks_a_weight_is_refused(copy: Path) -> None:
    weights = {name: tensor.clone() for name, tensor in load_file(copy / "model.safetensors").items()}
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="up_proj"):
        load(copy)


@pytest.mark.parametrize("size", [0, 7, 3000])
def test_a_cut_file_of_weights_is_refused(size: int, copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelError, match="does not load"):
        load(copy)


@pytest.mark.parametrize("content", ["{}", "", "[1"])
def test_a_broken_tokenizer_is_refused(content: str, copy: Path) -> None:
    (copy / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load_renderer(copy)


def test_a_network_that_cannot_take_bounds_goes_one_by_one(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some decoders have no room for further arguments: found out by trying."""
    from tuneloop.model.backbone import CausalModel

    run = CausalModel.run_decoder

    def picky(self: CausalModel, ids_T: torch.Tensor, places_T: torch.Tensor, bounds: Any, *more: Any) -> torch.Tensor:
        if len(bounds) > 2:
            raise TypeError("forward() got an unexpected keyword argument 'bounds'")
        return run(self, ids_T, places_T, bounds, *more)

    rows = random_rows(3)
    packed = load(tiny_model).states(build_batch(rows))
    monkeypatch.setattr(CausalModel, "run_decoder", picky)
    model = load(tiny_model)
    assert not model.is_packable
    torch.testing.assert_close(model.states(build_batch(rows)), packed, rtol=1e-5, atol=1e-5)


def said_while_loading(folder: Path) -> list[str]:
    """What transformers' logger lets through while a folder is loaded."""
    transformers_logging.warning_once.cache_clear()
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logger = transformers_logging.get_logger("transformers")
    logger.addHandler(handler)
    try:
        load(folder)
        load_skeleton(folder)
    finally:
        logger.removeHandler(handler)
    return records


@pytest.mark.parametrize(
    "family",
    [pytest.param(name) if name == "gpt2" else name for name in FAMILIES],
)
def test_loading_is_quiet(family: str, family_model: FamilyModel, capfd: pytest.CaptureFixture[str]) -> None:
    folder = family_model(family)
    capfd.readouterr()
    assert said_while_loading(folder) == []
    assert capfd.readouterr() == ("", "")
