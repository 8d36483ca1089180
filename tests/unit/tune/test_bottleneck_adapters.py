"""Bottleneck adapters: silent at first, moving alone, named, switched, saved, loaded, taken out."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tuneloop.core.errors import ConfigError
from tuneloop.core.stop import Stop
from tuneloop.data.batches import build_batches
from tuneloop.deploy.adapter import merge
from tuneloop.model.backbone import CausalModel
from tuneloop.model.fused import fuse_blocks
from tuneloop.model.load import load_skeleton
from tuneloop.model.quiet import quiet_transformers
from tuneloop.model.split import SplitDecoder, lowest_learning_block
from tuneloop.objectives.sft import Sft
from tuneloop.train.config import StageConfig
from tuneloop.train.optim import build_optimizer, set_learning_rate
from tuneloop.train.step import train_step
from tuneloop.tune.adapter import (
    active_adapter,
    adapter_names,
    add_adapters,
    has_adapters,
    is_adapter_folder,
    load_adapters,
    remove_adapters,
    save_adapters,
    set_active,
)
from tuneloop.tune.bottleneck import Bottleneck
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import AdapterConfig, TuneConfig
from unit.train.training_kit import FAMILIES, HARDWARE, STAGE, Killed, Lab, Watch, kill_at, load, outcome, random_rows

FamilyModel = Callable[[str], Path]

HOULSBY = AdapterConfig(style="houlsby", bottleneck=4, name="h")
PFEIFFER = AdapterConfig(bottleneck=4, trainable_blocks=2, name="p")
IDS_BT = torch.arange(3, 40)[None]


def logits(model: CausalModel) -> Tensor:
    with torch.no_grad():
        return model.network(input_ids=IDS_BT, use_cache=False).logits


def wake(model: CausalModel, seed: int = 0) -> None:
    """Let the active adapter say something."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.3)


def with_adapter(folder: Path, config: AdapterConfig = HOULSBY) -> CausalModel:
    model = load(folder)
    add_adapters(model, config, seed=0)
    wake(model)
    return model


def weights_of(model: CausalModel) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.network.named_parameters()}


@pytest.mark.parametrize("family", [*FAMILIES])
def test_it_is_silent_at_the_start_to_the_last_bit(family: str, family_model: FamilyModel) -> None:
    model = load(family_model(family))
    before = logits(model)
    add_adapters(model, AdapterConfig(style="houlsby", bottleneck=4), seed=0)
    assert torch.equal(logits(model), before)
    wake(model)
    assert not torch.allclose(logits(model), before, atol=1e-2)


