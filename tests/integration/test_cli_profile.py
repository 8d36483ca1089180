"""`--profile N`: a page, a trace and a table beside the run, and the figures of speed in records and report."""

from collections.abc import Callable
from pathlib import Path

import pytest

from integration.command_line import events, tuneloop
from tuneloop.train.records import CheckpointRecord


@pytest.mark.slow
def test_train_writes_the_page_and_the_trace(recipe: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = tuneloop("train", recipe(), "--out", out, "--profile", "2", "--json")
    assert result.code == 0
    assert sorted(path.name for path in (out / "profile").iterdir()) == ["report.html", "trace.json.gz"]
    assert "Where the time goes" in (out / "profile" / "report.html").read_text(encoding="utf-8")
    # The answer for a script is JSON alone; the table is for whoever watches.
    assert result.json["folder"] == str(out)
    assert "Where the time of steps 2 to 3 went" in result.err
    record = CheckpointRecord.load(out / "records" / "checkpoint-1.json")
    steps = events(out, "step")
    seconds = sum(step["tokens"] / step["tokens_per_s"] for step in steps)
    assert record.cost.target_tokens_per_s == pytest.approx(record.cost.target_tokens / seconds, rel=1e-3)
    shares = [step["utilisation"] for step in steps]
    assert record.cost.utilisation is not None
    assert min(shares) <= record.cost.utilisation <= max(shares)
    assert "Of the device" in (out / "report.html").read_text(encoding="utf-8")
    # Nothing is left to train: that is said, and the page of before stays.
    again = tuneloop("train", recipe(), "--out", out, "--profile", "2")
    assert again.code == 0
    assert "Nothing was profiled" in again.err
    assert (out / "profile" / "report.html").exists()


def test_a_profile_of_no_steps_is_refused(recipe: Callable[..., Path], tmp_path: Path) -> None:
    result = tuneloop("train", recipe(), "--out", tmp_path / "out", "--profile", "0")
    assert result.code == 2
    assert "--profile" in result.err


@pytest.mark.slow
def test_watching_changes_nothing(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = recipe()
    for name, options in (("watched", ("--profile", "2")), ("alone", ())):
        assert tuneloop("train", path, "--out", tmp_path / name, *options).code == 0
    watched, alone = (
        CheckpointRecord.load(tmp_path / name / "records" / "checkpoint-1.json") for name in ("watched", "alone")
    )
    assert watched.weights_sha256 == alone.weights_sha256
