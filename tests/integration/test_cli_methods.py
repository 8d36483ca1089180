"""Ways of tuning through the command line: what each leaves for others, and what it cannot leave."""

import json
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from integration.command_line import events, learnable_rows, tuneloop, write_recipe
from tuneloop.deploy.records import ExportRecord
from tuneloop.model.quiet import quiet_transformers

STAGES = [{"num_train_epochs": 1, "batch_size": 8, "learning_rate": 1e-2, "micro_batch_tokens": 512}]


def trained(folder: Path, model: Path, tune: dict[str, object], **sections: object) -> Path:
    recipe = write_recipe(folder, model, learnable_rows(16), stages=STAGES, tune=tune, **sections)
    result = tuneloop("train", recipe, "--out", folder / "out")
    assert result.code == 0, result.err
    return folder / "out"


@pytest.mark.slow
def test_a_correction_that_was_cut_out_of_the_weights_fits_the_base_as_it_was(tiny_model: Path, tmp_path: Path) -> None:
    run = trained(tmp_path, tiny_model, {"kind": "lora", "rank": 4, "alpha": 4, "init": "pissa"})
    result = tuneloop("export", run, "--json")
    assert result.code == 0, result.err
    assert [record["format"] for record in result.json["exports"]] == ["adapter", "merged"]
    assert ExportRecord.load(run / "records/export-adapter.json").max_logit_difference < 1e-3

    with quiet_transformers():
        merged, base = (
            AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
            for path in (run / "export/merged", tiny_model)
        )
        with_adapter = peft.PeftModel.from_pretrained(base, str(run / "export/adapter")).eval()
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        torch.testing.assert_close(with_adapter(ids).logits, merged(ids).logits, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("wanted", [["adapter", "merged"], ["merged"]])
def test_a_bottleneck_leaves_its_folder_alone_and_says_why(wanted: list[str], tiny_model: Path, tmp_path: Path) -> None:
    run = trained(tmp_path, tiny_model, {"kind": "adapter", "bottleneck": 4}, deploy={"export": wanted})
    refused = tuneloop("export", run, "--format", "merged")
    assert refused.code == 2
    assert "--format merged: tune.kind 'adapter' adds layers" in refused.err
    assert not (run / "export").exists()

    result = tuneloop("export", run, "--json")
    assert result.code == 0, result.err
    assert [record["format"] for record in result.json["exports"]] == ["adapter"]
    assert "merged left out: tune.kind 'adapter' adds layers" in result.err
    assert [event["format"] for event in events(run, "left_out")] == ["merged"]
    assert not (run / "export/merged").exists()
    assert json.loads((run / "export/adapter/adapter_config.json").read_text())["base_model_name_or_path"]
    card = (run / "export/adapter/README.md").read_text()
    assert "library_name: tuneloop" in card
    assert "- adapter" in card


def test_there_is_no_adapter_of_weights_that_moved_themselves(tiny_model: Path, tmp_path: Path) -> None:
    run = trained(tmp_path, tiny_model, {"kind": "freeze", "trainable_blocks": 1})
    refused = tuneloop("export", run, "--format", "adapter")
    assert refused.code == 2
    assert "tune.kind 'freeze' moves the weights themselves" in refused.err
