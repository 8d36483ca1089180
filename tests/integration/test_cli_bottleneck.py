"""A bottleneck adapter through the command line: trained, measured, exported, talked with."""

import json
from pathlib import Path

import pytest

from integration.command_line import LEARNS, events, learnable_rows, tuneloop, write_recipe
from tuneloop.core.store import write_json
from tuneloop.deploy.adapter import BASE_FILE
from tuneloop.evaluate.records import EvalRecord
from tuneloop.model.source import hash_model
from tuneloop.train.checkpoint import Checkpoints
from tuneloop.train.records import CheckpointRecord
from tuneloop.tune.adapter import add_adapters, is_adapter_folder, load_adapters, save_adapters
from tuneloop.tune.config import AdapterConfig
from unit.train.training_kit import load

TUNE = {"kind": "adapter", "style": "houlsby", "bottleneck": 16}
STAGES = [LEARNS[0] | {"num_train_epochs": 8, "learning_rate": 3e-2}]
ASK = ("--prompt", "Say the dog", "--max-new-tokens", 8, "--json")


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose rows all have one answer."""
    folder = tmp_path_factory.mktemp("bottleneck")
    recipe = write_recipe(folder, tiny_model, learnable_rows(32), stages=STAGES, tune=TUNE)
    assert tuneloop("train", recipe, "--out", folder / "out").code == 0
    assert tuneloop("eval", folder / "out").code == 0
    return folder / "out"


@pytest.mark.slow
def test_it_learns_and_is_measured_with_its_adapter(trained: Path) -> None:
    """By hand: 3 blocks, 2 places, 2 x 32 x 16 + 32 + 16 each. The frozen head lets the loss fall to 2.3, no lower."""
    (tuned,) = events(trained, "tuned")
    assert tuned["trainable"] == 3 * 2 * (2 * 32 * 16 + 32 + 16)
    score = EvalRecord.load(trained / "records/eval-1.json").score("loss")
    checkpoint = CheckpointRecord.load(trained / "records/checkpoint-1.json")
    assert score is not None
    assert score.value == pytest.approx(checkpoint.validation_loss, rel=1e-5)
    losses = [event["loss"] for event in events(trained, "step")]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
def test_it_is_exported_as_a_folder_that_says_the_same(trained: Path, tiny_model: Path) -> None:
    result = tuneloop("export", trained, "--format", "adapter")
    assert result.code == 0, result.err
    folder = trained / "export/adapter"
    assert is_adapter_folder(folder)
    assert json.loads((folder / "adapter_config.json").read_text())["style"] == "houlsby"
    answer = tuneloop("chat", trained, *ASK)
    assert answer.json["answer"] == "the cat"

    checkpoint = CheckpointRecord.load(trained / "records/checkpoint-1.json")
    checkpoints = Checkpoints((trained / checkpoint.manifest).parent)
    weights = checkpoints.load_weights(checkpoints.read(trained / checkpoint.manifest))
    model = load(tiny_model)
    load_adapters(model, folder)
    loaded = dict(model.network.named_parameters())
    assert all(loaded[name].equal(tensor) for name, tensor in weights.items())


def test_chat_takes_any_folder_that_save_adapters_wrote(tiny_model: Path, tmp_path: Path) -> None:
    """A silent adapter answers as its base does; one that shouts does not."""
    answers = {}
    for name, value in (("silent", 0.0), ("loud", 3.0)):
        model = load(tiny_model)
        add_adapters(model, AdapterConfig(), seed=0)
        for parameter_name, parameter in model.network.named_parameters():
            if parameter_name.endswith("up.weight"):
                parameter.data[::2] = value
            elif parameter_name.endswith("down.bias"):
                parameter.data.fill_(value)
        save_adapters(model, tmp_path / name)
        write_json(tmp_path / name / BASE_FILE, {"source": str(tiny_model), "sha256": hash_model(tiny_model)})
        result = tuneloop("chat", tmp_path / name, *ASK)
        assert result.code == 0, result.err
        answers[name] = result.json["answer"]
    assert answers["silent"] == tuneloop("chat", tiny_model, *ASK).json["answer"]
    assert answers["loud"] != answers["silent"]
