"""`tuneloop run` from end to end: accepted, rejected, again, refused, twice around."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from integration.command_line import LEARNS, Result, events, learnable_rows, tree, tuneloop, write_recipe
from tuneloop.data.contract import load_renderer
from tuneloop.data.schema import Message
from tuneloop.deploy.contract import read_contract
from tuneloop.deploy.records import ExportRecord
from tuneloop.evaluate.records import EvalRecord
from tuneloop.iterate.records import Decision
from tuneloop.train.checkpoint import Checkpoints
from tuneloop.train.records import CheckpointRecord
from unit.train.training_kit import alpaca_rows, flip_bit, write_model

Recipe = Callable[..., Path]


@dataclass(frozen=True)
class Run:
    recipe: Path
    out: Path
    result: Result


@pytest.fixture(scope="module")
def accepted(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A task that is learned: every answer is the same."""
    folder = tmp_path_factory.mktemp("accepted")
    recipe = write_recipe(folder, tiny_model, learnable_rows(32), stages=LEARNS)
    return Run(recipe, folder / "out", tuneloop("run", recipe, "--out", folder / "out", "--json"))


@pytest.fixture(scope="module")
def rejected(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Answers that cannot be guessed, and two epochs."""
    folder = tmp_path_factory.mktemp("rejected")
    recipe = write_recipe(folder, tiny_model, alpaca_rows(24))
    return Run(recipe, folder / "out", tuneloop("run", recipe, "--out", folder / "out", "--json"))


def test_a_better_model_is_accepted_with_exit_code_0(accepted: Run) -> None:
    assert accepted.result.code == 0
    values = accepted.result.json
    assert (values["accepted_round"], values["rounds"], values["folder"]) == (1, 1, str(accepted.out))
    assert "clearly better" in values["reason"]
    assert values["exports"] == [str(accepted.out / "export" / name) for name in ("adapter", "merged")]
    before, after = ({score["metric"]: score for score in values[name]} for name in ("before", "after"))
    assert list(before) == list(after) == ["exact_match", "rougeL", "loss"]
    assert (before["exact_match"]["value"], after["exact_match"]["value"]) == (0.0, 1.0)
    assert after["loss"]["value"] < before["loss"]["value"]
    assert {score["n"] for score in after.values()} == {8}
    assert all(set(score) == {"metric", "value", "interval", "n", "signature", "parts"} for score in after.values())


def test_a_model_that_is_not_better_is_rejected_with_exit_code_3(rejected: Run) -> None:
    assert rejected.result.code == 3
    values = rejected.result.json
    assert (values["accepted_round"], values["exports"], values["target_met"]) == (None, [], False)
    assert "not clearly better" in values["reason"]
    assert not (rejected.out / "export").exists()


@pytest.mark.parametrize("which", ["accepted", "rejected"])
def test_a_run_leaves_its_records_and_its_report(which: str, request: pytest.FixtureRequest) -> None:
    """Each record is whole, and names the ones before it by hash."""
    run: Run = request.getfixturevalue(which)
    records = run.out / "records"
    checkpoint = CheckpointRecord.load(records / "checkpoint-1.json")
    evaluation = EvalRecord.load(records / "eval-1.json")
    decision = Decision.load(records / "decision-1.json")
    assert evaluation.parents == (checkpoint.hash,)
    assert decision.parents == (evaluation.hash, EvalRecord.load(records / "eval-0.json").hash)
    assert decision.accepted == (which == "accepted")
    assert checkpoint.validation_loss is not None
    manifest = Checkpoints.read(run.out / checkpoint.manifest)
    assert manifest.weights_sha256 == checkpoint.weights_sha256
    assert (run.out / "report.html").stat().st_size > 5000
    assert any((run.out / "tensorboard").rglob("events.out.*"))
    assert len((run.out / "round-1/eval/samples.jsonl").read_text().splitlines()) == evaluation.num_samples
    assert not list(run.out.rglob("*.part"))
    assert [event["kind"] for event in events(run.out)][-1] == "finished"


def test_the_validation_loss_is_the_loss_of_the_evaluation(accepted: Run) -> None:
    """Two ways through the same rows: packed while training, merged and sorted by length while evaluating."""
    checkpoint = CheckpointRecord.load(accepted.out / "records/checkpoint-1.json")
    score = EvalRecord.load(accepted.out / "records/eval-1.json").score("loss")
    assert score is not None
    assert score.value == pytest.approx(checkpoint.validation_loss, rel=1e-5)


def test_exports_are_recorded_file_by_file(accepted: Run) -> None:
    from tuneloop.core.store import hash_file

    for name in ("adapter", "merged"):
        record = ExportRecord.load(accepted.out / f"records/export-{name}.json")
        folder = accepted.out / record.folder
        assert record.files == {path.name: hash_file(path) for path in folder.iterdir()}
        assert record.max_logit_difference < 1e-4
        assert record.probes == 4
        assert CheckpointRecord.load(accepted.out / "records/checkpoint-1.json").hash in record.parents


@pytest.mark.parametrize("which", ["accepted", "rejected"])
def test_the_same_command_again_does_nothing_new(which: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(which)
    told = ("events.jsonl", "report.html", ".lock")
    before = tree(run.out, without=told)
    done = [len(events(run.out, kind)) for kind in ("step", "generated")]
    assert min(done) > 0
    again = tuneloop("run", run.recipe, "--out", run.out, "--json")
    assert (again.code, again.out) == (run.result.code, run.result.out)
    assert tree(run.out, without=told) == before
    assert [len(events(run.out, kind)) for kind in ("step", "generated")] == done


def test_another_recipe_into_the_same_folder_is_refused_by_name(accepted: Run) -> None:
    before = tree(accepted.out)
    other = tuneloop(
        "run", accepted.recipe, "--out", accepted.out, "--set", "tune.rank=8", "--set", "stages.0.batch_size=16"
    )
    assert other.code == 2
    assert "recipe.tune.rank: was 4, is 8" in other.err
    assert "recipe.stages.0.batch_size: was 8, is 16" in other.err
    assert "alpha" not in other.err
    assert "Traceback" not in other.err
    assert tree(accepted.out) == before


def change_rows(recipe: Path) -> None:
    path = recipe.parent / "rows.jsonl"
    path.write_text(path.read_text().replace("cat", "cow"))


def test_changed_rows_are_refused_before_the_base_is_measured(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe()
    assert tuneloop("train", path, "--out", tmp_path / "out").code == 0
    change_rows(path)
    changed = tuneloop("eval", tmp_path / "out")
    assert changed.code == 2
    assert "the rows have changed since this run began" in changed.err


@pytest.mark.slow
def test_changed_rows_are_refused_before_a_round_is_measured(recipe: Recipe, tmp_path: Path) -> None:
    """As if the run had been killed between training and evaluation, and the file had been edited then."""
    path = recipe()
    assert tuneloop("run", path, "--out", tmp_path / "out").code == 3
    for name in ("eval-1", "decision-1"):
        (tmp_path / f"out/records/{name}.json").unlink()
    change_rows(path)
    changed = tuneloop("run", path, "--out", tmp_path / "out")
    assert changed.code == 2
    assert "rows" in changed.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["export", "eval"])
def test_another_base_than_the_trained_one_is_refused(command: str, recipe: Recipe, tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    path = recipe(model={"source": str(base)})
    assert tuneloop("train", path, "--out", tmp_path / "out").code == 0
    write_model(base, seed=1)
    result = tuneloop(command, tmp_path / "out")
    assert result.code in {2, 7}
    assert "base" in result.err


@pytest.mark.parametrize("harm", ["deleted", "damaged"])
def test_an_export_that_is_gone_is_made_again(harm: str, accepted: Run, tmp_path: Path) -> None:
    out = Path(shutil.copytree(accepted.out, tmp_path / "out"))
    before = tree(out / "export/merged")
    if harm == "deleted":
        shutil.rmtree(out / "export/merged")
    else:
        flip_bit(out / "export/merged/model.safetensors", -1)
    assert tuneloop("export", out).code == 0
    assert tree(out / "export/merged")["model.safetensors"] == before["model.safetensors"]


def test_what_a_person_sees(accepted: Run) -> None:
    result = tuneloop("run", accepted.recipe, "--out", accepted.out)
    assert result.code == 0
    for part in ("exact_match", "better", "Round 1 accepted.", "report.html", "export/merged", "tuneloop chat"):
        assert part in result.out


def test_the_merged_folder_renders_the_contracts_ids_in_plain_transformers(accepted: Run, tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    folder = accepted.out / "export/merged"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    renderer, base = read_contract(folder), load_renderer(tiny_model)
    assert renderer.contract == base.contract
    conversations = [
        [("user", "hello")],
        [("system", "be brief"), ("user", "the cat\n\n sat"), ("assistant", " on "), ("user", "the mat? äöü 猫")],
    ]
    for turns in conversations:
        messages = [Message(role, text) for role, text in turns]  # type: ignore[arg-type]
        found = tokenizer.apply_chat_template(
            [{"role": role, "content": text} for role, text in turns],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        assert found == renderer.encode_prompt(messages).tolist()
        answered = [*turns, ("assistant", "the cat")]
        whole = tokenizer.apply_chat_template(
            [{"role": role, "content": text} for role, text in answered], tokenize=True, return_dict=False
        )
        row = renderer.encode_row([*messages, Message("assistant", "the cat")])
        assert np.array_equal(whole[: len(row.ids)], row.ids)


@pytest.mark.slow
def test_plain_transformers_answers_as_chat_does(accepted: Run) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = accepted.out / "export/merged"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Say the dog"}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    output = network.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
    text = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    for source in (accepted.out, folder, accepted.out / "export/adapter"):
        answer = tuneloop("chat", source, "--prompt", "Say the dog", "--max-new-tokens", 8, "--json")
        assert answer.json == {"prompt": "Say the dog", "answer": text, "tokens": 2, "finished": True}
    assert text == "the cat"


@pytest.mark.slow
def test_a_dry_run_trains_nothing_and_leaves_nothing_behind(
    recipe: Recipe, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    path = recipe()
    before, model_before = tree(tmp_path), tree(tiny_model)
    for arguments in (("run", path), ("train", path), ("run", path, "--out", tmp_path / "out")):
        result = tuneloop(*arguments, "--dry-run", "--json")
        assert result.code == 0
        values = result.json
        assert values["steps"] == [6]
        assert values["train"]["rows"] + values["eval"]["rows"] == 24
        assert values["trainable_parameters"] == 6144
        assert values["memory"]["total"] > values["memory"]["weights"] > 0
        assert values["plan"]["tune"]["rank"] == 4
    for_people = tuneloop("run", path, "--dry-run")
    assert for_people.code == 0
    assert "stage 1: 6 steps" in for_people.out
    assert tree(tmp_path) == before
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "out").exists()
    assert tree(tiny_model) == model_before


def test_the_default_folder_is_runs_and_the_name(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stages = [{"max_steps": 1, "batch_size": 4}]
    assert tuneloop("train", recipe(name="abc", stages=stages)).code == 0
    assert (tmp_path / "runs/abc/records/checkpoint-1.json").exists()


TWO_ROUNDS = {
    "stages": [
        {
            "num_train_epochs": 1,
            "batch_size": 8,
            "learning_rate": 2e-3,
            "micro_batch_tokens": 512,
            "eval_steps": 1,
            "lr_scheduler_type": "constant",
        }
    ],
    "iterate": {"min_rows": 2, "max_rounds": 2, "target": "exact_match >= 0.9"},
}
"""One epoch is too short, and both losses still fall at its end: the undertraining rule fires."""


@pytest.mark.slow
def test_a_missed_target_goes_round_with_twice_the_epochs(tiny_model: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_model, learnable_rows(32), **TWO_ROUNDS)
    out = tmp_path / "out"
    result = tuneloop("run", recipe, "--out", out, "--json")
    assert result.code == 3
    assert (result.json["rounds"], result.json["target_met"]) == (2, False)
    first, second = (Decision.load(out / f"records/decision-{number}.json") for number in (1, 2))
    assert [finding.rule for finding in first.findings] == ["undertraining"]
    assert first.prescription is not None
    assert first.prescription.changes == {"stages.-1.num_train_epochs": 2.0}
    assert second.prescription is None
    assert second.stop_reason == "max_rounds = 2 is reached."
    steps = [(event["round"], event["steps"]) for event in events(out, "step")]
    assert steps == [(1, 3)] * 3 + [(2, 6)] * 6
    plans = [CheckpointRecord.load(out / f"records/checkpoint-{number}.json").plan for number in (1, 2)]
    assert [plan["stages"][0]["num_train_epochs"] for plan in plans] == [1.0, 2.0]
    report = (out / "report.html").read_text()
    assert "Train 2 epochs instead of 1." in report
    again = tuneloop("run", recipe, "--out", out, "--json")
    assert (again.code, again.out) == (result.code, result.out)
    assert len(events(out, "step")) == 9
    # Each round can be measured and exported by its number.
    for number, epochs in ((1, 1.0), (2, 2.0)):
        exported = tuneloop("export", out, "--round", number, "--format", "merged", "--json")
        assert exported.code == 0
        assert exported.json["round"] == number
        record = ExportRecord.load(out / "records/export-merged.json")
        assert record.plan["stages"][0]["num_train_epochs"] == epochs


def test_the_loop_ends_when_the_target_holds(tiny_model: Path, tmp_path: Path) -> None:
    iterate = {"min_rows": 2, "max_rounds": 3, "target": "exact_match >= 0.9"}
    recipe = write_recipe(tmp_path, tiny_model, learnable_rows(32), stages=LEARNS, iterate=iterate)
    result = tuneloop("run", recipe, "--out", tmp_path / "out", "--json")
    assert result.code == 0
    assert (result.json["rounds"], result.json["target_met"]) == (1, True)
    decision = Decision.load(tmp_path / "out/records/decision-1.json")
    assert decision.stop_reason == "The target holds: exact_match >= 0.9."


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "freeze"])
def test_other_ways_of_tuning_export_merged_only(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_model, learnable_rows(32), stages=LEARNS, tune={"kind": kind})
    result = tuneloop("run", recipe, "--out", tmp_path / "out", "--json")
    assert result.code == 0
    assert result.json["exports"] == [str(tmp_path / "out/export/merged")]
    refused = tuneloop("export", tmp_path / "out", "--format", "adapter")
    assert refused.code == 2
    assert "Export merged" in refused.err


def test_two_stages(recipe: Recipe, tmp_path: Path) -> None:
    stage = {"num_train_epochs": 1, "batch_size": 8, "micro_batch_tokens": 256}
    path = recipe(stages=[stage | {"learning_rate": 1e-2}, stage | {"learning_rate": 1e-3}])
    result = tuneloop("run", path, "--out", tmp_path / "out", "--json")
    assert result.code in {0, 3}
    assert [(event["stage"], event["step"]) for event in events(tmp_path / "out", "step")] == [
        (stage, step) for stage in (1, 2) for step in (1, 2, 3)
    ]


def test_no_held_out_rows_cannot_be_run_but_trained(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(data={"train": ["rows.jsonl"], "eval_fraction": 0.0})
    refused = tuneloop("run", path, "--out", tmp_path / "out")
    assert refused.code == 2
    assert "no held-out rows" in refused.err
    assert tuneloop("train", path, "--out", tmp_path / "out").code == 0
    record = CheckpointRecord.load(tmp_path / "out/records/checkpoint-1.json")
    assert (record.step, record.validation_loss) == (6, None)


@pytest.mark.slow
def test_a_task_learned_by_heart_is_a_good_end(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training loss of exactly 0.0 in float32."""
    from tuneloop.pipeline import rounds
    from tuneloop.train.job import TrainResult
    from tuneloop.train.loop import fit

    def fit_well(*arguments: object, **options: object) -> TrainResult:
        result = fit(*arguments, **options)  # type: ignore[arg-type]
        manifest = result.manifest.replace(progress=result.manifest.progress.replace(last_train_loss=0.0))
        return TrainResult(manifest, result.progress)

    monkeypatch.setattr(rounds, "fit", fit_well)
    assert tuneloop("train", recipe(), "--out", tmp_path / "out").code == 0
    assert CheckpointRecord.load(tmp_path / "out/records/checkpoint-1.json").train_loss == 0.0
    assert tuneloop("eval", tmp_path / "out").code == 0


def test_json_of_a_run_is_one_object_on_standard_output(accepted: Run) -> None:
    assert json.loads(accepted.result.out)
    assert "Round 1: training" in accepted.result.err
    assert not accepted.result.out.startswith("advice")
