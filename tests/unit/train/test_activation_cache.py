"""What frozen lower blocks gave is kept, and nothing but the time depends on where or whether."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tuneloop.core.seeds import derive_seed
from tuneloop.model.split import SplitDecoder, lowest_learning_block
from tuneloop.train.config import StageConfig
from tuneloop.train.feed import Feed, open_feed
from tuneloop.train.job import TrainJob, steps_of_stage
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig
from unit.train.training_kit import FAMILIES, STAGE, Killed, Lab, Watch, kill_at, load, outcome

TOP = LoraConfig(rank=2, alpha=4, trainable_blocks=1)
CACHED = STAGE.replace(activation_cache="memory", num_train_epochs=3)


def feed_of(lab: Lab, job: TrainJob, stage: StageConfig) -> Feed:
    epochs = job.epochs_of(1)
    return open_feed(job, stage, epochs, steps=steps_of_stage(stage, epochs), folder=lab.folder / "activations")


def run(folder: Path, base: Path, stage: StageConfig, tune: TuneConfig = TOP) -> tuple[dict[str, object], Watch]:
    lab, watch = Lab(base, folder, tune=tune, stages=(stage,)), Watch()
    return outcome(lab, lab.fit(watch)), watch


@pytest.mark.slow
@pytest.mark.parametrize("tune", [TOP, FreezeConfig(trainable_blocks=1)], ids=["lora", "freeze"])
def test_the_cache_does_not_change_what_is_learned(tune: TuneConfig, tiny_model: Path, tmp_path: Path) -> None:
    """Sums come in another order, so the curves agree to rounding."""
    _, plain = run(tmp_path / "plain", tiny_model, CACHED.replace(activation_cache="off"), tune)
    _, cached = run(tmp_path / "cached", tiny_model, CACHED, tune)
    losses = [[event["loss"] for event in watch.of_kind("step")] for watch in (plain, cached)]
    assert len(losses[0]) == 12
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.slow
def test_memory_disk_and_a_cache_that_is_full_give_the_same_bits(tiny_model: Path, tmp_path: Path) -> None:
    expected, _ = run(tmp_path / "memory", tiny_model, CACHED)
    on_disk, _ = run(tmp_path / "disk", tiny_model, CACHED.replace(activation_cache="disk"))
    full, _ = run(tmp_path / "full", tiny_model, CACHED.replace(activation_cache_gib=5e-6))
    assert on_disk == expected
    assert full == expected


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 5, 9])
def test_a_killed_run_goes_on_with_the_same_bits(step: int, tiny_model: Path, tmp_path: Path) -> None:
    expected, _ = run(tmp_path / "whole", tiny_model, CACHED)
    lab = Lab(tiny_model, tmp_path / "killed", tune=TOP, stages=(CACHED,))
    with pytest.raises(Killed):
        lab.fit(Watch(kill_at("step", step)))
    assert outcome(lab, lab.fit()) == expected


def test_each_row_goes_through_the_lower_blocks_once(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = SplitDecoder.lower

    def count(self: SplitDecoder, ids_T: torch.Tensor) -> torch.Tensor:
        sizes.append(len(ids_T))
        return original(self, ids_T)

    monkeypatch.setattr(SplitDecoder, "lower", count)
    lab = Lab(tiny_model, tmp_path, tune=TOP, stages=(CACHED,))
    lab.fit()
    assert sorted(sizes[1:]) == sorted(len(row.ids) for row in lab.rows)  # the first is the test of agreement


@pytest.mark.parametrize("family", FAMILIES)
def test_two_halves_are_the_whole_in_every_family_or_are_refused(family: str, family_model) -> None:  # type: ignore[no-untyped-def]
    model = load(family_model(family))
    split = SplitDecoder(model, 1)
    if family in {"llama", "qwen2", "qwen3", "mistral"}:
        assert split.agrees()
    ids_T = torch.arange(5, 14)
    with torch.no_grad():
        whole = model.run_decoder(ids_T, torch.arange(9), (0, 9))
        assert split.agrees() == torch.equal(split.upper(ids_T, torch.arange(9), (0, 9), split.lower(ids_T)), whole)


def test_where_everything_learns_there_is_no_cache(tiny_model: Path, tmp_path: Path) -> None:
    for tune in (FullConfig(), LoraConfig(rank=2), FreezeConfig(trainable_blocks=1, train_embeddings=True)):
        lab = Lab(tiny_model, tmp_path, tune=tune, stages=(CACHED,))
        job = lab.job()
        assert lowest_learning_block(job.model) == 0
        assert feed_of(lab, job, CACHED).cache is None


def test_one_epoch_needs_no_cache(tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path, tune=TOP)
    assert feed_of(lab, lab.job(), CACHED.replace(num_train_epochs=1)).cache is None
    assert feed_of(lab, lab.job(), CACHED).cache is not None


def test_auto_takes_the_disk_where_memory_is_too_small(tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path, tune=TOP)
    small = CACHED.replace(activation_cache="auto", activation_cache_gib=1e-5)
    in_memory = feed_of(lab, lab.job(), CACHED.replace(activation_cache="auto")).cache
    on_disk = feed_of(lab, lab.job(), small).cache
    assert in_memory is not None
    assert in_memory.file is None
    assert on_disk is not None
    assert on_disk.file is not None
    on_disk.file.close()


@pytest.mark.slow
def test_a_full_disk_costs_time_and_nothing_else(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = run(tmp_path / "memory", tiny_model, CACHED)

    class Full:
        def seek(self, _: int) -> None: ...

        def close(self) -> None: ...

        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tuneloop.train.feed.scratch_file", lambda _: Full())
    found, _ = run(tmp_path / "disk", tiny_model, CACHED.replace(activation_cache="disk"))
    assert found == expected


def test_dropout_below_the_cut_forbids_it(tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path, tune=TOP)
    job = lab.job()
    job.model.base.config.attention_dropout = 0.1
    assert feed_of(lab, job, CACHED).cache is None
    assert replace(job).epochs_of(1).seed == derive_seed(0, "stage", 1)
