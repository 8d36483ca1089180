"""From a recipe's data section to token rows: who is left out and why, and that it adds up."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_tokenizers import make_tokenizer, write_folder_of
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import CHATML, alpaca_rows
from tuneloop.core.errors import ContractError, DataError, StoppedError
from tuneloop.core.stop import Stop
from tuneloop.data.config import DataConfig
from tuneloop.data.contract import load_renderer
from tuneloop.data.ledger import Ledger
from tuneloop.data.prepare import PreparedData, prepare_data
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Origin, Problem
from tuneloop.data.tokens.block import TokenRow

HIDDEN = "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are kind.<|im_end|>\n{% endif %}" + CHATML
Prepare = Callable[..., PreparedData]
CACHE = Path(tempfile.mkdtemp(prefix="tuneloop-test-rows-"))
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder = write_folder_of(
        tmp_path_factory.mktemp("models") / "m", make_tokenizer(), eos="<|im_end|>", chat_template=CHATML
    )
    return load_renderer(folder)


@pytest.fixture
def prepare(tmp_path: Path, renderer: Renderer) -> Prepare:
    def run(*, seed: int = 0, **section: Any) -> PreparedData:
        return prepare_data(DataConfig.model_validate(section), tmp_path, renderer, seed=seed, cache=CACHE)

    return run


def row(question: str, answer: str = "a") -> dict[str, str]:
    return {"instruction": question, "output": answer}


def write(folder: Path, name: str, *rows: object) -> str:
    (folder / name).write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return name


def origins(rows: list[TokenRow]) -> list[str]:
    return [each.origin for each in rows]


def codes(data: PreparedData) -> dict[str, str]:
    return {str(problem.origin): problem.code for problem in data.problems}


def check_sums(data: PreparedData) -> None:
    """read = kept + every reason, file by file and altogether."""
    for file in data.files:
        assert file.read == file.kept + sum(file.problems.values())
    assert data.read == data.kept + sum(data.problem_counts().values())
    assert data.kept == len(data.train) + len(data.eval)
    assert len(data.problems) == sum(data.problem_counts().values())
    assert origins(data.eval) == [str(each.origin) for each in data.eval_rows]
    assert not set(origins(data.train)) & set(origins(data.eval))


def test_everything_at_once(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", row("one"), row("two"), row("one"), "{", row("held"), row("long", "x" * 300))
    write(tmp_path, "b.jsonl", row("two"), row("three"), row("four", ""))
    write(tmp_path, "e.jsonl", row("held"), row("held"), row("other"), row("long too", "y" * 300))
    data = prepare(train=["a.jsonl", "b.jsonl"], eval=["e.jsonl"], cutoff_len=100)
    check_sums(data)
    assert origins(data.train) == ["a.jsonl:1", "a.jsonl:2", "b.jsonl:2"]
    assert origins(data.eval) == ["e.jsonl:1", "e.jsonl:3"]
    assert codes(data) == {
        "a.jsonl:3": "duplicate",
        "a.jsonl:4": "not_json",
        "a.jsonl:5": "leak",
        "a.jsonl:6": "overlong",
        "b.jsonl:1": "duplicate",
        "b.jsonl:3": "empty_answer",
        "e.jsonl:2": "duplicate",
        "e.jsonl:4": "overlong",
    }
    assert data.problem_counts() == {"duplicate": 3, "empty_answer": 1, "leak": 1, "not_json": 1, "overlong": 2}
    assert [(file.path, file.read, file.kept) for file in data.files] == [
        ("a.jsonl", 6, 2),
        ("b.jsonl", 3, 1),
        ("e.jsonl", 4, 2),
    ]
    assert all(len(file.sha256) == 64 and file.format == "alpaca" for file in data.files)


def test_duplicates_name_the_first_row(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", row("one"), row("two"), row("one"))
    # The same words in another format are the same conversation.
    same = {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "a"}]}
    write(tmp_path, "b.jsonl", same, row("two", "b"))
    data = prepare(train=["a.jsonl", {"path": "b.jsonl", "format": "messages"}], eval_fraction=0)
    assert [str(problem) for problem in data.problems[:2]] == [
        "a.jsonl:3: the same conversation as a.jsonl:1 [duplicate]",
        "b.jsonl:2: 'messages' is missing or not a list [missing_key]",
    ]
    assert str(data.problems[2]) == "b.jsonl:1: the same conversation as a.jsonl:1 [duplicate]"


def test_near_doubles_are_kept(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", row("one"), row("one "), row("One"), row("one", "b"), row("one") | {"system": "s"})
    assert len(prepare(train=["a.jsonl"], eval_fraction=0).train) == 5


def test_duplicates_can_be_kept(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", row("one"), row("one"), row("two"))
    data = prepare(train=["a.jsonl"], eval_fraction=0, duplicates="keep")
    assert origins(data.train) == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:3"]
    check_sums(data)


def test_leaks_name_both_rows(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", row("one"), row("two"), row("three"))
    write(tmp_path, "e.jsonl", row("five"), row("two"))
    data = prepare(train=["a.jsonl"], eval=["e.jsonl"])
    assert [str(problem) for problem in data.problems] == [
        "a.jsonl:2: the same conversation is held out at e.jsonl:2 [leak]"
    ]
    assert origins(data.train) == ["a.jsonl:1", "a.jsonl:3"]
    check_sums(data)


@pytest.mark.parametrize("duplicates", ["drop", "keep"])
def test_leaks_are_left_out_even_where_duplicates_are_kept(tmp_path: Path, prepare: Prepare, duplicates: str) -> None:
    write(tmp_path, "a.jsonl", row("one"), row("two"), row("two"))
    write(tmp_path, "e.jsonl", row("two"))
    data = prepare(train=["a.jsonl"], eval=["e.jsonl"], duplicates=duplicates)
    assert origins(data.train) == ["a.jsonl:1"]
    check_sums(data)


def test_a_split_holds_no_leak_where_duplicates_are_kept(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", *([row("same")] * 10 + [row(f"q{i}") for i in range(10)]))
    data = prepare(train=["a.jsonl"], eval_fraction=0.5, duplicates="keep")
    held_out = {tuple(each.ids) for each in data.eval}
    assert not [each.origin for each in data.train if tuple(each.ids) in held_out]


def test_rows_not_chosen_for_evaluation_may_be_trained_on(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", *[row(f"q{i}") for i in range(6)])
    write(tmp_path, "e.jsonl", *[row(f"q{i}") for i in range(4)])
    data = prepare(train=["a.jsonl"], eval=["e.jsonl"], max_eval_rows=2)
    assert (len(data.eval), len(data.train)) == (2, 4)
    assert data.problem_counts() == {"leak": 2, "not_chosen": 2}
    check_sums(data)


@pytest.mark.slow
@settings(derandomize=True, database=None, deadline=None, max_examples=40)
@given(
    number=st.integers(2, 30),
    fraction=st.floats(0, 0.9),
    max_eval_rows=st.none() | st.integers(1, 10),
    max_samples=st.none() | st.integers(1, 20),
    seed=st.integers(0, 1000),
)
def test_split(
    tmp_path_factory: pytest.TempPathFactory,
    renderer: Renderer,
    number: int,
    fraction: float,
    max_eval_rows: int | None,
    max_samples: int | None,
    seed: int,
) -> None:
    """Disjoint, the same every time, as large as asked for, and every other row is counted."""
    folder = tmp_path_factory.getbasetemp()
    write(folder, "split.jsonl", *[row(f"q{i}") for i in range(number)])
    config = DataConfig.model_validate(
        {
            "train": ["split.jsonl"],
            "eval_fraction": fraction,
            "max_eval_rows": max_eval_rows,
            "max_samples": max_samples,
        }
    )
    data, again = (prepare_data(config, folder, renderer, seed=seed, cache=CACHE) for _ in range(2))
    check_sums(data)
    assert (origins(data.train), origins(data.eval)) == (origins(again.train), origins(again.eval))
    wanted = 0 if fraction == 0 else min(max(round(number * fraction), 1), number - 1)
    wanted = min(wanted, max_eval_rows or wanted)
    assert len(data.eval) == wanted
    left = number - wanted
    assert len(data.train) == min(left, max_samples or left)
    assert data.problem_counts() == ({"not_chosen": left - len(data.train)} if left > len(data.train) else {})
    # Rows stay in the order of the file.
    for rows in (data.train, data.eval):
        lines = [int(name.partition(":")[2]) for name in origins(rows)]
        assert lines == sorted(lines)


def test_split_depends_on_the_seed(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", *alpaca_rows(40))
    section = {"train": ["a.jsonl"], "eval_fraction": 0.25, "max_samples": 15}
    splits = [prepare(seed=seed, **section) for seed in range(4)]
    assert len({tuple(origins(data.eval)) for data in splits}) == 4
    assert len({tuple(origins(data.train)) for data in splits}) == 4


def test_limits_are_counted_as_not_chosen(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", *[row(f"q{i}") for i in range(10)])
    write(tmp_path, "e.jsonl", *[row(f"e{i}") for i in range(8)])
    data = prepare(train=["a.jsonl"], eval=["e.jsonl"], max_samples=4, max_eval_rows=3)
    check_sums(data)
    assert (len(data.train), len(data.eval)) == (4, 3)
    assert [(file.path, file.problems) for file in data.files] == [
        ("a.jsonl", {"not_chosen": 6}),
        ("e.jsonl", {"not_chosen": 5}),
    ]
    assert {problem.reason for problem in data.problems} == {
        "not among the 4 samples of the recipe",
        "not among the 3 eval rows of the recipe",
    }


def test_limits_are_no_bad_rows(tmp_path: Path, prepare: Prepare) -> None:
    """`strict` is about rows that are wrong, not about rows that were not asked for."""
    write(tmp_path, "a.jsonl", *[row(f"q{i}") for i in range(10)])
    assert len(prepare(train=["a.jsonl"], max_samples=2, eval_fraction=0, strict=True).train) == 2


def test_limits_above_the_number_of_rows(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", *[row(f"q{i}") for i in range(5)])
    data = prepare(train=["a.jsonl"], max_samples=5, max_eval_rows=5, eval_fraction=0.2)
    assert (len(data.train), len(data.eval), list(data.problems)) == (4, 1, [])


def test_overlong_by_one_token(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", row("short"), row("q", "a long answer"))
    length = max(len(each.ids) for each in prepare(train=["a.jsonl"], eval_fraction=0).train)
    assert len(prepare(train=["a.jsonl"], eval_fraction=0, cutoff_len=length).train) == 2
    data = prepare(train=["a.jsonl"], eval_fraction=0, cutoff_len=length - 1)
    assert [str(problem) for problem in data.problems] == [
        f"a.jsonl:2: {length} tokens, more than data.cutoff_len = {length - 1} [overlong]"
    ]
    check_sums(data)
    with pytest.raises(DataError) as caught:
        prepare(train=["a.jsonl"], eval_fraction=0, cutoff_len=length - 1, overlong="error")
    assert str(caught.value) == (
        f"a.jsonl:2: {length} tokens, more than data.cutoff_len = {length - 1}. Raise it to {length}, or set "
        "data.overlong to 'drop'."
    )


@pytest.mark.parametrize("cutoff_len", [1000, 30])
def test_more_tokens_than_the_model_has_positions(tmp_path: Path, cutoff_len: int) -> None:
    """The model's own limit holds below `cutoff_len`; the hint is no longer to raise that."""
    folder = write_folder_of(tmp_path / "m", make_tokenizer(), eos="<|im_end|>", chat_template=CHATML)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 60}))
    renderer = load_renderer(folder)
    write(tmp_path, "a.jsonl", row("q"), row("q", "x" * 100))
    config = DataConfig.model_validate({"train": ["a.jsonl"], "eval_fraction": 0, "cutoff_len": cutoff_len})
    data = prepare_data(config, tmp_path, renderer, seed=0, cache=CACHE)
    assert origins(data.train) == ["a.jsonl:1"]
    assert codes(data) == {"a.jsonl:2": "overlong"}
    limit = "more than the model's own 60 positions" if cutoff_len == 1000 else "more than data.cutoff_len = 30"
    assert limit in data.problems[0].reason
    with pytest.raises(DataError, match="Shorten the row" if cutoff_len == 1000 else "Raise it to"):
        prepare_data(config.replace(overlong="error"), tmp_path, renderer, seed=0, cache=CACHE)


