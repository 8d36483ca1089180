"""Rows that are trained on while they are read: the same rows in the same order, whoever is faster."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_tokenizers import make_tokenizer, write_folder_of

from conftest import CHATML
from tuneloop.core.errors import ConfigError, DataError, StoppedError
from tuneloop.core.stop import Stop
from tuneloop.data.config import DataConfig
from tuneloop.data.contract import load_renderer
from tuneloop.data.prepare import PreparedData
from tuneloop.data.prompt import Renderer
from tuneloop.data.stream import StreamedFile, StreamedRows, StreamFilter, StreamPlan
from tuneloop.data.streaming import prepare_stream
from tuneloop.data.tokens import shards
from tuneloop.data.tokens.shards import Shard

EVERYTHING = StreamFilter(longest=1_000_000, held_out=np.zeros((0, 2), dtype=np.uint64))


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder = write_folder_of(
        tmp_path_factory.mktemp("models") / "m", make_tokenizer(), eos="<|im_end|>", chat_template=CHATML
    )
    return load_renderer(folder)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several shards a file, several chunks a shard."""
    monkeypatch.setattr(shards, "ROWS_A_SHARD", 7)
    monkeypatch.setattr("tuneloop.data.tokens.build._CHUNK_ROWS", 3)


def write(folder: Path, name: str, *questions: str) -> str:
    rows = [{"instruction": question, "output": f"answer to {question}"} for question in questions]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def stream(
    folder: Path, renderer: Renderer, *, seed: int = 0, stop: Stop | None = None, **section: Any
) -> PreparedData:
    config = DataConfig.model_validate({"eval_fraction": 0, "streaming": True, **section})
    return prepare_stream(config, folder, renderer, seed=seed, cache=folder / "cache", stop=stop or Stop())


def origins_of(data: PreparedData, batch_size: int, steps: int) -> list[list[str]]:
    assert isinstance(data.epochs, StreamPlan)
    return [[data.train[row].origin for row in data.epochs.rows_of_step(batch_size, step)] for step in range(steps)]


@pytest.mark.usefixtures("small_shards")
def test_each_row_once_an_epoch_and_windows_stay_apart(tmp_path: Path, renderer: Renderer) -> None:
    write(tmp_path, "a.jsonl", *[f"q {i}" for i in range(50)])
    data = stream(tmp_path, renderer, train=["a.jsonl"], shuffle_window=8)
    flat = [origin for step in origins_of(data, 5, 30) for origin in step]
    lines = [int(origin.rpartition(":")[2]) for origin in flat]
    for epoch in range(3):
        assert sorted(lines[epoch * 50 : (epoch + 1) * 50]) == list(range(1, 51))
    # Each window is shuffled, in each epoch in another way, and no row leaves it.
    assert sorted(lines[:8]) == list(range(1, 9)) != lines[:8]
    assert sorted(lines[48:50]) == [49, 50]
    assert lines[:50] != lines[50:100]


@pytest.mark.usefixtures("small_shards")
def test_the_order_is_the_same_from_the_cache_and_from_any_step(tmp_path: Path, renderer: Renderer) -> None:
    write(tmp_path, "a.jsonl", *[f"q {i}" for i in range(40)])
    first = origins_of(stream(tmp_path, renderer, train=["a.jsonl"], shuffle_window=16), 6, 20)
    again = stream(tmp_path, renderer, train=["a.jsonl"], shuffle_window=16)
    assert isinstance(again.epochs, StreamPlan)
    later = [[again.train[row].origin for row in again.epochs.rows_of_step(6, step)] for step in (13, 3, 19)]
    assert later == [first[13], first[3], first[19]]
    other = origins_of(stream(tmp_path, renderer, train=["a.jsonl"], shuffle_window=16, seed=1), 6, 20)
    assert other != first


@pytest.mark.usefixtures("small_shards")
def test_doubles_leaks_and_long_rows_are_left_out_and_counted(tmp_path: Path, renderer: Renderer) -> None:
    long = "x" * 400
    write(tmp_path, "a.jsonl", *[f"q {i}" for i in range(20)], "q 3", "held", long, "q 4")
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("{\n")
    write(tmp_path, "e.jsonl", "held", "other")
    data = stream(tmp_path, renderer, train=["a.jsonl"], eval=["e.jsonl"], cutoff_len=128)
    assert isinstance(data.train, StreamedRows)
    assert data.train.wait_for(10**6) == 20
    assert data.train.counts.as_json(is_complete=data.train.is_complete) == {
        "complete": True,
        "read": 25,
        "kept": 20,
        "problems": {"duplicate": 2, "leak": 1, "not_json": 1, "overlong": 1},
        "files": {"a.jsonl": {"read": 25, "added": 0, "problems": {"not_json": 1}}},
    }
    assert [row.origin for row in data.eval] == ["e.jsonl:1", "e.jsonl:2"]


def test_the_first_step_waits_for_one_window_only(tmp_path: Path) -> None:
    """Rows that are not there yet are not needed; a plan that waits for all would hang here."""
    rows = StreamedRows(EVERYTHING, Stop())
    shard = _shard(tmp_path, 16)
    gate = threading.Event()

    def make(growing: StreamedRows) -> None:
        growing.add(StreamedFile("a", 1.0), shard)
        gate.wait(30)

    rows.fill(make)
    try:
        assert sorted(StreamPlan(rows, 8, 0).rows_of_step(16, 0)) == list(range(16))
    finally:
        gate.set()


def _shard(folder: Path, number: int) -> Shard:
    from safetensors.numpy import save_file

    keys = np.arange(2 * number, dtype=np.uint64).reshape(-1, 2)
    save_file({"keys": keys, "lengths": np.full(number, 5, dtype=np.int32)}, folder / "x.safetensors")
    return Shard(folder / "x.safetensors")


def test_what_fails_while_reading_fails_where_it_is_waited_for() -> None:
    rows = StreamedRows(EVERYTHING, Stop())

    def make(_: StreamedRows) -> None:
        raise DataError("a.jsonl: is damaged.")

    rows.fill(make)
    with pytest.raises(DataError, match="is damaged"):
        rows.wait_for(10)


def test_a_stop_ends_the_waiting() -> None:
    stop = Stop()
    rows = StreamedRows(EVERYTHING, stop)
    forever = threading.Event()
    rows.fill(lambda _: forever.wait(20) and None)
    threading.Timer(0.1, lambda: setattr(stop, "requested", True)).start()
    begun = time.monotonic()
    try:
        with pytest.raises(StoppedError):
            rows.wait_for(1)
        assert time.monotonic() - begun < 10
    finally:
        forever.set()


@pytest.mark.parametrize(
    "section",
    [
        {"max_samples": 5},
        {"strict": True},
        {"overlong": "error"},
        {"near_duplicates": "drop"},
        {"order": "length"},
        {"mixing": {"temperature": 2}},
        {"train": [{"path": "a.jsonl", "epochs": 2}]},
        {"train": [{"path": "a.jsonl", "num_samples": 2}]},
        {"eval_fraction": 0.1},
    ],
)
def test_what_needs_all_rows_is_refused(tmp_path: Path, renderer: Renderer, section: dict[str, Any]) -> None:
    write(tmp_path, "a.jsonl", "q")
    with pytest.raises(ConfigError, match=r"all rows at once|out of a stream|before it began"):
        stream(tmp_path, renderer, **({"train": ["a.jsonl"]} | section))
