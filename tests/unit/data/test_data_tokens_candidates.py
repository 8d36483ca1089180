"""Rows that are being chosen: every one is alive or has one reason, and the ledger of each file adds up."""

from pathlib import Path

import numpy as np
import pytest
from chat_tokenizers import make_tokenizer, write_folder_of
from hypothesis import given, settings
from hypothesis import strategies as st
from token_stores import byte_renderer, row, source_of, store_of, write_rows

from conftest import CHATML
from tuneloop.core.errors import DataError
from tuneloop.data.batches import build_batch
from tuneloop.data.candidates import Candidates
from tuneloop.data.config import DataConfig
from tuneloop.data.contract import load_renderer
from tuneloop.data.prepare import prepare_data
from tuneloop.data.prompt import Renderer


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return byte_renderer(tmp_path_factory.mktemp("bytes"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder, "a.jsonl", row("q0"), "{", *[row(f"q{at}") for at in range(1, 6)], row("q", ""))
    write_rows(folder, "b.jsonl", *[row(f"r{at}", "a" * (at + 1)) for at in range(4)])
    return folder


def make(folder: Path, renderer: Renderer, *, strict: bool = False) -> Candidates:
    sources = [source_of(folder, name) for name in ("a.jsonl", "b.jsonl")]
    stores = [store_of(source, renderer, folder / "cache") for source in sources]
    return Candidates(sources, stores, strict=strict)


@settings(derandomize=True, database=None, deadline=None, max_examples=40)
@given(
    reasons=st.lists(
        st.tuples(st.sampled_from(["overlong", "duplicate", "not_json"]), st.sets(st.integers(0, 9))), max_size=6
    )
)
def test_any_reasons_add_up(folder: Path, renderer: Renderer, reasons: list[tuple[str, set[int]]]) -> None:
    candidates = make(folder, renderer)
    assert len(candidates) == 10
    left: dict[int, str] = {}
    for code, wanted in reasons:
        rows = np.array(sorted(wanted - left.keys()), dtype=np.int64)
        candidates.leave_out(rows, code, lambda row: f"row {row}")
        left |= dict.fromkeys(rows.tolist(), code)
        assert candidates.alive().tolist() == [at for at in range(10) if at not in left]
    files, problems = candidates.close(), list(candidates.problems())
    assert [file.read for file in files] == [8, 4]
    assert [file.kept + sum(file.problems.values()) for file in files] == [8, 4]
    assert [file.kept for file in files] == [6 - sum(at < 6 for at in left), 4 - sum(at >= 6 for at in left)]
    assert len(problems) == len(candidates.problems()) == 2 + len(left)
    assert len({problem.origin for problem in problems}) == len(problems)
    mine = {str(candidates.origin(at)): code for at, code in left.items()}
    told = {str(problem.origin): problem.code for problem in problems}
    assert told == mine | {"a.jsonl:2": "not_json", "a.jsonl:8": "empty_answer"}
    assert {problem.reason for problem in problems if problem.reason.startswith("row ")} == {f"row {at}" for at in left}


def test_problems_are_a_sequence(folder: Path, renderer: Renderer) -> None:
    candidates = make(folder, renderer)
    candidates.leave_out(np.array([0, 9]), "overlong", str)
    problems = candidates.problems()
    every = [str(problem.origin) for problem in problems]
    assert every == ["a.jsonl:2", "a.jsonl:8", "a.jsonl:1", "b.jsonl:4"]
    assert [str(problems[at].origin) for at in (0, -1, 2)] == ["a.jsonl:2", "b.jsonl:4", "a.jsonl:1"]
    assert [str(problem.origin) for problem in problems[1:3]] == every[1:3]
    with pytest.raises(IndexError):
        problems[4]


def test_a_row_that_is_lost_on_the_way_is_noticed(folder: Path, renderer: Renderer) -> None:
    """The planted bug: a store says that it was made of one row more."""
    candidates = make(folder, renderer)
    store = candidates.stores[0]
    store.manifest = store.manifest.replace(read=9)
    with pytest.raises(AssertionError, match=r"the ledger of a\.jsonl"):
        candidates.close()


def test_strict_refuses_faults_and_no_choices(folder: Path, renderer: Renderer) -> None:
    candidates = make(folder, renderer, strict=True)
    candidates.leave_out(np.array([], dtype=np.int64), "overlong", str)
    candidates.leave_out(np.array([3]), "not_chosen", str, is_fault=False)
    with pytest.raises(DataError, match=r"^b\.jsonl:1: too long \[overlong\]"):
        candidates.leave_out(np.array([6, 7]), "overlong", lambda _: "too long")


def test_rows_and_columns_are_those_of_the_stores(folder: Path, renderer: Renderer) -> None:
    candidates = make(folder, renderer)
    assert candidates.file_of.tolist() == [0] * 6 + [1] * 4
    assert candidates.lengths.tolist() == [23] * 6 + [23, 24, 25, 26]
    assert candidates.column("lines").tolist() == [1, 3, 4, 5, 6, 7, 1, 2, 3, 4]
    rows = candidates.rows(np.array([7, 0, 9]))
    assert [each.origin for each in rows] == ["b.jsonl:2", "a.jsonl:1", "b.jsonl:4"]


def test_no_stores_at_all() -> None:
    candidates = Candidates([], [])
    assert (len(candidates), candidates.lengths.tolist(), candidates.column("keys").shape) == (0, [], (0, 2))
    assert (candidates.close(), list(candidates.problems())) == ((), [])


def test_more_than_255_reasons(tmp_path: Path, renderer: Renderer) -> None:
    """`num_samples` of a folder of many files makes a reason for each."""
    write_rows(tmp_path, "a.jsonl", *[row(f"q{at}") for at in range(300)])
    source = source_of(tmp_path, "a.jsonl")
    candidates = Candidates([source], [store_of(source, renderer, tmp_path / "cache")])
    for at in range(299):
        candidates.leave_out(np.array([at]), f"reason_{at}", str)
    assert candidates.close()[0].kept == 1


def test_held_out_parts_keep_their_origins(tmp_path: Path, renderer: Renderer) -> None:
    """Samples of an evaluation are named by these: two parts of a row must not share a name."""
    write_rows(tmp_path, "a.jsonl", row("x"))
    write_rows(tmp_path, "e.jsonl", row("s", "c", history=[["q", "a"], ["r", "b"]]))
    section = {"train": ["a.jsonl"], "eval": ["e.jsonl"], "cutoff_len": 45, "overlong": "split_turns"}
    data = prepare_data(DataConfig.model_validate(section), tmp_path, renderer, seed=0, cache=tmp_path / "cache")
    assert [str(each.origin) for each in data.eval_rows] == [each.origin for each in data.eval]


def test_target_tokens_of_texts_are_those_of_the_batches(tmp_path: Path, renderer: Renderer) -> None:
    write_rows(tmp_path, "a.jsonl", {"text": "abc"}, {"text": "defg"})
    config = DataConfig.model_validate({"train": ["a.jsonl"], "eval_fraction": 0})
    data = prepare_data(config, tmp_path, renderer, seed=0, cache=tmp_path / "cache")
    assert int(data.train.targets.sum()) == len(build_batch(list(data.train)).targets_N)


def test_a_text_of_one_token_has_a_target_or_is_reported(tmp_path: Path) -> None:
    folder = write_folder_of(tmp_path / "model", make_tokenizer("a"), chat_template=CHATML)
    write_rows(tmp_path, "a.jsonl", {"text": "a"}, {"text": "bc"})
    config = DataConfig.model_validate({"train": ["a.jsonl"], "eval_fraction": 0})
    data = prepare_data(config, tmp_path, load_renderer(folder), seed=0, cache=tmp_path / "cache")
    batch = build_batch(list(data.train))
    assert set(batch.conversation_N.tolist()) == set(range(len(data.train)))