def test_a_row_as_long_as_the_model_s_positions_is_kept(tmp_path: Path, renderer: Renderer) -> None:
    write(tmp_path, "a.jsonl", row("q", "x" * 50))
    config = DataConfig.model_validate({"train": ["a.jsonl"], "eval_fraction": 0})
    length = len(prepare_data(config, tmp_path, renderer, seed=0, cache=CACHE).train[0].ids)
    for positions, kept in ((length, True), (length - 1, False)):
        limited = Renderer(renderer.contract, renderer.tokenizer, positions)
        with nullcontext() if kept else pytest.raises(DataError, match="no row is left"):
            prepare_data(config, tmp_path, limited, seed=0, cache=CACHE)


def test_a_wish_to_stop_is_heard(tmp_path: Path, renderer: Renderer) -> None:
    write(tmp_path, "a.jsonl", row("q"))
    stop = Stop()
    stop.requested = True
    with pytest.raises(StoppedError):
        prepare_data(
            DataConfig.model_validate({"train": ["a.jsonl"]}), tmp_path, renderer, seed=0, cache=CACHE, stop=stop
        )


def test_an_answer_is_never_cut(tmp_path: Path, prepare: Prepare, renderer: Renderer) -> None:
    write(tmp_path, "a.jsonl", *[row(f"q{i}", "word " * i + "end") for i in range(30)])
    data = prepare(train=["a.jsonl"], eval_fraction=0, cutoff_len=60)
    assert 5 < len(data.train) < 25
    for each in data.train:
        assert renderer.decode(each.ids[each.weights > 0]).endswith("end")
        assert len(each.ids) <= 60


