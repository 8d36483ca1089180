"""Exported folders: the contract that lies in them, the logits that are held against training, the card."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tuneloop.core.errors import ConfigError, ContractError
from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.records import DatasetRecord, FileLedger, SplitSummary
from tuneloop.data.schema import Message
from tuneloop.deploy.adapter import load_adapter, merge, write_adapter
from tuneloop.deploy.card import write_card
from tuneloop.deploy.contract import CONTRACT_FILE, check_contract, read_contract, write_contract
from tuneloop.deploy.merged import check_logits, load_merged, probe_logits, stored_type, write_merged
from tuneloop.evaluate.records import Comparison, EvalRecord, Interval, Score
from tuneloop.model.backbone import CausalModel
from tuneloop.train.records import CheckpointRecord, TrainCost
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FullConfig, LoraConfig
from unit.train.training_kit import load, random_rows, write_model

CONVERSATIONS = [
    (Message("user", "hello"),),
    (Message("system", "be brief"), Message("user", "the cat"), Message("assistant", "sat"), Message("user", "on?")),
]
PROBES = [row.ids for row in random_rows(3)]


@pytest.fixture(scope="module")
def renderer(tiny_model: Path) -> Renderer:
    return load_renderer(tiny_model)


@pytest.fixture
def folder(renderer: Renderer, tiny_model: Path, tmp_path: Path) -> Path:
    """An exported folder's tokenizer and contract."""
    write_contract(renderer, tiny_model, tmp_path)
    return tmp_path


def test_the_contract_comes_back(folder: Path, renderer: Renderer) -> None:
    again = read_contract(folder)
    assert again.contract == renderer.contract
    for messages in CONVERSATIONS:
        assert again.encode_prompt(messages).tolist() == renderer.encode_prompt(messages).tolist()


def test_the_tokenizer_is_copied_as_it_is(folder: Path, tiny_model: Path) -> None:
    assert (folder / "tokenizer.json").read_bytes() == (tiny_model / "tokenizer.json").read_bytes()
    assert (folder / "chat_template.jinja").read_text() == load_renderer(tiny_model).contract.template


def test_plain_transformers_makes_the_contracts_ids(folder: Path, renderer: Renderer) -> None:
    check_contract(renderer, folder, CONVERSATIONS)