@pytest.mark.parametrize("config", [HOULSBY, PFEIFFER])
def test_a_step_moves_every_layer_of_the_adapter_and_nothing_else(config: TuneConfig, tiny_model: Path) -> None:
    model = load(tiny_model)
    tuned = apply_tune(model, config, seed=0)
    before = weights_of(model)
    optimizer = build_optimizer(tuned.trainable, StageConfig())
    set_learning_rate(optimizer, 1e-2)
    for _ in range(2):
        # In the first step only W_up and its bias have a gradient: what comes before them is multiplied by zero.
        report = train_step(
            model, Sft(), build_batches(random_rows(4), budget=64), optimizer, max_grad_norm=1.0, stop=Stop()
        )
        assert report.applied
    moved = {name for name, parameter in model.network.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == set(tuned.trainable)
    assert all(".adapters." in name for name in moved)


def test_parameters_of_the_base_keep_their_names(tiny_model: Path) -> None:
    model = load(tiny_model)
    plain = list(weights_of(model))
    add_adapters(model, HOULSBY, seed=0)
    names = list(weights_of(model))
    assert [name for name in names if ".adapters." not in name] == plain
    added = {name.removeprefix("model.layers.2.") for name in names if ".adapters." in name and ".2." in name}
    ends = ("down.weight", "down.bias", "up.weight", "up.bias")
    assert added == {f"{part}.adapters.h.{end}" for part in ("self_attn", "mlp") for end in ends}
    remove_adapters(model)
    assert list(weights_of(model)) == plain


def test_only_the_last_blocks_get_adapters_and_no_gradient_flows_below(tiny_model: Path) -> None:
    model = load(tiny_model)
    text = add_adapters(model, AdapterConfig(trainable_blocks=1, reduction_factor=8), seed=0)
    assert text == "Pfeiffer adapter 'default' of 4 in 32 in blocks 2 to 2"
    blocks = {name.split(".")[2] for name, parameter in model.network.named_parameters() if parameter.requires_grad}
    assert blocks == {"2"}
    states = []
    model.network.model.layers[1].register_forward_hook(lambda *values: states.append(values[2]))
    model.network(input_ids=IDS_BT, use_cache=False)
    assert not states[0].requires_grad


def test_the_start_is_seeded_and_does_not_depend_on_other_blocks(tiny_model: Path) -> None:
    def first(seed: int, **changes: Any) -> Tensor:
        model = load(tiny_model)
        add_adapters(model, AdapterConfig(bottleneck=8, **changes), seed=seed)
        return weights_of(model)[f"model.layers.2.mlp.adapters.{changes.get('name', 'default')}.down.weight"]

    assert torch.equal(first(0), first(0, trainable_blocks=1))
    assert not torch.equal(first(0), first(1))
    assert not torch.equal(first(0), first(0, name="other"))
    assert first(0).std().item() == pytest.approx(0.01, rel=0.2)


def test_switching_between_two_adapters_changes_and_restores_answers(tiny_model: Path) -> None:
    model = load(tiny_model)
    base = logits(model)
    answers = {}
    for seed, config in enumerate((HOULSBY, PFEIFFER)):
        add_adapters(model, config, seed=0)
        wake(model, seed)
        answers[config.name] = logits(model)
    assert adapter_names(model) == ("h", "p")
    assert not torch.allclose(answers["h"], answers["p"], atol=1e-2)
    for name in ("h", "p", "h"):
        set_active(model, name)
        assert active_adapter(model) == name
        assert torch.equal(logits(model), answers[name])
        moving = [name for name, parameter in model.network.named_parameters() if parameter.requires_grad]
        assert moving
        assert all(f".adapters.{name}." in parameter for parameter in moving)
    set_active(model, None)
    assert torch.equal(logits(model), base)
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    set_active(model, "h")
    remove_adapters(model)
    assert not has_adapters(model)
    assert torch.equal(logits(model), base)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("config", [HOULSBY, PFEIFFER.replace(activation="tanh", scale=0.5, dropout=0.1)])
def test_saved_and_loaded_gives_the_same_bits(
    config: AdapterConfig, family: str, family_model: FamilyModel, tmp_path: Path
) -> None:
    model = with_adapter(family_model(family), config)
    save_adapters(model, tmp_path)
    assert is_adapter_folder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapters.safetensors"]
    path = tmp_path / "adapter_config.json"
    values = json.loads(path.read_text())
    assert values["tuneloop_adapter"] == 1
    path.write_text(json.dumps(values | {"base_sha256": "0" * 64}))
    again = load(family_model(family))
    load_adapters(again, tmp_path)
    assert torch.equal(logits(again), logits(model))
    # What only training shows must have come along too.
    save_adapters(again, tmp_path / "again")
    assert json.loads((tmp_path / "again/adapter_config.json").read_text()) == values
    names = ("adapter_config.json", "adapters.safetensors")
    assert (tmp_path / "again" / names[1]).read_bytes() == (tmp_path / names[1]).read_bytes()


def test_tensors_are_named_alike_for_every_architecture(family_model: FamilyModel, tmp_path: Path) -> None:
    for family in ("llama", "gpt2"):
        save_adapters(with_adapter(family_model(family)), tmp_path / family)
    llama, gpt2 = (load_file(tmp_path / family / "adapters.safetensors") for family in ("llama", "gpt2"))
    assert llama.keys() == gpt2.keys()
    assert {"blocks.0.attention.down.weight", "blocks.2.feed_forward.up.bias"} <= llama.keys()


def test_two_saved_adapters_live_in_one_model_under_names_of_choice(tiny_model: Path, tmp_path: Path) -> None:
    answers = {}
    for config in (HOULSBY, PFEIFFER):
        model = with_adapter(tiny_model, config.replace(name="default"))
        save_adapters(model, tmp_path / config.style)
        answers[config.style] = logits(model)
    model = load(tiny_model)
    load_adapters(model, tmp_path / "houlsby")
    with pytest.raises(ConfigError, match="has an adapter 'default' already"):
        load_adapters(model, tmp_path / "pfeiffer")
    load_adapters(model, tmp_path / "pfeiffer", name="second")
    assert torch.equal(logits(model), answers["pfeiffer"])
    set_active(model, "default")
    assert torch.equal(logits(model), answers["houlsby"])
    save_adapters(model, tmp_path / "third", name="second")
    assert json.loads((tmp_path / "third/adapter_config.json").read_text())["name"] == "second"


def test_taken_out_and_put_in_again_it_speaks_once(tiny_model: Path, tmp_path: Path) -> None:
    model = with_adapter(tiny_model)
    before = logits(model)
    save_adapters(model, tmp_path)
    remove_adapters(model)
    load_adapters(model, tmp_path)
    assert torch.equal(logits(model), before)


def _without(name: str) -> Callable[[dict[str, Any], dict[str, Tensor]], None]:
    def change(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        del tensors[name]

    return change


def _set(**changes: Any) -> Callable[[dict[str, Any], dict[str, Tensor]], None]:
    return lambda values, _: values.update(changes)


def _shorten(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    tensors["blocks.1.attention.up.weight"] = torch.zeros(32, 3)


def _stranger(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    tensors["blocks.9.attention.up.bias"] = torch.zeros(32)


DAMAGE = {
    "a tensor is missing": (_without("blocks.0.attention.up.bias"), r"it lacks blocks\.0\.attention\.up\.bias"),
    "another shape": (_shorten, r"blocks\.1\.attention\.up\.weight is \[32, 3\], not \[32, 4\]"),
    "a tensor too many": (_stranger, r"blocks\.9\.attention\.up\.bias belongs nowhere"),
    "another width": (_set(hidden_size=64), "made for a hidden size of 64; the model's is 32"),
    "more blocks": (_set(blocks=[0, 5]), "sits in blocks up to 5; the model has 3 blocks"),
    "a later version": (_set(tuneloop_adapter=2), "tuneloop_adapter: Input should be 1"),
    "an unknown style": (_set(style="parallel"), "style: "),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_that_does_not_fit_is_refused_and_the_model_left_alone(
    damage: str, tiny_model: Path, tmp_path: Path
) -> None:
    save_adapters(with_adapter(tiny_model), tmp_path)
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapters.safetensors"
    values, tensors = json.loads(config.read_text()), load_file(weights)
    change, message = DAMAGE[damage]
    change(values, tensors)
    config.write_text(json.dumps(values))
    save_file(tensors, weights)
    model = load(tiny_model)
    with pytest.raises(ConfigError, match=message):
        load_adapters(model, tmp_path)
    assert not has_adapters(model)


def test_unreadable_files_are_told_by_name(tiny_model: Path, tmp_path: Path) -> None:
    model = with_adapter(tiny_model)
    save_adapters(model, tmp_path)
    remove_adapters(model)
    weights = tmp_path / "adapters.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(ConfigError, match=r"adapters\.safetensors: not readable"):
        load_adapters(model, tmp_path)
    weights.unlink()
    with pytest.raises(ConfigError, match=r"adapters\.safetensors: not readable"):
        load_adapters(model, tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert not is_adapter_folder(tmp_path)
    with pytest.raises(ConfigError, match="no bottleneck adapter"):
        load_adapters(model, tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        load_adapters(model, tmp_path / "nowhere")


def test_names_that_cannot_be_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    model = load(tiny_model)
    with pytest.raises(ConfigError, match="no adapter to save"):
        save_adapters(model, tmp_path)
    add_adapters(model, HOULSBY, seed=0)
    with pytest.raises(ConfigError, match=r"tune\.name: the model has an adapter 'h' already"):
        add_adapters(model, HOULSBY, seed=0)
    for name in ("half", "train", "active"):
        with pytest.raises(ConfigError, match="a word of torch's own"):
            add_adapters(model, HOULSBY.replace(name=name), seed=0)
    with pytest.raises(ConfigError, match=r"no adapter 'x', only: h"):
        set_active(model, "x")
    with pytest.raises(ConfigError, match=r"the model has 3 blocks, not 4"):
        add_adapters(model, AdapterConfig(trainable_blocks=4), seed=0)


def tiny_network(family: str, **shape: int) -> CausalModel:
    from transformers import AutoConfig, AutoModelForCausalLM

    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, vocab_size=50, **shape))
    return CausalModel(network, HARDWARE.device)


def test_blocks_where_no_adapter_fits_are_refused_not_guessed() -> None:
    """Bloom adds the residual inside its layers; Mamba has neither attention nor feed-forward."""
    bloom = tiny_network("bloom", hidden_size=16, n_layer=1, n_head=2)
    with pytest.raises(ConfigError, match="BloomBlock adds the residual inside mlp"):
        add_adapters(bloom, PFEIFFER.replace(trainable_blocks=None), seed=0)
    mamba = tiny_network("mamba", hidden_size=16, num_hidden_layers=1, state_size=2)
    with pytest.raises(ConfigError, match="feed-forward of MambaBlock ends is not known"):
        add_adapters(mamba, PFEIFFER.replace(trainable_blocks=None), seed=0)
    assert not has_adapters(bloom)
    assert not has_adapters(mamba)


def test_a_routers_second_output_stays_what_it_is() -> None:
    """A mixture of experts: adapters sit behind the sum of the experts."""
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = tiny_network("mixtral", **shape, num_key_value_heads=2, num_local_experts=2)
    model.network.eval()
    before = logits(model)
    add_adapters(model, HOULSBY, seed=0)
    assert torch.equal(logits(model), before)
    wake(model)
    assert not torch.allclose(logits(model), before)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_gradient_checkpointing_leaves_every_gradient_as_it_was(family: str, family_model: FamilyModel) -> None:
    found, runs = [], []
    for checkpointing in (False, True):
        model = with_adapter(family_model(family), HOULSBY.replace(dropout=0.3))
        model.network.train()
        first = next(module for module in model.network.modules() if isinstance(module, Bottleneck))
        first.register_forward_hook(lambda *_, checkpointing=checkpointing: runs.append(checkpointing))
        if checkpointing:
            with quiet_transformers():
                model.base.gradient_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(0)
        (batch,) = build_batches(random_rows(3), budget=512)
        model.states(batch).square().sum().backward()
        parameters = dict(model.network.named_parameters())
        found.append({name: value.grad for name, value in parameters.items() if value.grad is not None})
    assert runs == [False, True, True]
    plain, again = found
    assert plain.keys() == again.keys()
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert all(".adapters." in name for name in plain)
    assert len(plain) == 3 * 2 * 4


def test_bf16_autocast_keeps_float32_weights_and_their_gradients(tiny_model: Path) -> None:
    model = with_adapter(tiny_model)
    exact = logits(model)
    model.autocast_dtype = torch.bfloat16
    (batch,) = build_batches(random_rows(3), budget=512)
    model.states(batch).float().square().sum().backward()
    moving = [parameter for parameter in model.network.parameters() if parameter.requires_grad]
    assert all(p.dtype == torch.float32 and p.grad is not None and p.grad.dtype == torch.float32 for p in moving)
    with model.autocast():
        assert (logits(model).float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_a_base_in_bf16_gets_float32_adapters(tiny_model: Path) -> None:
    model = load(tiny_model)
    model.network.to(torch.bfloat16)
    add_adapters(model, HOULSBY, seed=0)
    wake(model)
    assert logits(model).dtype == torch.bfloat16
    assert {p.dtype for p in model.network.parameters() if p.requires_grad} == {torch.float32}


def test_a_copied_network_passes_through_its_own_adapters(tiny_model: Path) -> None:
    model = with_adapter(tiny_model)
    before = logits(model)
    other = CausalModel(copy.deepcopy(model.network), model.device)
    assert torch.equal(logits(other), before)
    wake(other, seed=9)
    assert torch.equal(logits(model), before)
    changed = logits(other)
    assert not torch.allclose(changed, before, atol=1e-2)
    remove_adapters(model)
    assert torch.equal(logits(other), changed)
    remove_adapters(other)
    assert torch.equal(logits(other), logits(model))


def test_merging_leaves_a_model_with_bottlenecks_as_it_is(tiny_model: Path) -> None:
    model = with_adapter(tiny_model)
    before = logits(model)
    merge(model)
    assert has_adapters(model)
    assert torch.equal(logits(model), before)


def test_generating_with_a_cache_is_the_same_as_without(tiny_model: Path) -> None:
    model = with_adapter(tiny_model)
    model.base.set_attn_implementation("sdpa")
    answers = [
        model.base.generate(IDS_BT[:, :9], max_new_tokens=12, do_sample=False, use_cache=cache, eos_token_id=None)
        for cache in (True, False)
    ]
    assert torch.equal(*answers)


def test_shapes_alone_are_enough_to_count(tiny_model: Path) -> None:
    skeleton, model = load_skeleton(tiny_model), load(tiny_model)
    counts = [apply_tune(one, HOULSBY, seed=0) for one in (skeleton, model)]
    assert counts[0].num_trainable == counts[1].num_trainable > 0
    assert counts[0].total == counts[1].total


def test_killed_and_begun_again_it_ends_with_the_same_bits(tiny_model: Path, tmp_path: Path) -> None:
    tune = AdapterConfig(style="houlsby", bottleneck=4, dropout=0.2, trainable_blocks=1)
    whole, broken = (Lab(tiny_model, tmp_path / name, tune=tune, stages=(STAGE,)) for name in ("whole", "broken"))
    expected = outcome(whole, whole.fit())
    with pytest.raises(Killed):
        broken.fit(Watch(kill_at("step", 5)))
    assert outcome(broken, broken.fit()) == expected


def test_fused_functions_and_a_decoder_cut_in_two_pass_through_the_adapters(tiny_model: Path) -> None:
    model = with_adapter(tiny_model, PFEIFFER.replace(style="houlsby"))
    before = logits(model)
    assert fuse_blocks(model.network) > 0
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)
    cut = lowest_learning_block(model)
    assert cut == 1
    halves = SplitDecoder(model, cut)
    assert halves.agrees()
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)
