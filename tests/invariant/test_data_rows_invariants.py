"""Whatever is done to some rows of a file: the others are read, and read = kept + every reason."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from row_mutations import FORMATS, TEXT_LEVEL, Mutation, alpaca_row, sharegpt_row

from conftest import write_tokenizer
from tuneloop.core.errors import DataError
from tuneloop.data.config import DataConfig, FileSpec
from tuneloop.data.contract import load_renderer
from tuneloop.data.prepare import prepare_data
from tuneloop.data.rows import iter_rows, open_sources
from tuneloop.data.schema import Problem, Row

DETERMINISTIC = settings(derandomize=True, database=None, deadline=None, max_examples=15)


def read(folder: Path, name: str, format_name: str = "auto") -> tuple[list[Row], list[Problem]]:
    """The rows of a file, and what is wrong with the others."""
    (source,) = open_sources((FileSpec(path=name, format=format_name),), folder, cache=folder)
    found = list(iter_rows(source))
    return [each for each in found if isinstance(each, Row)], [each for each in found if isinstance(each, Problem)]


def check_file(folder: Path, format_name: str, chosen: list[Mutation | None]) -> None:
    """Write one line for each choice (None: a blank line), read it, and hold every promise against it."""
    make, _ = FORMATS[format_name]
    lines = [b"" if mutation is None else mutation.change(make(index)) for index, mutation in enumerate(chosen)]
    (folder / "rows.jsonl").write_bytes(b"\n".join(lines))
    rows, problems = read(folder, "rows.jsonl", format_name)

    expected = {index + 1: mutation for index, mutation in enumerate(chosen) if mutation is not None}
    kept = {row.origin.line: row for row in rows}
    reasons = {problem.origin.line: problem.code for problem in problems}
    assert reasons == {line: mutation.code for line, mutation in expected.items() if mutation.code is not None}
    assert list(kept) == [line for line, mutation in expected.items() if mutation.code is None]
    assert all(said(row) == [f"q{line - 1} 问", f"a{line - 1} 答"] for line, row in kept.items())
    assert len(problems) == len(reasons)
    assert len(rows) == len(kept)
    assert all(problem.reason and problem.origin.file == "rows.jsonl" for problem in problems)


def said(row: Row) -> list[str]:
    return [message.content for message in row.messages]


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_mutation_gets_its_reason(tmp_path: Path, format_name: str) -> None:
    mutations = FORMATS[format_name][1]
    assert len({mutation.name for mutation in mutations}) == len(mutations) >= 40
    check_file(tmp_path, format_name, list(mutations))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@DETERMINISTIC
@given(data=st.data(), format_name=st.sampled_from(sorted(FORMATS)))
def test_read_is_kept_plus_reasons(folder: Path, data: st.DataObject, format_name: str) -> None:
    choices = st.none() | st.sampled_from(FORMATS[format_name][1])
    # The first line is a good row: a mark in front of the first line would be the file's own.
    chosen = data.draw(st.lists(choices, min_size=10, max_size=40))
    check_file(folder, format_name, [TEXT_LEVEL[0], *chosen])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("ab <|>\n", max_size=4) | st.just(0.5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "from", "content", "value", "weight", "type", "text", "tool_calls"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"]) | VALUES, "content": VALUES},
        optional={"weight": VALUES, "tool_calls": VALUES},
    ),
    max_size=4,
)
# `history` is made of lists here: any other type is a known failure with a test of its own.
ANY_ROW = st.fixed_dictionaries(
    {},
    optional={
        "instruction": VALUES,
        "input": VALUES,
        "output": VALUES,
        "system": VALUES,
        "history": st.lists(VALUES, max_size=2),
        "messages": TURNS | VALUES,
        "conversations": TURNS | VALUES,
    },
)


@pytest.mark.slow
@settings(DETERMINISTIC, max_examples=60)
@given(
    rows=st.lists(ANY_ROW | VALUES, min_size=1, max_size=8),
    format_name=st.sampled_from(["alpaca", "sharegpt", "messages"]),
    as_array=st.booleans(),
)
def test_rows_of_any_shape(folder: Path, rows: list[Any], format_name: str, *, as_array: bool) -> None:
    """Valid JSON of any shape is a row or a reason, as lines and as an array, and both say the same."""
    path = folder / "any.json"
    text = json.dumps(rows) if as_array else "".join(json.dumps(row) + "\n" for row in rows)
    if not as_array and text.startswith("["):
        text = "null\n" + text
        rows = [None, *rows]
    path.write_text(text)
    kept, problems = read(folder, "any.json", format_name)
    assert len(rows) == len(kept) + len(problems)
    for row in kept:
        roles = [message.role for message in row.messages if message.role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert roles
        assert all(message.content.strip() for message in row.messages if message.role != "system")


@pytest.mark.slow
@settings(DETERMINISTIC, max_examples=300)
@given(
    place=st.floats(0, 1, exclude_max=True),
    width=st.integers(0, 3),
    filling=st.binary(max_size=3),
    as_array=st.booleans(),
)
def test_any_bytes_in_the_middle(folder: Path, place: float, width: int, filling: bytes, *, as_array: bool) -> None:
    """Bytes replaced, cut or put in anywhere: a typed refusal of the file, or a ledger that adds up."""
    lines = [alpaca_row(index) for index in range(6)]
    content = ("[" + ",\n".join(lines) + "]" if as_array else "\n".join(lines)).encode()
    at = int(place * len(content))
    (folder / "hit.json").write_bytes(content[:at] + filling + content[at + width :])
    try:
        rows, problems = read(folder, "hit.json")
    except DataError as error:
        assert str(error).startswith("hit.json")  # noqa: PT017 - a refusal is one of two right outcomes
        return
    # What begins like gzip is read as gzip, what begins with a bracket as an array.
    is_other = as_array or (at == 0 and filling.strip().startswith((b"\x1f\x8b", b"[")))
    if not is_other:
        # One line is one row or one problem; elements of an array may share a line.
        places = [each.origin.line for each in (*rows, *problems)]
        assert len(places) == len(set(places))
    # A lone carriage return ends a line as well.
    breaks = any(each in filling + content[at : at + width] for each in (b"\n", b"\r"))
    if not is_other and not breaks:
        # Lines do not infect each other: at most the one that was hit is lost.
        whole = {line for index, line in enumerate(lines) if content[:at].count(b"\n") != index}
        assert {f"q{row.origin.line - 1} 问" for row in rows} >= {json.loads(line)["instruction"] for line in whole}


def test_doubles_and_reasons_together(tmp_path: Path) -> None:
    """Doubles are counted in the file in which the later one stands."""
    (tmp_path / "a.jsonl").write_text("\n".join([alpaca_row(0), alpaca_row(1), alpaca_row(0), "{"]))
    (tmp_path / "b.jsonl").write_text("\n".join([sharegpt_row(1), sharegpt_row(2)]))
    write_tokenizer(tmp_path)
    renderer = load_renderer(tmp_path)
    config = DataConfig.model_validate({"train": ["a.jsonl", "b.jsonl"], "eval_fraction": 0})
    first, second = prepare_data(config, tmp_path, renderer, seed=0, cache=tmp_path / "cache").files
    assert (first.read, first.kept, first.problems) == (4, 2, {"duplicate": 1, "not_json": 1})
    assert (second.read, second.kept, second.problems) == (2, 1, {"duplicate": 1})