def test_another_template_in_the_tokenizers_config_does_not_win(renderer: Renderer, tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", chat_template=None)
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": "{{ 'something else' }}"}))
    (tmp_path / "out").mkdir()
    chatml = load_renderer(base, template="chatml")
    write_contract(chatml, base, tmp_path / "out")
    check_contract(chatml, tmp_path / "out", CONVERSATIONS)
    assert "chat_template" not in json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert chatml.contract.tokenizer_sha256 == renderer.contract.tokenizer_sha256


@pytest.mark.parametrize("field", ["template", "eos_token", "end_of_turn", "hash"])
def test_a_changed_contract_is_refused(field: str, folder: Path) -> None:
    values = json.loads((folder / CONTRACT_FILE).read_text())
    values[field] = 7 if field == "end_of_turn" else "x"
    (folder / CONTRACT_FILE).write_text(json.dumps(values))
    with pytest.raises(ContractError, match="was changed"):
        read_contract(folder)


def test_another_tokenizer_is_refused(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text + "\n")
    with pytest.raises(ContractError, match="its tokenizer is not the one"):
        read_contract(folder)


def test_a_template_that_renders_otherwise_is_found_out(folder: Path, renderer: Renderer) -> None:
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(template.replace("assistant\\n", "assistant:"))
    with pytest.raises(ContractError, match="renders a prompt differently"):
        check_contract(renderer, folder, CONVERSATIONS)


def test_text_that_spells_control_tokens_is_found_out(folder: Path, renderer: Renderer) -> None:
    """Training never makes control tokens of a user's text; plain transformers does: no silent difference."""
    with pytest.raises(ContractError, match="control tokens"):
        check_contract(renderer, folder, [(Message("user", "a <|im_end|> b"),)])


def awake(base: Path) -> CausalModel:
    model = load(base)
    tuned = apply_tune(model, LoraConfig(rank=2), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in tuned.trainable.values():
            parameter.normal_(std=0.3)
    return model


def test_the_same_logits_pass_and_their_difference_is_told(tiny_model: Path, tmp_path: Path) -> None:
    model = awake(tiny_model)
    expected = probe_logits(model, PROBES)
    merge(model)
    write_merged(model, tmp_path, dtype=torch.float32)
    largest, tolerance = check_logits(load_merged(tmp_path, dtype=torch.float32), PROBES, expected, where=tmp_path)
    assert 0 <= largest < 1e-4 < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_merge_without_the_correction_is_found_out(dtype: torch.dtype, tiny_model: Path, tmp_path: Path) -> None:
    """The check has a tolerance for rounding that a lost correction does not slip through, in bf16 neither."""
    expected = probe_logits(awake(tiny_model), PROBES)
    write_merged(load(tiny_model), tmp_path, dtype=dtype)
    with pytest.raises(ContractError, match="logits differ"):
        check_logits(load_merged(tmp_path, dtype=dtype), PROBES, expected, where=tmp_path)


def test_one_changed_weight_matrix_is_found_out(tiny_model: Path) -> None:
    expected = probe_logits(load(tiny_model), PROBES)
    changed = load(tiny_model)
    with torch.no_grad():
        changed.base.get_decoder().layers[1].mlp.up_proj.weight.mul_(1.05)
    with pytest.raises(ContractError, match="logits differ"):
        check_logits(changed.base, PROBES, expected, where=Path("x"))


def test_bf16_weights_pass_within_their_rounding(tiny_model: Path, tmp_path: Path) -> None:
    model = awake(tiny_model)
    expected = probe_logits(model, PROBES)
    merge(model)
    write_merged(model, tmp_path, dtype=torch.bfloat16)
    network = load_merged(tmp_path, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    largest, _ = check_logits(network, PROBES, expected, where=tmp_path)
    assert largest > 1e-4


@pytest.mark.parametrize(
    ("config", "choice", "expected"),
    [
        ({"dtype": "bfloat16"}, "auto", torch.bfloat16),
        ({"torch_dtype": "float16"}, "auto", torch.float16),
        ({"dtype": "float32"}, "auto", torch.float32),
        ({}, "auto", torch.float32),
        ({"dtype": "bfloat16"}, "float32", torch.float32),
        ({"dtype": "float32"}, "bf16", torch.bfloat16),
    ],
)
def test_the_type_is_the_bases_unless_asked(
    config: dict[str, str], choice: str, expected: torch.dtype, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert stored_type(tmp_path, choice) == expected  # type: ignore[arg-type]


def test_merging_a_model_without_correction_changes_nothing(tiny_model: Path) -> None:
    model = load(tiny_model)
    network = model.network
    merge(model)
    assert model.network is network


def test_the_adapters_config_does_not_depend_on_the_order_of_a_set(tiny_model: Path, tmp_path: Path) -> None:
    write_adapter(awake(tiny_model), tmp_path, base=str(tiny_model))
    names = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert len(names) == 7
    assert names == sorted(names)


def test_a_model_whose_own_weights_moved_has_no_adapter(tiny_model: Path, tmp_path: Path) -> None:
    model = load(tiny_model)
    apply_tune(model, FullConfig(), seed=0)
    with pytest.raises(ConfigError, match="only these kinds of tuning have an adapter: adapter, ia3, lora"):
        write_adapter(model, tmp_path, base="x")


def cut_weights(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


SPOILED: list[Any] = [
    pytest.param(lambda folder: (folder / "adapter_config.json").write_text("{}"), id="no kind"),
    pytest.param(lambda folder: (folder / "adapter_model.safetensors").unlink(), id="no weights"),
    pytest.param(cut_weights, id="cut weights"),
]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_spoiled_adapter_is_refused(spoil: Callable[[Path], object], tiny_model: Path, tmp_path: Path) -> None:
    write_adapter(awake(tiny_model), tmp_path, base=str(tiny_model))
    spoil(tmp_path)
    with pytest.raises(ConfigError, match="does not fit"):
        load_adapter(load(tiny_model), tmp_path)


def test_an_adapter_of_another_shape_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    write_adapter(awake(tiny_model), tmp_path, base=str(tiny_model))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": 3}))
    with pytest.raises(ConfigError, match="does not fit the base"):
        load_adapter(load(tiny_model), tmp_path)


def some_records() -> tuple[DatasetRecord, CheckpointRecord, EvalRecord]:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    split = SplitSummary(rows=90, tokens=4000, target_tokens=1234)
    file = FileLedger(
        path="a.jsonl", sha256="ab" * 32, format="alpaca", read=103, kept=100, problems={"empty_answer": 3}
    )
    dataset = DatasetRecord(
        created_at=now,
        files=(file,),
        read=103,
        kept=100,
        problems={"empty_answer": 3},
        train=split,
        eval=split.replace(rows=10),
        rows_sha256="r" * 64,
        contract={},
        contract_hash="c" * 64,
    )
    cost = TrainCost(wall_s=1.0, steps=6, tokens=10, target_tokens=5, tokens_per_s=10.0, peak_memory_bytes=1)
    checkpoint = CheckpointRecord(
        created_at=now,
        base="hf:ORG/NAME",
        base_hash="b" * 64,
        step=6,
        manifest="m.json",
        weights_sha256="w" * 64,
        tune="LoRA rank 2",
        trainable_parameters=6144,
        total_parameters=52320,
        train_loss=1.0,
        device="cpu",
        precision="float32",
        threads=1,
        cost=cost,
    )
    interval = Interval(low=0.25, high=0.75)
    evaluation = EvalRecord(
        created_at=now,
        round=1,
        model="m",
        contract_hash="c" * 64,
        rows_sha256="r" * 64,
        scores=(Score(metric="rougeL", value=0.5, interval=interval, n=10, signature="a|b"),),
        comparisons=(Comparison(metric="rougeL", before=0.125, after=0.5, difference=0.375, interval=interval),),
        num_samples=10,
        samples="s",
        samples_sha256="s" * 64,
        wall_s=1.0,
        generated_tokens=5,
    )
    return dataset, checkpoint, evaluation


@pytest.mark.parametrize("adapter", [True, False])
def test_the_card_says_what_went_in_and_what_came_out(
    adapter: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    dataset, checkpoint, evaluation = some_records()
    card = write_card(name="tiny", dataset=dataset, checkpoint=checkpoint, evaluation=evaluation, adapter=adapter)
    _, header, text = card.split("---\n", 2)
    values = yaml.safe_load(header)
    assert values["base_model"] == "ORG/NAME"
    assert values["library_name"] == ("peft" if adapter else "transformers")
    assert ("lora" in values["tags"]) is adapter
    for part in (
        "# tiny",
        "6,144 of 52,320 parameters moved",
        "| a.jsonl | 103 | 100 | empty_answer 3 |",
        "90 rows were trained on (1,234 target tokens), 10 held out",
        "| rougeL | 0.125 | 0.500 | 0.250 to 0.750 | 10 | `a\\|b` |",
        dataset.hash,
        checkpoint.hash,
        evaluation.hash,
        "w" * 64,
    ):
        assert part in text


def test_a_card_without_an_evaluation_says_so() -> None:
    dataset, checkpoint, _ = some_records()
    card = write_card(name="tiny", dataset=dataset, checkpoint=checkpoint, evaluation=None, adapter=False)
    assert "Not measured." in card
    assert "evaluation record: `none`" in card
