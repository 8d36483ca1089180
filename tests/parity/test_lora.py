"""LoRA against peft's own on the same seeds, and every exported folder against plain peft and transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from tuneloop.batch import total_counts
from tuneloop.core.seeds import derive_seed
from tuneloop.core.stop import Stop
from tuneloop.data.batches import build_batches
from tuneloop.data.tokens.block import TokenRow
from tuneloop.deploy.adapter import load_adapter, merge, write_adapter
from tuneloop.deploy.merged import write_merged
from tuneloop.model.backbone import CausalModel
from tuneloop.model.quiet import quiet_transformers
from tuneloop.objectives.sft import Sft
from tuneloop.train.config import StageConfig
from tuneloop.train.optim import build_optimizer, set_learning_rate
from tuneloop.train.step import train_step
from tuneloop.tune.build import Tuned, apply_tune
from tuneloop.tune.config import LoraConfig
from unit.train.training_kit import FAMILIES, load, random_rows

FamilyModel = Callable[[str], Path]

TOLERANCE = 1e-5
"""Float32 sums in another order, relative to the largest value."""
SEED = 11
CONV1D_WARNING = "ignore:fan_in_fan_out is set to False"
"""peft says so for GPT-2's layers and does the right thing."""

VARIANTS = {
    "plain": LoraConfig(rank=4, alpha=6),
    "rslora": LoraConfig(rank=4, alpha=6, use_rslora=True),
    "last blocks": LoraConfig(rank=2, alpha=8, trainable_blocks=2),
}
CASES = [
    *((family, "plain") for family in FAMILIES),
    ("llama", "rslora"),
    ("llama", "last blocks"),
    ("gpt2", "last blocks"),
]


def plain_network(folder: Path) -> Any:
    with quiet_transformers():
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return network.eval()


def pefts_own(folder: Path, config: LoraConfig) -> Any:
    """The model as a user of peft would make it by hand."""
    network = plain_network(folder)
    torch.manual_seed(derive_seed(SEED, "lora"))
    num_blocks = network.config.num_hidden_layers
    first = 0 if config.trainable_blocks is None else num_blocks - config.trainable_blocks
    with quiet_transformers():
        return peft.get_peft_model(
            network,
            peft.LoraConfig(
                task_type="CAUSAL_LM",
                r=config.rank,
                lora_alpha=config.alpha,  # type: ignore[arg-type]
                target_modules=linear_names(network),
                layers_to_transform=list(range(first, num_blocks)),
                use_rslora=config.use_rslora,
            ),
        ).eval()


def linear_names(network: Any) -> list[str]:
    """Names of all linear layers but the head, found by their type."""
    from transformers.pytorch_utils import Conv1D

    head = network.get_output_embeddings()
    found = {
        name.rpartition(".")[2]
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    return sorted(found)


def tuned_model(folder: Path, config: LoraConfig) -> tuple[CausalModel, Tuned]:
    model = load(folder)
    tuned = apply_tune(model, config, seed=SEED)
    model.network.eval()
    return model, tuned


def wake(parameters: dict[str, nn.Parameter]) -> None:
    """Give B some weights, by name, so that the correction says something and A has a gradient."""
    with torch.no_grad():
        for place, (name, parameter) in enumerate(sorted(parameters.items())):
            if "lora_B" in name:
                random = torch.Generator().manual_seed(place)
                parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.3)


def trainable(network: Any) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def logits_of_row(network: Any, row: TokenRow) -> Tensor:
    with torch.no_grad():
        return network(input_ids=torch.from_numpy(row.ids.astype(np.int64))[None], use_cache=False).logits[0]


def reference_loss(network: Any, rows: list[TokenRow]) -> Tensor:
    total, weight = torch.zeros(()), 0.0
    for row in rows:
        ids_T = torch.from_numpy(row.ids.astype(np.int64))
        weights_T = torch.from_numpy(row.weights[1:])
        nll_T = cross_entropy(network(input_ids=ids_T[None]).logits[0, :-1], ids_T[1:], reduction="none")
        total, weight = total + (nll_T * weights_T).sum(), weight + float(weights_T.sum())
    return total / weight


@pytest.mark.filterwarnings(CONV1D_WARNING)
@pytest.mark.parametrize(("family", "variant"), CASES)
def test_outputs_and_gradients_equal_pefts_own(family: str, variant: str, family_model: FamilyModel) -> None:
    config = VARIANTS[variant]
    theirs = pefts_own(family_model(family), config)
    model, tuned = tuned_model(family_model(family), config)
    reference = trainable(theirs)
    assert tuned.trainable.keys() == reference.keys()
    for name, parameter in tuned.trainable.items():
        assert torch.equal(parameter, reference[name]), name

    wake(reference)
    wake(dict(tuned.trainable))
    rows = random_rows(5)
    for row in rows[:2]:
        expected_TV = logits_of_row(theirs, row)
        largest = float(expected_TV.abs().max())
        torch.testing.assert_close(
            logits_of_row(model.network, row), expected_TV, rtol=TOLERANCE, atol=TOLERANCE * largest
        )

    reference_loss(theirs, rows).backward()
    batches = build_batches(rows, budget=64)
    counts = total_counts(Sft(), batches)
    for batch in batches:
        Sft().loss(model, batch, counts).backward()
    largest = max(float(parameter.grad.abs().max()) for parameter in reference.values() if parameter.grad is not None)
    assert largest > 0
    for name, parameter in tuned.trainable.items():
        torch.testing.assert_close(parameter.grad, reference[name].grad, rtol=TOLERANCE, atol=TOLERANCE * largest)


