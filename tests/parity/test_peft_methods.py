"""LoRA's relatives, OFT, VeRA and IA3 against peft's own objects; their folders against plain peft."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from peft.optimizers import create_loraplus_optimizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from tuneloop.batch import total_counts
from tuneloop.core.seeds import derive_seed
from tuneloop.data.batches import build_batches
from tuneloop.data.tokens.block import TokenRow
from tuneloop.deploy.adapter import load_adapter, merge, write_adapter
from tuneloop.model.backbone import CausalModel
from tuneloop.model.load import load_skeleton
from tuneloop.model.quiet import quiet_transformers
from tuneloop.objectives.sft import Sft
from tuneloop.tune.build import Tuned, apply_tune
from tuneloop.tune.config import Ia3Config, LoraConfig, OftConfig, TuneConfig, VeraConfig
from unit.train.training_kit import load, random_rows

FamilyModel = Callable[[str], Path]

TOLERANCE = 1e-5
"""Float32 sums in another order, relative to the largest value."""
MERGED = 1e-4
"""A merge rounds every weight once more."""
SEED = 11
LINEAR = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
}


@dataclass(frozen=True)
class Method:
    """What a recipe says, and what a user of peft would write by hand."""

    config: TuneConfig
    pefts: Any
    words: dict[str, Any]
    families: tuple[str, ...] = ("llama", "gpt2")
    targets: dict[str, list[str]] = field(default_factory=lambda: LINEAR)

    def by_hand(self, family: str) -> Any:
        words: dict[str, Any] = {"task_type": "CAUSAL_LM", "target_modules": self.targets[family]} | self.words
        if self.pefts is not peft.OFTConfig:
            words["fan_in_fan_out"] = family == "gpt2"
        if self.pefts is peft.IA3Config:
            words["feedforward_modules"] = FEED_FORWARD[family]
        return self.pefts(**words)


FEED_FORWARD = {"llama": ["down_proj"], "gpt2": ["mlp.c_proj"]}
PATTERNS: dict[str, Any] = {
    "rank_pattern": {"(q_proj|c_attn)": 6, "(layers|h).1.mlp.(up_proj|c_fc)": 2},
    "alpha_pattern": {"(k_proj|mlp.c_proj)": 3.0},
}
RANK4 = {"r": 4, "lora_alpha": 6}


def lora(words: dict[str, Any] | None = None, families: tuple[str, ...] = ("llama", "gpt2"), **fields: Any) -> Method:
    return Method(LoraConfig(rank=4, alpha=6, **fields), peft.LoraConfig, RANK4 | (words or {}), families)


METHODS = {
    "dora": lora({"use_dora": True}, use_dora=True),
    "gaussian": lora({"init_lora_weights": "gaussian"}, init="gaussian", families=("llama",)),
    "orthogonal": lora({"init_lora_weights": "orthogonal"}, init="orthogonal", families=("llama",)),
    "pissa": lora({"init_lora_weights": "pissa"}, init="pissa"),
    "fast pissa": lora({"init_lora_weights": "pissa_niter_4"}, init="pissa", pissa_iterations=4, families=("llama",)),
    "olora": lora({"init_lora_weights": "olora"}, init="olora", families=("llama",)),
    "pissa dora": lora(
        {"init_lora_weights": "pissa", "use_dora": True}, init="pissa", use_dora=True, families=("llama",)
    ),
    "patterns": lora(PATTERNS, **PATTERNS),
    "stable pissa with patterns": lora(
        PATTERNS | {"init_lora_weights": "pissa", "use_rslora": True}, init="pissa", use_rslora=True, **PATTERNS
    ),
    "oft": Method(OftConfig(block_size=8), peft.OFTConfig, {"oft_block_size": 8}, ("llama",)),
    "exact oft": Method(
        OftConfig(block_size=16, use_cayley_neumann=False),
        peft.OFTConfig,
        {"oft_block_size": 16, "use_cayley_neumann": False},
        ("llama",),
    ),
    "vera": Method(
        VeraConfig(rank=8, d_initial=0.3),
        peft.VeraConfig,
        {"r": 8, "d_initial": 0.3, "projection_prng_key": derive_seed(SEED, "vera")},
    ),
    "ia3": Method(
        Ia3Config(),
        peft.IA3Config,
        {},
        targets={"llama": ["k_proj", "v_proj", "down_proj"], "gpt2": ["c_attn", "mlp.c_proj"]},
    ),
}
CASES = [(name, family) for name, method in METHODS.items() for family in method.families]
SPLIT = [name for name in METHODS if "pissa" in name or name == "olora"]


def plain_network(folder: Path) -> Any:
    with quiet_transformers():
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return network.eval()


def tuned_model(folder: Path, config: TuneConfig) -> tuple[CausalModel, Tuned]:
    model = load(folder)
    tuned = apply_tune(model, config, seed=SEED)
    model.network.eval()
    return model, tuned


def wake(parameters: dict[str, nn.Parameter]) -> None:
    """Move every parameter, by name, as training would."""
    with torch.no_grad():
        for place, (_, parameter) in enumerate(sorted(parameters.items())):
            random = torch.Generator().manual_seed(place)
            parameter.add_(torch.randn(parameter.shape, generator=random) * 0.1)


def trainable(network: Any) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def logits_of(network: Any, row: TokenRow) -> Tensor:
    with torch.no_grad():
        return network(input_ids=torch.from_numpy(row.ids.astype(np.int64))[None], use_cache=False).logits[0]


def assert_same(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def reference_loss(network: Any, rows: list[TokenRow]) -> Tensor:
    total, weight = torch.zeros(()), 0.0
    for row in rows:
        ids_T = torch.from_numpy(row.ids.astype(np.int64))
        weights_T = torch.from_numpy(row.weights[1:])
        nll_T = cross_entropy(network(input_ids=ids_T[None]).logits[0, :-1], ids_T[1:], reduction="none")
        total, weight = total + (nll_T * weights_T).sum(), weight + float(weights_T.sum())
    return total / weight


@pytest.mark.parametrize(("name", "family"), CASES)
def test_start_outputs_and_gradients_equal_pefts_own(name: str, family: str, family_model: FamilyModel) -> None:
    method, folder = METHODS[name], family_model(family)
    torch.manual_seed(derive_seed(SEED, "lora"))
    with quiet_transformers(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using Rank-Stabilized LoRA with rank_pattern")
        theirs = peft.get_peft_model(plain_network(folder), method.by_hand(family)).eval()
    model, tuned = tuned_model(folder, method.config)
    reference = trainable(theirs)
    assert tuned.trainable.keys() == reference.keys()
    for parameter_name, parameter in tuned.trainable.items():
        assert torch.equal(parameter, reference[parameter_name]), parameter_name

    rows = random_rows(3)
    # Orthogonal B A and what is cut out and put back are zero but for the rounding of a product.
    assert_same(logits_of(model.network, rows[0]), logits_of(plain_network(folder), rows[0]), MERGED)
    wake(reference)
    wake(dict(tuned.trainable))
    assert_same(logits_of(model.network, rows[0]), logits_of(theirs, rows[0]), TOLERANCE)

    reference_loss(theirs, rows).backward()
    batches = build_batches(rows, budget=64)
    counts = total_counts(Sft(), batches)
    for batch in batches:
        Sft().loss(model, batch, counts).backward()
    largest = max(float(parameter.grad.abs().max()) for parameter in reference.values() if parameter.grad is not None)
    assert largest > 0
    for parameter_name, parameter in tuned.trainable.items():
        expected = reference[parameter_name].grad
        torch.testing.assert_close(parameter.grad, expected, rtol=MERGED, atol=TOLERANCE * largest)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "family"), CASES)
def test_folder_and_merge_answer_as_the_tuned_model(
    name: str, family: str, family_model: FamilyModel, tmp_path: Path
) -> None:
    """The folder on a base that nobody touched, loaded by peft alone; and loaded here."""
    folder = family_model(family)
    model, tuned = tuned_model(folder, METHODS[name].config)
    wake(dict(tuned.trainable))
    row = random_rows(1)[0]
    expected_TV = logits_of(model.network, row)
    assert not torch.allclose(logits_of(plain_network(folder), row), expected_TV, atol=0.05)

    write_adapter(model, tmp_path, base="hf:someone/model")
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    with quiet_transformers():
        theirs = peft.PeftModel.from_pretrained(plain_network(folder), str(tmp_path)).eval()
    assert_same(logits_of(theirs, row), expected_TV, MERGED)
    again = load(folder)
    load_adapter(again, tmp_path)
    assert_same(logits_of(again.network, row), expected_TV, MERGED)

    merge(model)
    assert_same(logits_of(model.network, row), expected_TV, MERGED)
    assert [key for key, _ in model.base.named_parameters()] == [key for key, _ in load(folder).base.named_parameters()]


@pytest.mark.parametrize("name", SPLIT)
def test_what_was_cut_out_of_the_weights_is_exported_as_plain_lora_of_twice_the_rank(
    name: str, family_model: FamilyModel, tmp_path: Path
) -> None:
    model, tuned = tuned_model(family_model("llama"), METHODS[name].config)
    wake(dict(tuned.trainable))
    write_adapter(model, tmp_path, base="x")
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (values["init_lora_weights"], values["r"]) == (True, 8)
    assert values["rank_pattern"] == {
        key: 2 * rank for key, rank in METHODS[name].words.get("rank_pattern", {}).items()
    }


@pytest.mark.parametrize("name", ["dora", "pissa", "olora", "stable pissa with patterns", "oft", "vera", "ia3"])
def test_a_model_without_weights_counts_the_same(name: str, family_model: FamilyModel) -> None:
    """A plan is made on the meta device."""
    config = METHODS[name].config
    counted = apply_tune(load_skeleton(family_model("llama")), config, seed=SEED)
    _, real = tuned_model(family_model("llama"), config)
    assert (counted.num_trainable, counted.total, counted.description) == (
        real.num_trainable,
        real.total,
        real.description,
    )


def test_rates_of_lora_plus_are_those_of_pefts_optimizer(family_model: FamilyModel) -> None:
    """DoRA's magnitudes are vectors, which peft counts among what learns fast."""
    model, tuned = tuned_model(family_model("llama"), LoraConfig(rank=2, use_dora=True, loraplus_lr_ratio=16))
    theirs = create_loraplus_optimizer(model.network, torch.optim.AdamW, lr=1.0, loraplus_lr_ratio=16)
    rates = {id(parameter): group["lr"] for group in theirs.param_groups for parameter in group["params"]}
    assert {name: tuned.rate_factors.get(name, 1.0) for name in tuned.trainable} == {
        name: rates[id(parameter)] for name, parameter in tuned.trainable.items()
    }
    assert set(tuned.rate_factors.values()) == {16.0}