@pytest.mark.parametrize(
    "section",
    [
        {"train": ["a.jsonl", "a.jsonl"]},
        {"train": ["a.jsonl", {"path": "a.jsonl", "weight": 2}]},
        {"train": ["a.jsonl"], "eval": ["b.jsonl", "b.jsonl"]},
    ],
)
def test_the_same_file_twice(tmp_path: Path, prepare: Prepare, section: dict[str, Any]) -> None:
    write(tmp_path, "a.jsonl", row("one"))
    write(tmp_path, "b.jsonl", row("two"))
    with pytest.raises(DataError, match="the same file is named twice"):
        prepare(**section)


def test_the_same_file_for_training_and_evaluation(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", row("one"), row("two"))
    with pytest.raises(DataError, match=r"data: a\.jsonl is named for training and for evaluation"):
        prepare(train=["a.jsonl"], eval=["a.jsonl"])


@pytest.mark.parametrize("other", ["./a.jsonl", "../{name}/a.jsonl", "{folder}/a.jsonl"])
def test_the_same_file_under_another_name(tmp_path: Path, prepare: Prepare, other: str) -> None:
    write(tmp_path, "a.jsonl", row("one"), row("two"))
    other = other.format(name=tmp_path.name, folder=tmp_path)
    with pytest.raises(DataError, match="named twice"):
        prepare(train=["a.jsonl", other], duplicates="keep", eval_fraction=0)
    with pytest.raises(DataError, match="is named for training and for evaluation"):
        prepare(train=["a.jsonl"], eval=[other])


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        (["{", row("q", "")], "The first row that was left out: a.jsonl:1: not JSON"),
        ([row("q", "x" * 500)], "The first row that was left out: a.jsonl:1: 5"),
    ],
)
def test_no_row_is_left(tmp_path: Path, prepare: Prepare, rows: list[Any], part: str) -> None:
    write(tmp_path, "a.jsonl", *rows)
    with pytest.raises(DataError) as caught:
        prepare(train=["a.jsonl"], eval_fraction=0, cutoff_len=64)
    assert str(caught.value).startswith(f"data: no row is left to train on. {part}")