def test_steps_of_training_equal_a_loop_of_pefts_users(family_model: FamilyModel) -> None:
    """Clipped AdamW, three steps. Adam divides by the gradient's size, so roundings show more: 1e-4."""
    config = VARIANTS["plain"]
    rows = random_rows(6)
    theirs = pefts_own(family_model("qwen2"), config)
    optimizer = torch.optim.AdamW(trainable(theirs).values(), lr=1e-2, weight_decay=0.1)
    expected = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = reference_loss(theirs, rows)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(trainable(theirs).values(), 0.5)
        optimizer.step()
        expected.append((loss.item(), norm.item()))

    model, tuned = tuned_model(family_model("qwen2"), config)
    ours = build_optimizer(tuned.trainable, StageConfig(weight_decay=0.1))
    set_learning_rate(ours, 1e-2)
    for loss_value, norm_value in expected:
        report = train_step(model, Sft(), build_batches(rows, budget=64), ours, max_grad_norm=0.5, stop=Stop())
        assert report.applied
        assert report.loss == pytest.approx(loss_value, rel=1e-4)
        assert report.grad_norm == pytest.approx(norm_value, rel=1e-4)
    assert expected[2][0] < expected[0][0]
    for name, parameter in trainable(theirs).items():
        torch.testing.assert_close(tuned.trainable[name], parameter, rtol=1e-3, atol=1e-4)


def test_every_linear_layer_but_the_head_gets_a_correction(family_model: FamilyModel) -> None:
    """By hand, for 3 blocks of the tiny Llama (32 hidden, 64 inner, 4 heads and 2 key-value heads of 8), rank 4:

    q 32+32, k 32+16, v 32+16, o 32+32, gate 32+64, up 32+64, down 64+32 = 512; times 4 times 3 = 6144.
    """
    model, tuned = tuned_model(family_model("llama"), LoraConfig(rank=4))
    assert tuned.num_trainable == 6144
    assert not any("lm_head" in name or "embed" in name for name in tuned.trainable)
    assert tuned.total == sum(parameter.numel() for parameter in load(family_model("llama")).base.parameters()) + 6144
    assert model.base is not model.network


@pytest.mark.slow
@pytest.mark.filterwarnings(CONV1D_WARNING)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_adapter_folder_loads_with_plain_peft(family: str, family_model: FamilyModel, tmp_path: Path) -> None:
    model, tuned = tuned_model(family_model(family), VARIANTS["plain"])
    wake(dict(tuned.trainable))
    write_adapter(model, tmp_path, base="hf:someone/model")
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert peft.PeftConfig.from_pretrained(str(tmp_path)).base_model_name_or_path == "someone/model"

    with quiet_transformers():
        theirs = peft.PeftModel.from_pretrained(plain_network(family_model(family)), str(tmp_path)).eval()
    again = load(family_model(family))
    load_adapter(again, tmp_path)
    for row in random_rows(3):
        expected_TV = logits_of_row(model.network, row)
        atol = TOLERANCE * float(expected_TV.abs().max())
        assert not torch.allclose(logits_of_row(plain_network(family_model(family)), row), expected_TV, atol=100 * atol)
        torch.testing.assert_close(logits_of_row(theirs, row), expected_TV, rtol=TOLERANCE, atol=atol)
        assert torch.equal(logits_of_row(again.network, row), expected_TV)


@pytest.mark.filterwarnings(CONV1D_WARNING)
@pytest.mark.parametrize(("family", "variant"), CASES)
def test_the_merged_folder_loads_with_plain_transformers(
    family: str, variant: str, family_model: FamilyModel, tmp_path: Path
) -> None:
    model, tuned = tuned_model(family_model(family), VARIANTS[variant])
    wake(dict(tuned.trainable))
    rows = random_rows(3)
    expected = [logits_of_row(model.network, row) for row in rows]
    merge(model)
    write_merged(model, tmp_path, dtype=torch.float32)
    network = plain_network(tmp_path)
    assert not any("lora" in name for name, _ in network.named_parameters())
    for row, expected_TV in zip(rows, expected, strict=True):
        # Adding the product into the weight rounds it once more than adding it to the output does.
        atol = 3 * TOLERANCE * float(expected_TV.abs().max())
        torch.testing.assert_close(logits_of_row(network, row), expected_TV, rtol=3 * TOLERANCE, atol=atol)


@pytest.mark.parametrize(("use_rslora", "scaling"), [(False, 6 / 4), (True, 6 / 2)])
def test_merged_weights_are_w_plus_scaled_ba(
    use_rslora: bool,  # noqa: FBT001 - a parameter of pytest
    scaling: float,
    family_model: FamilyModel,
) -> None:
    """W + alpha / rank B A; alpha / sqrt(rank) with rslora. alpha 6, rank 4."""
    folder = family_model("llama")
    model, tuned = tuned_model(folder, LoraConfig(rank=4, alpha=6, use_rslora=use_rslora))
    wake(dict(tuned.trainable))
    corrections = {name: parameter.detach().clone() for name, parameter in tuned.trainable.items()}
    merge(model)
    merged = model.base.state_dict()
    base = load_file(folder / "model.safetensors")
    num_checked = 0
    for name, a_RD in corrections.items():
        if "lora_A" not in name:
            continue
        b_OR = corrections[name.replace("lora_A", "lora_B")]
        weight = name.removeprefix("base_model.model.").replace("lora_A.default.", "")
        torch.testing.assert_close(merged[weight], base[weight] + scaling * (b_OR @ a_RD), rtol=1e-6, atol=1e-6)
        num_checked += 1
    assert num_checked == 21
