"""Whatever is done to some rows of a file: the others are read, and read = kept + every reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from chat_tokenizers import write_family
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import DataError
from tuneloop.data.config import DataConfig, FileSpec
from tuneloop.data.contract import load_renderer
from tuneloop.data.prepare import prepare_data
from tuneloop.data.rows import iter_rows, open_sources
from tuneloop.data.schema import Problem, Row

DETERMINISTIC = settings(derandomize=True, database=None, deadline=None, max_examples=15)


class Mutation(NamedTuple):
    """What is done to the text of a good row, and which reason it gets; None where the row stays good."""

    name: str
    change: Callable[[str], bytes]
    code: str | None


def set_key(path: str, value: Any) -> Callable[[str], bytes]:
    """Put a value at a dotted path of the row; the value `...` deletes the key."""

    def change(text: str) -> bytes:
        row = json.loads(text)
        here = row
        *parents, last = path.split(".")
        for key in parents:
            here = here[int(key)] if isinstance(here, list) else here[key]
        place = int(last) if isinstance(here, list) else last
        if value is ...:
            del here[place]
        else:
            here[place] = value
        return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")

    return change


def on_text(edit: Callable[[str], str], encoding: str = "utf-8") -> Callable[[str], bytes]:
    return lambda text: edit(text).encode(encoding)


TEXT_LEVEL = (
    Mutation("nothing", on_text(lambda t: t), None),
    Mutation("spaces around", on_text(lambda t: f" \t{t}  "), None),
    Mutation("carriage return", on_text(lambda t: t + "\r"), None),
    Mutation("escaped to ASCII", on_text(lambda t: json.dumps(json.loads(t))), None),
    Mutation("another key", on_text(lambda t: '{"id": [1, {}], ' + t[1:]), None),
    Mutation("large number beside it", on_text(lambda t: '{"id": 123456789012345678901234567890, ' + t[1:]), None),
    Mutation("cut in half", on_text(lambda t: t[: len(t) // 2]), "not_json"),
    Mutation("last bracket gone", on_text(lambda t: t[:-1]), "not_json"),
    Mutation("one bracket more", on_text(lambda t: t + "}"), "not_json"),
    Mutation("single quotes", on_text(lambda t: t.replace('"', "'")), "not_json"),
    Mutation("trailing comma", on_text(lambda t: t[:-1] + ",}"), "not_json"),
    Mutation("two rows on a line", on_text(lambda t: t + t), "not_json"),
    Mutation("NaN beside it", on_text(lambda t: '{"x": NaN, ' + t[1:]), "not_json"),
    Mutation("Infinity beside it", on_text(lambda t: '{"x": -Infinity, ' + t[1:]), "not_json"),
    Mutation("number out of range", on_text(lambda t: '{"x": 1e999, ' + t[1:]), "not_json"),
    Mutation("bare tab in a text", on_text(lambda t: '{"x": "\t", ' + t[1:]), "not_json"),
    Mutation("lone surrogate beside it", on_text(lambda t: '{"x": "\\ud83d", ' + t[1:]), "not_json"),
    Mutation("deep nesting", on_text(lambda t: '{"x": ' + "[" * 5000 + "]" * 5000 + ", " + t[1:]), "not_json"),
    Mutation("a mark in the middle of the file", on_text(lambda t: "\ufeff" + t), "not_json"),
    Mutation("GB18030", on_text(lambda t: '{"x": "答案", ' + t[1:], "gb18030"), "not_utf8"),
    Mutation("Latin-1", lambda t: b'{"x": "\xe9", ' + t[1:].encode(), "not_utf8"),
    Mutation("encoded surrogate", lambda t: b'{"x": "\xed\xa0\x80", ' + t[1:].encode(), "not_utf8"),
    Mutation("null byte", on_text(lambda t: t + "\0"), "not_json"),
    Mutation("a list", on_text(lambda t: f"[{t}]"), "not_an_object"),
    Mutation("a number", on_text(lambda _: "17"), "not_an_object"),
    Mutation("null", on_text(lambda _: "null"), "not_an_object"),
    Mutation("a text", on_text(json.dumps), "not_an_object"),
    Mutation("an empty object", on_text(lambda _: "{}"), "missing_key"),
)
ALPACA = (
    *TEXT_LEVEL,
    Mutation("output twice: the last counts", on_text(lambda t: '{"output": 3, ' + t[1:]), None),
    Mutation("no input", set_key("input", ...), None),
    Mutation("null input", set_key("input", None), None),
    Mutation("null output", set_key("output", None), "empty_answer"),
    Mutation("no output", set_key("output", ...), "empty_answer"),
    Mutation("blank output", set_key("output", " \u3000\n"), "empty_answer"),
    Mutation("number as output", set_key("output", 12), "wrong_type"),
    Mutation("list as instruction", set_key("instruction", ["q"]), "wrong_type"),
    Mutation("no instruction", set_key("instruction", ...), "missing_key"),
    Mutation("empty instruction", set_key("instruction", ""), "empty_prompt"),
    Mutation("misspelt key", on_text(lambda t: t.replace('"output"', '"outptu"')), "empty_answer"),
    Mutation("broken history", set_key("history", [["q"]]), "wrong_type"),
    Mutation("empty system", set_key("system", ""), None),
)
SHAREGPT = (
    *TEXT_LEVEL,
    Mutation("unknown role", set_key("conversations.1.from", "bot"), "unknown_role"),
    Mutation("no role", set_key("conversations.0.from", ...), "unknown_role"),
    Mutation("role in capitals", set_key("conversations.1.from", "GPT"), None),
    Mutation("null answer", set_key("conversations.1.value", None), "empty_answer"),
    Mutation("null question", set_key("conversations.0.value", None), "empty_prompt"),
    Mutation("answer first", on_text(lambda t: t.replace('"human"', '"gpt"')), "role_order"),
    Mutation("no answer", set_key("conversations.1", ...), "no_answer"),
    Mutation("no turns", set_key("conversations", []), "no_turns"),
    Mutation("turns as text", set_key("conversations", "q a"), "missing_key"),
    Mutation("turn as text", set_key("conversations.0", "q"), "wrong_type"),
    Mutation("tool call", set_key("conversations.1.tool_calls", [{}]), "tool_calls"),
    Mutation("weight 0", set_key("conversations.1.weight", 0), "no_target"),
    Mutation("weight below 0", set_key("conversations.1.weight", -1), "wrong_type"),
    Mutation("a picture", set_key("conversations.0.value", [{"type": "image"}]), "not_text"),
)


def alpaca_row(index: int) -> str:
    return json.dumps({"instruction": f"q{index} 问", "input": "", "output": f"a{index} 答"}, ensure_ascii=False)


def sharegpt_row(index: int) -> str:
    turns = [{"from": "human", "value": f"q{index} 问"}, {"from": "gpt", "value": f"a{index} 答"}]
    return json.dumps({"conversations": turns}, ensure_ascii=False)


FORMATS = {"alpaca": (alpaca_row, ALPACA), "sharegpt": (sharegpt_row, SHAREGPT)}


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
    assert len(problems) == len({problem.origin for problem in problems})
    assert not {row.origin for row in rows} & {problem.origin for problem in problems}
    if not as_array and b"\n" not in filling and b"\n" not in content[at : at + width]:
        # Lines do not infect each other: at most the one that was hit is lost.
        whole = {line for index, line in enumerate(lines) if content[:at].count(b"\n") != index}
        assert {f"q{row.origin.line - 1} 问" for row in rows} >= {json.loads(line)["instruction"] for line in whole}


def test_doubles_and_reasons_together(tmp_path: Path) -> None:
    """Doubles are counted in the file in which the later one stands."""
    (tmp_path / "a.jsonl").write_text("\n".join([alpaca_row(0), alpaca_row(1), alpaca_row(0), "{"]))
    (tmp_path / "b.jsonl").write_text("\n".join([sharegpt_row(1), sharegpt_row(2)]))
    renderer = load_renderer(write_family(tmp_path / "model", "chatml"), template="chatml")
    config = DataConfig.model_validate({"train": ["a.jsonl", "b.jsonl"], "eval_fraction": 0})
    first, second = prepare_data(config, tmp_path, renderer, seed=0, cache=tmp_path / "cache").files
    assert (first.read, first.kept, first.problems) == (4, 2, {"duplicate": 1, "not_json": 1})
    assert (second.read, second.kept, second.problems) == (2, 1, {"duplicate": 1})