def test_an_array_without_rows(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.json", "[]")
    with pytest.raises(DataError, match=r"^data: no row is left to train on\. The files hold no rows\.$"):
        prepare(train=["a.json"])


def test_all_rows_leak(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", row("one"))
    write(tmp_path, "e.jsonl", row("one"))
    with pytest.raises(DataError, match=r"no row is left to train on.*\[leak\]"):
        prepare(train=["a.jsonl"], eval=["e.jsonl"])


def test_one_row_is_trained_on(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", row("one"))
    data = prepare(train=["a.jsonl"], eval_fraction=0.5)
    assert (len(data.train), len(data.eval)) == (1, 0)


@pytest.mark.parametrize("bad", [row("q", ""), "{", row("one"), row("q", "x" * 300)])
def test_strict_stops(tmp_path: Path, prepare: Prepare, bad: object) -> None:
    write(tmp_path, "a.jsonl", row("one"), bad)
    with pytest.raises(DataError, match=r"^a\.jsonl:2: .*\(data\.strict is on"):
        prepare(train=["a.jsonl"], eval_fraction=0, strict=True, cutoff_len=64)


def test_missing_file(prepare: Prepare) -> None:
    with pytest.raises(DataError, match=r"^nothing\.jsonl: no such file"):
        prepare(train=["nothing.jsonl"])


def test_weights_of_files_reach_the_tokens(tmp_path: Path, prepare: Prepare) -> None:
    write(tmp_path, "a.jsonl", row("one"))
    write(tmp_path, "b.jsonl", row("two"))
    data = prepare(train=["a.jsonl", {"path": "b.jsonl", "weight": 0.25}], eval_fraction=0)
    assert [set(each.weights.tolist()) for each in data.train] == [{0.0, 1.0}, {0.0, 0.25}]


def test_last_answer_of_weight_0(tmp_path: Path, prepare: Prepare) -> None:
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "weight": 1},
        {"role": "user", "content": "r"},
        {"role": "assistant", "content": "b", "weight": 0},
    ]
    write(tmp_path, "a.jsonl", {"messages": messages})
    assert len(prepare(train=["a.jsonl"], eval_fraction=0).train) == 1


def test_what_would_be_served_is_checked(tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.jsonl", row("one"))
    original = Renderer.encode_prompt
    monkeypatch.setattr(
        Renderer, "encode_prompt", lambda *args, **options: np.append(original(*args, **options)[:-1], 7)
    )
    with pytest.raises(ContractError, match=r"^a\.jsonl:1: the prompt that serving would feed differs"):
        prepare(train=["a.jsonl"], eval_fraction=0)


def test_hidden_text_is_noted(tmp_path: Path) -> None:
    folder = write_folder_of(tmp_path / "m", make_tokenizer(), eos="<|im_end|>", chat_template=HIDDEN)
    write(tmp_path, "a.jsonl", row("one"))
    config = DataConfig.model_validate({"train": ["a.jsonl"], "eval_fraction": 0})
    data = prepare_data(config, tmp_path, load_renderer(folder, template="model"), seed=0, cache=CACHE)
    (note,) = data.notes
    assert "'You are kind.'" in note
    assert prepare_data(config, tmp_path, load_renderer(folder, template="auto"), seed=0, cache=CACHE).notes == ()


def test_ledger_that_does_not_add_up() -> None:
    ledger = Ledger()
    ledger.open_file("a", sha256="0", format_name="alpaca")
    ledger.count("a")
    with pytest.raises(AssertionError, match="the ledger of a does not add up"):
        ledger.close([])
    ledger.leave_out(Problem(Origin("a", 1), "code", "reason"))
    (file,) = ledger.close([])
    assert (file.read, file.kept, file.problems) == (1, 0, {"code": 1})
