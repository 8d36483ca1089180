"""What a recipe says of near-duplicates, personal data, splits, mixtures and orders is what happens, and is counted."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_tokenizers import make_tokenizer, write_folder_of

from conftest import CHATML
from tuneloop.core.errors import ConfigError
from tuneloop.data.config import DataConfig
from tuneloop.data.contract import load_renderer
from tuneloop.data.prepare import PreparedData, prepare_data
from tuneloop.data.prompt import Renderer
from tuneloop.data.select.order import EpochPlan

LONG = "the quick brown fox jumps over the lazy dog while the old cat sleeps on a warm mat near the door number {}"
Prepare = Callable[..., PreparedData]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder = write_folder_of(
        tmp_path_factory.mktemp("models") / "m", make_tokenizer(), eos="<|im_end|>", chat_template=CHATML
    )
    return load_renderer(folder)


@pytest.fixture
def prepare(tmp_path: Path, renderer: Renderer) -> Prepare:
    def run(*, seed: int = 0, **section: Any) -> PreparedData:
        config = DataConfig.model_validate({"eval_fraction": 0, "cutoff_len": 4096, **section})
        data = prepare_data(config, tmp_path, renderer, seed=seed, cache=tmp_path / "cache")
        for file in data.files:
            assert file.read + file.added == file.kept + sum(file.problems.values())
        assert len(list(data.problems)) == len(data.problems) == sum(data.problem_counts().values())
        return data

    return run


def write(folder: Path, name: str, *questions: str, **extra: Any) -> str:
    rows = [{"instruction": question, "output": "an answer", **extra} for question in questions]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def lines(rows: Any) -> list[int]:
    return [int(row.origin.rpartition(":")[2]) for row in rows]


def codes(data: PreparedData) -> dict[str, str]:
    return {str(problem.origin): f"{problem.code}: {problem.reason}" for problem in data.problems}


def plan_of(data: PreparedData) -> EpochPlan:
    assert isinstance(data.epochs, EpochPlan)
    return data.epochs


def test_near_duplicates_are_dropped_only_when_asked(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", LONG.format(1), "something else entirely", LONG.format(2))
    assert lines(prepare(train=["a.jsonl"]).train) == [1, 2, 3]
    data = prepare(train=["a.jsonl"], near_duplicates="drop")
    assert lines(data.train) == [1, 2]
    assert codes(data) == {"a.jsonl:3": "near_duplicate: nearly the same as a.jsonl:1"}


def test_a_held_out_near_duplicate_stays_and_the_training_row_goes(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", "first", LONG.format(1))
    write(tmp_path, "e.jsonl", LONG.format(2))
    data = prepare(train=["a.jsonl"], eval=["e.jsonl"], near_duplicates="drop")
    assert lines(data.train) == [1]
    assert lines(data.eval) == [1]
    assert codes(data) == {"a.jsonl:2": "near_leak: nearly the same as e.jsonl:1, which is held out"}


@pytest.mark.parametrize("seed", range(6))
def test_near_duplicates_stay_on_one_side(tmp_path: Path, prepare: Prepare, seed: int) -> None:
    pairs = [
        f"{LONG.format(i)} {word * 9}" for i, word in enumerate(("alpha ", "beta ", "gamma ", "delta ")) for _ in "ab"
    ]
    distinct = [text + ("." if i % 2 else " x") for i, text in enumerate(pairs)]
    write(tmp_path, "a.jsonl", *distinct)
    together = {"keep_together": "near_duplicates"}
    data = prepare(train=["a.jsonl"], eval_fraction=0.25, split=together, near_threshold=0.9, seed=seed)
    held_out = set(lines(data.eval))
    assert len(held_out) == 2
    assert {(line + 1) // 2 for line in held_out} == {(max(held_out) + 1) // 2}


def test_strata_by_file(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", *[f"a {i}" for i in range(40)])
    write(tmp_path, "b.jsonl", *[f"b {i}" for i in range(20)])
    for seed in range(5):
        data = prepare(train=["a.jsonl", "b.jsonl"], eval_fraction=0.1, split={"stratify": "file"}, seed=seed)
        assert Counter(row.origin[0] for row in data.eval) == {"a": 4, "b": 2}


def test_adding_rows_leaves_the_others_on_their_side(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", *[f"q {i}" for i in range(100)])
    before = set(lines(prepare(train=["a.jsonl"], eval_fraction=0.2).eval))
    write(tmp_path, "a.jsonl", *[f"q {i}" for i in range(105)])
    after = set(lines(prepare(train=["a.jsonl"], eval_fraction=0.2).eval))
    assert len(before - after) <= 1


@pytest.mark.parametrize(("personal", "kept"), [("keep", 2), ("mask", 2), ("drop", 1)])
def test_personal_data(tmp_path: Path, prepare: Prepare, renderer: Renderer, personal: str, kept: int) -> None:
    write(tmp_path, "a.jsonl", "plain", "mail jo@corp.org twice: jo@corp.org")
    data = prepare(train=["a.jsonl"], personal=personal)
    text = renderer.tokenizer.decode([int(i) for row in data.train for i in row.ids], skip_special_tokens=False)
    assert len(data.train) == kept
    assert ("jo@corp.org" in text.replace(" ", "")) is (personal == "keep")
    assert text.replace(" ", "").count("<EMAIL_1>") == (2 if personal == "mask" else 0)
    assert data.problem_counts() == ({"personal": 1} if personal == "drop" else {})


def test_samples_of_each_file(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", *[f"a {i}" for i in range(10)])
    write(tmp_path, "b.jsonl", *[f"b {i}" for i in range(10)])
    data = prepare(train=[{"path": "a.jsonl", "num_samples": 3}, "b.jsonl"])
    assert [(file.kept, file.problems) for file in data.files] == [(3, {"not_chosen": 7}), (10, {})]


def test_epochs_of_files_and_temperature(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", *[f"a {i}" for i in range(8)])
    write(tmp_path, "b.jsonl", *[f"b {i}" for i in range(2)])
    specs: list[Any] = [{"path": "a.jsonl", "epochs": 0.5}, {"path": "b.jsonl", "epochs": 3}]
    plan = plan_of(prepare(train=specs))
    assert Counter(plan.order_of(0).tolist())[8] == Counter(plan.order_of(0).tolist())[9] == 3
    assert len(plan.order_of(0)) == 4 + 6
    assert sorted([*plan.order_of(0), *plan.order_of(1)])[:8] == list(range(8))
    even = plan_of(prepare(train=["a.jsonl", "b.jsonl"], mixing={"temperature": 1e9}))
    assert Counter(row >= 8 for row in even.order_of(0).tolist()) == {False: 5, True: 5}
    with pytest.raises(ConfigError, match="Name one"):
        prepare(train=specs, mixing={"temperature": 2})


def test_curriculum_by_length_and_by_score(tmp_path: Path, prepare: Prepare) -> None:
    rows = [{"instruction": "w " * (64 - i), "output": "a", "score": i // 16} for i in range(64)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    by_length = plan_of(prepare(train=["a.jsonl"], order="length")).order_of(0)
    assert set(by_length[:16]) == set(range(48, 64))
    by_score = plan_of(prepare(train=["a.jsonl"], order="score")).order_of(0)
    assert [set(by_score[i : i + 16]) for i in (0, 48)] == [set(range(16)), set(range(48, 64))]
    assert plan_of(prepare(train=["a.jsonl"], order="file")).order_of(3).tolist() == list(range(64))


def test_one_file_in_two_renderings(tmp_path: Path, prepare: Prepare) -> None:
    """The critique of a row, and the conversation of a preference pair: each has a ledger of its own."""
    pair = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    (tmp_path / "p.jsonl").write_text(json.dumps(pair) + "\n")
    data = prepare(train=["p.jsonl"])
    assert data.files[0].format == "preference"
    assert len(data.train) == 1
    undesired = {"prompt": "q", "completion": "bad", "label": False}
    (tmp_path / "k.jsonl").write_text(json.dumps(undesired) + "\n" + json.dumps(undesired | {"label": True}) + "\n")
    data = prepare(train=["k.jsonl"])
    assert data.problem_counts() == {"not_desirable": 1}


def test_text_is_trained_on_from_end_to_end(tmp_path: Path, prepare: Prepare, renderer: Renderer) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"text": "the cat sat on the mat"}) + "\n")
    (row,) = prepare(train=["t.jsonl"]).train
    assert row.weights.tolist() == [0.0] + [1.0] * (len(row.ids) - 1)
    assert renderer.tokenizer.id_to_token(int(row.ids[-1])) == "<|im_end|>"


def test_file_and_row_and_turn_weights_multiply(tmp_path: Path, prepare: Prepare) -> None:
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "weight": 0.5},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "b"},
    ]
    (tmp_path / "m.jsonl").write_text(json.dumps({"messages": turns, "weight": 3}) + "\n")
    (row,) = prepare(train=[{"path": "m.jsonl", "weight": 2}]).train
    assert sorted(set(row.weights.tolist())) == [0.0, 3.0, 6.0]
