"""QLoRA through the command line: trained, measured and exported on quantised weights, and the same when continued."""

import signal
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from integration.command_line import LEARNS, events, learnable_rows, start, tuneloop, wait_for, write_recipe
from tuneloop.core.store import read_json
from tuneloop.deploy.records import ExportRecord
from tuneloop.model.quantize import quantised_layers
from tuneloop.model.quiet import quiet_transformers
from tuneloop.pipeline.folder import RunFolder
from tuneloop.pipeline.talk import open_talk
from tuneloop.train.checkpoint import Checkpoints
from tuneloop.train.records import CheckpointRecord

pytest.importorskip("bitsandbytes")


UPPER = {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.2, "trainable_blocks": 1}
"""What lies below the block that learns is computed once, and kept."""


def recipe(folder: Path, model: Path, quantization: str = "nf4", **sections: object) -> Path:
    path = write_recipe(folder, model, learnable_rows(24), **{"stages": LEARNS} | sections)
    values = yaml.safe_load(path.read_text())
    values["model"]["quantization"] = quantization
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.slow
def test_a_run_on_a_quantised_base_leaves_a_merged_folder_and_an_adapter(tiny_model: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_model)
    result = tuneloop("run", path, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    run = tmp_path / "out"

    (loaded,) = events(run, "quantised")
    assert loaded["quantisation"] == "nf4"
    assert 4.0 < loaded["bits"] < 5.0
    assert 0.05 < loaded["rounding_error"] < 0.15
    record = CheckpointRecord.load(run / "records/checkpoint-1.json")
    assert record.total_parameters > loaded["weights"], "what is quantised counts"
    (merged,) = events(run, "merged_quantised")
    assert merged["rounding_error"] == loaded["rounding_error"]
    assert merged["max_logit_difference"] == ExportRecord.load(run / "records/export-merged.json").max_logit_difference

    folder = run / "export/merged"
    assert "quantization_config" not in read_json(folder / "config.json")
    assert "nf4 with double quantisation" in (folder / "README.md").read_text()
    with quiet_transformers():
        network, base = (
            AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval() for path in (folder, tiny_model)
        )
    name = "model.layers.0.mlp.down_proj.weight"
    moved = network.state_dict()[name] - base.state_dict()[name]
    assert moved.norm() > 0
    assert torch.equal(network.state_dict()["model.norm.weight"], base.state_dict()["model.norm.weight"])
    saved = read_json(run / "export/adapter/tuneloop_base.json")
    assert saved["quantization"] == "nf4"


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_killed_and_continued_it_is_the_same_bit_for_bit(quantization: str, tiny_model: Path, tmp_path: Path) -> None:
    stages = [LEARNS[0] | {"num_train_epochs": 30, "eval_steps": 5, "save_steps": 3, "gradient_checkpointing": True}]
    path = recipe(tmp_path, tiny_model, quantization, tune=UPPER, stages=stages)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    result = tuneloop("train", path, "--out", whole)
    assert result.code == 0, result.err

    running = start("train", path, "--out", cut, log=tmp_path / "log.txt")
    assert wait_for(lambda: len(events(cut, "step")) > 7, running)
    running.signal(signal.SIGKILL)
    assert running.finish().code == -signal.SIGKILL
    manifest, _ = Checkpoints(RunFolder(cut).checkpoints(1)).newest()
    assert manifest is not None
    assert manifest.fingerprint["quantization"] == quantization
    result = tuneloop("train", path, "--out", cut, "--resume")
    assert result.code == 0, result.err

    records = [CheckpointRecord.load(run / "records/checkpoint-1.json") for run in (whole, cut)]
    assert records[0].weights_sha256 == records[1].weights_sha256


def test_a_run_does_not_go_on_with_other_codes(tiny_model: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_model, stages=[LEARNS[0] | {"max_steps": 2}])
    assert tuneloop("train", path, "--out", tmp_path / "out").code == 0
    manifest, _ = Checkpoints(RunFolder(tmp_path / "out").checkpoints(1)).newest()
    assert manifest is not None
    assert manifest.fingerprint["quantization"] == "nf4"
    assert manifest.fingerprint["double_quantization"] is True
    assert manifest.fingerprint["quantised_with"].startswith("bitsandbytes ")
    assert not [name for name in manifest.weights if "lora_" not in name], "codes follow from the base"
    refused = tuneloop("train", recipe(tmp_path, tiny_model, "int8"), "--out", tmp_path / "out")
    assert refused.code == 2
    assert "model.quantization: was 'nf4', is 'int8'" in refused.err


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.slow
def test_a_recipe_with_a_quantised_base_can_be_planned(quantization: str, tiny_model: Path, tmp_path: Path) -> None:
    result = tuneloop("plan", recipe(tmp_path, tiny_model, quantization), "--probe")
    assert result.code == 0, result.err


@pytest.mark.slow
def test_the_adapter_speaks_beside_the_codes_that_it_learned_on(tiny_model: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_model, deploy={"export": ["adapter"]})
    assert tuneloop("run", path, "--out", tmp_path / "out").code == 0
    record = ExportRecord.load(tmp_path / "out/records/export-adapter.json")
    assert record.max_logit_difference < 1e-3
    talk = open_talk(str(tmp_path / "out/export/adapter"), max_new_tokens=4, temperature=0, seed=0, system=None)
    assert any(quantised_layers(talk.engine.model.network))
    assert talk.ask("Say the cat").text == "the cat"
