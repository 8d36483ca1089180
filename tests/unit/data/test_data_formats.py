"""Rows as people write them: what is understood, and what is said about the others."""

import json
from pathlib import Path
from typing import Any

import pytest

from tuneloop.core.errors import DataError
from tuneloop.data.config import FileSpec
from tuneloop.data.formats import check_messages, detect_format, parse_messages, require_format
from tuneloop.data.ledger import Ledger
from tuneloop.data.rows import read_files, read_rows
from tuneloop.data.schema import Message, Origin, Row, RowError

Turns = list[tuple[str, str]]


def turns(format_name: str, value: object) -> Turns:
    messages = parse_messages(format_name, value)
    check_messages(messages)
    return [(message.role, message.content) for message in messages]


def refused(format_name: str, value: object) -> tuple[str, str]:
    """Code and reason."""
    with pytest.raises(RowError) as caught:
        turns(format_name, value)
    return caught.value.code, caught.value.reason


def openai(*contents: Any, **last: Any) -> dict[str, Any]:
    """user, assistant, user ... with these contents; `last` goes into the last turn."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]
    messages[-1] |= last
    return {"messages": messages}


def alpaca(**values: Any) -> dict[str, Any]:
    return {"instruction": "q", "input": "", "output": "a"} | values


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (alpaca(), [("user", "q"), ("assistant", "a")]),
        ({"instruction": "q", "output": "a"}, [("user", "q"), ("assistant", "a")]),
        (alpaca(input="ctx"), [("user", "q\nctx"), ("assistant", "a")]),
        (alpaca(input=None, system=None, history=None), [("user", "q"), ("assistant", "a")]),
        (alpaca(system="be brief"), [("system", "be brief"), ("user", "q"), ("assistant", "a")]),
        (alpaca(system=""), [("user", "q"), ("assistant", "a")]),
        (alpaca(history=[]), [("user", "q"), ("assistant", "a")]),
        (
            alpaca(system="s", history=[["q1", "a1"], ["q2", "a2"]], input="x"),
            [
                ("system", "s"),
                ("user", "q1"),
                ("assistant", "a1"),
                ("user", "q2"),
                ("assistant", "a2"),
                ("user", "q\nx"),
                ("assistant", "a"),
            ],
        ),
        (alpaca(more={"id": 3}), [("user", "q"), ("assistant", "a")]),
        # Text is text: nothing is trimmed.
        (alpaca(instruction=" q\n", output="\ta "), [("user", " q\n"), ("assistant", "\ta ")]),
    ],
)
def test_alpaca(row: dict[str, Any], expected: Turns) -> None:
    assert turns("alpaca", row) == expected


@pytest.mark.parametrize(
    ("row", "code", "part"),
    [
        ({"output": "a"}, "missing_key", "'instruction' is missing"),
        (alpaca(instruction=None), "missing_key", "'instruction' is null"),
        (alpaca(instruction=" "), "empty_prompt", "turn 1 (user) is empty"),
        ({"instruction": "q"}, "empty_answer", "'output' is missing"),
        (alpaca(output=None), "empty_answer", "'output' is null"),
        (alpaca(output=""), "empty_answer", "turn 2 (assistant) is empty"),
        (alpaca(output=" \n\t"), "empty_answer", "turn 2 (assistant) is empty"),
        (alpaca(output=3), "wrong_type", "'output' is a number, not text"),
        (alpaca(output=True), "wrong_type", "'output' is true or false, not text"),
        (alpaca(output=["a"]), "wrong_type", "'output' is a list, not text"),
        (alpaca(output={"a": 1}), "wrong_type", "'output' is an object, not text"),
        (alpaca(input=1.5), "wrong_type", "'input' is a number, not text"),
        (alpaca(system=["s"]), "wrong_type", "'system' is a list, not text"),
        (alpaca(history=[["q1"]]), "wrong_type", "[question, answer] pairs"),
        (alpaca(history=[["q1", "a1", "b1"]]), "wrong_type", "[question, answer] pairs"),
        (alpaca(history=[["q1", None]]), "wrong_type", "[question, answer] pairs"),
        (alpaca(history=["q1", "a1"]), "wrong_type", "[question, answer] pairs"),
        (alpaca(history="q1"), "wrong_type", "[question, answer] pairs"),
        (alpaca(history={"q1": "a1"}), "wrong_type", "[question, answer] pairs"),
        (alpaca(history=[["q1", ""]]), "empty_answer", "turn 2 (assistant) is empty"),
        (alpaca(history=[["", "a1"]]), "empty_prompt", "turn 1 (user) is empty"),
        (alpaca(output="\ud800"), "lone_surrogate", "turn 2"),
        ([], "not_an_object", "this is a list"),
        (None, "not_an_object", "this is null"),
        ("q", "not_an_object", "this is text"),
        (3, "not_an_object", "this is a number"),
        ({}, "missing_key", "'instruction' is missing"),
    ],
)
def test_alpaca_refused(row: object, code: str, part: str) -> None:
    found, reason = refused("alpaca", row)
    assert found == code
    assert part in reason


@pytest.mark.parametrize("history", [5, True, 0.5])
def test_alpaca_history_that_is_no_list(history: object) -> None:
    assert refused("alpaca", alpaca(history=history))[0] == "wrong_type"


@pytest.mark.parametrize(
    "pairs",
    [
        [("from", "value", "human", "gpt")],
        [("role", "content", "user", "assistant")],
        # Both styles in one row, and names that other tools write.
        [("from", "value", "user", "chatgpt"), ("role", "content", "human", "bard")],
        [("from", "value", " Human ", "GPT"), ("from", "value", "USER", "model")],
    ],
)
def test_sharegpt_both_key_styles(pairs: list[tuple[str, str, str, str]]) -> None:
    conversation, expected = [], []
    for index, (role, content, asks, answers) in enumerate(pairs):
        conversation += [{role: asks, content: f"q{index}"}, {role: answers, content: f"a{index}"}]
        expected += [("user", f"q{index}"), ("assistant", f"a{index}")]
    assert turns("sharegpt", {"conversations": conversation}) == expected


def test_sharegpt_system() -> None:
    conversation = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    expected = [("system", "s"), ("user", "q"), ("assistant", "a")]
    assert turns("sharegpt", {"conversations": conversation, "system": "s"}) == expected
    assert turns("sharegpt", {"conversations": [{"from": "system", "value": "s"}, *conversation]}) == expected
    assert turns("sharegpt", {"conversations": conversation, "system": None}) == expected[1:]
    # Two system texts are a mistake, not something to guess about.
    both = {"conversations": [{"from": "system", "value": "s"}, *conversation], "system": "t"}
    assert refused("sharegpt", both)[0] == "role_order"


def test_messages() -> None:
    row = {
        "messages": [
            {"role": "developer", "content": "s"},
            {"role": "user", "content": "q", "name": "Ann"},
            {"role": "assistant", "content": "a"},
        ]
    }
    assert turns("messages", row) == [("system", "s"), ("user", "q"), ("assistant", "a")]


def test_content_parts() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    assert turns("messages", openai(parts, "a")) == [("user", "one two"), ("assistant", "a")]
    assert refused("messages", openai([], "a"))[0] == "empty_prompt"
    for other in (
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text"},
        {"type": "text", "text": None},
        "plain",
        None,
    ):
        code, reason = refused("messages", openai([parts[0], other], "a"))
        assert (code, reason) == ("not_text", "messages[0] holds something other than text")


def test_weights_of_turns() -> None:
    row = openai("q", "a", "q2", "a2")
    row["messages"][1]["weight"] = 0
    row["messages"][3]["weight"] = 0.5
    messages = parse_messages("messages", row)
    check_messages(messages)
    assert [message.weight for message in messages] == [1.0, 0.0, 1.0, 0.5]
    row["messages"][3]["weight"] = 0
    assert refused("messages", row)[0] == "no_target"
    # The weight of a question is read and never counts.
    assert refused("messages", openai("q", "a", weight=0))[0] == "no_target"


@pytest.mark.parametrize("weight", [-1, -0.001, "1", None, True, [1], {}])
def test_weight_that_is_no_number_from_0(weight: object) -> None:
    code, reason = refused("messages", openai("q", "a", weight=weight))
    assert code == "wrong_type"
    assert reason == "messages[1] has a weight that is not a number from 0 to 1,000,000"


def test_infinite_weight() -> None:
    assert refused("messages", openai("q", "a", weight=json.loads("1e999")))[0] == "wrong_type"


def test_weight_of_400_digits() -> None:
    assert refused("messages", openai("q", "a", weight=10**400))[0] == "wrong_type"


def test_tool_turns_are_refused_with_a_reason() -> None:
    call = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    code, reason = refused("messages", openai("q", None, tool_calls=call))
    assert (code, reason) == ("tool_calls", "messages[1] calls tools: tool turns are not read yet")
    assert refused("messages", openai("q", "a", tool_calls=call))[0] == "tool_calls"
    row = openai("q", "a")
    row["messages"].insert(1, {"role": "tool", "content": "42"})
    code, reason = refused("messages", row)
    assert code == "unknown_role"
    assert reason.startswith("messages[1] has the role 'tool'; known are: system, developer, user")
    # An empty list of calls, as some exports write it, is no call.
    assert turns("messages", openai("q", "a", tool_calls=[])) == [("user", "q"), ("assistant", "a")]


@pytest.mark.parametrize(
    ("role", "shown"),
    [
        ("narrator", "'narrator'"),
        ("", "''"),
        ("asistant", "'asistant'"),
        ("x" * 100, f"'{'x' * 40}'"),
        (None, "null"),
        (3, "a number"),
        (["user"], "a list"),
        ({}, "an object"),
    ],
)
def test_unknown_role(role: object, shown: str) -> None:
    for key, format_name in (("role", "messages"), ("from", "sharegpt")):
        name = "messages" if format_name == "messages" else "conversations"
        row = {name: [{key: "user", "content": "q"}, {key: role, "content": "a"}]}
        code, reason = refused(format_name, row)
        assert code == "unknown_role"
        assert reason.startswith(f"{name}[1] has the role {shown}; known are: ")


@pytest.mark.parametrize("key", ["role", "weight"])
def test_role_or_weight_nested_deeply(tmp_path: Path, key: str) -> None:
    row = openai("q", "a")
    row["messages"][0] |= {key: "DEEP"}
    ledger = Ledger()
    (tmp_path / "r.jsonl").write_text(json.dumps(row).replace('"DEEP"', "[" * 1000 + "]" * 1000) + "\n")
    assert list(read_rows(FileSpec(path="r.jsonl"), tmp_path, ledger)) == []
    assert ledger.problems[0].code in {"unknown_role", "wrong_type"}


@pytest.mark.parametrize(
    ("roles", "part"),
    [
        ("au", "turn 1 is by the assistant; the user comes here"),
        ("uu", "turn 2 is by the user; the assistant comes here"),
        ("uaa", "turn 3 is by the assistant; the user comes here"),
        ("usa", "turn 2 is by the system; the assistant comes here"),
        ("ssua", "turn 1 is by the system; the user comes here"),
        ("uas", "turn 3 is by the system; the user comes here"),
    ],
)
def test_role_order(roles: str, part: str) -> None:
    names = {"u": "user", "a": "assistant", "s": "system"}
    row = {"messages": [{"role": names[role], "content": "x"} for role in roles]}
    assert refused("messages", row) == ("role_order", part)


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([], "no_turns"),
        ([{"role": "system", "content": "s"}], "no_turns"),
        ([{"role": "user", "content": "q"}], "no_answer"),
        ([{"role": "user", "content": "q"}, {"role": "assistant", "content": None}], "empty_answer"),
        ([{"role": "user", "content": "q"}, {"role": "assistant"}], "empty_answer"),
        ([{"role": "user"}, {"role": "assistant", "content": "a"}], "empty_prompt"),
        ([{"role": "user", "content": "  "}, {"role": "assistant", "content": "a"}], "empty_prompt"),
        ([{"role": "user", "content": 3}, {"role": "assistant", "content": "a"}], "wrong_type"),
        (["q", "a"], "wrong_type"),
        ("q", "missing_key"),
        (None, "missing_key"),
        ({"role": "user"}, "missing_key"),
    ],
)
def test_messages_refused(messages: object, code: str) -> None:
    assert refused("messages", {"messages": messages})[0] == code
    assert refused("sharegpt", {"conversations": messages})[0] == code


def test_lone_surrogates(tmp_path: Path) -> None:
    assert refused("messages", openai("q\ud83d", "a"))[0] == "lone_surrogate"
    # A whole pair is an ordinary character.
    (tmp_path / "r.json").write_text('[{"instruction": "q", "output": "\\ud83d\\ude00"}]')
    (row,) = read_rows(FileSpec(path="r.json"), tmp_path, Ledger())
    assert row.answer() == "😀"


def test_lone_surrogate_in_the_system_turn(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('[{"instruction": "q", "output": "a", "system": "\\ud83d"}]')
    ledger = Ledger()
    read_files((FileSpec(path="r.json"),), tmp_path, ledger, keep_duplicates=False)
    assert [problem.code for problem in ledger.problems] == ["lone_surrogate"]


def test_auto_decides_by_the_keys() -> None:
    assert detect_format([alpaca()]) == "alpaca"
    assert detect_format([openai("q", "a")]) == "messages"
    assert detect_format([{"conversations": []}]) == "sharegpt"
    assert detect_format([{"messages": "no list"}, {"instruction": "q"}, 3, None]) == ""
    # The majority of the first rows, whatever the first one is.
    assert detect_format([{"x": 1}, openai("q", "a"), alpaca(), alpaca()]) == "alpaca"


def test_auto_names_what_it_saw() -> None:
    with pytest.raises(DataError) as caught:
        require_format("auto", [3, {"prompt": "q", "completion": "a"}], "rows.jsonl")
    assert str(caught.value) == (
        "rows.jsonl: no known format; the first row has the keys ['completion', 'prompt']. Known are: alpaca "
        "(instruction, input, output), sharegpt (conversations), messages (messages)."
    )
    with pytest.raises(DataError, match=r"the first row has the keys \[\]"):
        require_format("auto", [3, "x"], "rows.jsonl")
    assert require_format("sharegpt", [alpaca()], "rows.jsonl") == "sharegpt"


def write(folder: Path, *lines: object, name: str = "rows.jsonl") -> FileSpec:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / name).write_text("\n".join(texts) + "\n")
    return FileSpec(path=name)


def read(spec: FileSpec, folder: Path) -> tuple[list[Row], Ledger]:
    ledger = Ledger()
    return list(read_rows(spec, folder, ledger)), ledger


def test_one_bad_row_among_good_ones(tmp_path: Path) -> None:
    spec = write(tmp_path, alpaca(), alpaca(output=3), "{", alpaca(output="b"), name="x.jsonl")
    rows, ledger = read(spec, tmp_path)
    assert [(str(row.origin), row.answer()) for row in rows] == [("x.jsonl:1", "a"), ("x.jsonl:4", "b")]
    first, second = map(str, ledger.problems)
    assert first == "x.jsonl:2: 'output' is a number, not text [wrong_type]"
    assert second.startswith("x.jsonl:3: not JSON: ")
    assert second.endswith(" [not_json]")
    (file,) = ledger.close(rows)
    assert (file.path, file.format, file.read, file.kept) == ("x.jsonl", "alpaca", 4, 2)
    assert file.problems == {"not_json": 1, "wrong_type": 1}
    assert ledger.problems[0].as_json() == {
        "file": "x.jsonl",
        "line": 2,
        "code": "wrong_type",
        "reason": "'output' is a number, not text",
    }


def test_a_row_of_another_format_is_left_out(tmp_path: Path) -> None:
    rows, ledger = read(write(tmp_path, alpaca(), alpaca(), openai("q", "a")), tmp_path)
    assert len(rows) == 2
    assert [(problem.origin.line, problem.code) for problem in ledger.problems] == [(3, "missing_key")]


def test_the_given_format_is_not_guessed_at(tmp_path: Path) -> None:
    spec = write(tmp_path, alpaca()).replace(format="messages")
    rows, ledger = read(spec, tmp_path)
    assert (rows, [problem.code for problem in ledger.problems]) == ([], ["missing_key"])


def test_weight_of_a_file_is_the_weight_of_its_rows(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path, alpaca()).replace(weight=0.25), tmp_path)
    assert [row.weight for row in rows] == [0.25]


def test_strict_stops_at_the_first_bad_row(tmp_path: Path) -> None:
    spec = write(tmp_path, alpaca(), alpaca(output=""), "{")
    with pytest.raises(DataError, match=r"^rows\.jsonl:2: turn 2 \(assistant\) is empty \[empty_answer\]\. \(data\."):
        list(read_rows(spec, tmp_path, Ledger(strict=True)))


def test_auto_after_32_broken_lines(tmp_path: Path) -> None:
    rows, ledger = read(write(tmp_path, *["broken"] * 32, alpaca()), tmp_path)
    assert (len(rows), len(ledger.problems)) == (1, 32)
    (file,) = ledger.close(rows)
    assert (file.format, file.read) == ("alpaca", 33)


def test_auto_after_31_broken_lines(tmp_path: Path) -> None:
    rows, ledger = read(write(tmp_path, *["broken"] * 31, alpaca()), tmp_path)
    assert (len(rows), len(ledger.problems)) == (1, 31)


def test_file_of_broken_lines_only(tmp_path: Path) -> None:
    rows, ledger = read(write(tmp_path, "broken", "{"), tmp_path)
    assert rows == []
    (file,) = ledger.close(rows)
    assert (file.read, file.kept, file.problems) == (2, 0, {"not_json": 2})


def test_what_evaluation_asks_and_compares_with() -> None:
    messages = (Message("system", "s"), Message("user", "q"), Message("assistant", "a"))
    row = Row(messages, Origin("rows.jsonl", 1))
    assert row.before_answer() == messages[:2]
    assert row.answer() == "a"
