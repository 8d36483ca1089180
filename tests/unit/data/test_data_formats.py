"""Rows as people write them: what is understood, and what is said about the others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tuneloop.core.errors import DataError
from tuneloop.data.content import Conversation
from tuneloop.data.formats.check import check_messages
from tuneloop.data.formats.registry import check_columns, detect_format, parse_example, require_format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.schema import Message, RowError

Turns = list[tuple[str, str]]


def parse(format_name: str, value: object, shape: Shape | None = None) -> tuple[Message, ...]:
    content = parse_example(format_name, value, shape or Shape()).content
    assert isinstance(content, Conversation)
    check_messages(content.messages, content.tools)
    return content.messages


def turns(format_name: str, value: object, shape: Shape | None = None) -> Turns:
    return [(message.role, message.content) for message in parse(format_name, value, shape)]


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
        (alpaca(instruction=None), "missing_key", "'instruction' is missing or null"),
        (alpaca(instruction=" "), "empty_prompt", "turn 1 (user) is empty"),
        ({"instruction": "q"}, "empty_answer", "'output' is missing"),
        (alpaca(output=None), "empty_answer", "'output' is missing or null"),
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
    messages = parse("messages", row)
    assert [message.weight for message in messages] == [1.0, 0.0, 1.0, 0.5]
    row["messages"][3]["weight"] = 0
    assert refused("messages", row)[0] == "no_target"
    # The weight of a question is read and never counts.
    assert refused("messages", openai("q", "a", weight=0))[0] == "no_target"


@pytest.mark.parametrize("weight", [-1, -0.001, "1", [1], {}, float("nan")])
def test_weight_that_is_no_number_from_0(weight: object) -> None:
    code, reason = refused("messages", openai("q", "a", weight=weight))
    assert code == "wrong_type"
    assert reason == "messages[1] has a weight that is not a number from 0 to 1,000,000"


def test_infinite_weight() -> None:
    assert refused("messages", openai("q", "a", weight=json.loads("1e999")))[0] == "wrong_type"


def test_weight_of_400_digits() -> None:
    assert refused("messages", openai("q", "a", weight=10**400))[0] == "wrong_type"


@pytest.mark.parametrize(
    ("last", "weight"),
    [
        ({"weight": None}, 1.0),
        ({"weight": True}, 1.0),
        ({"train": False, "weight": None}, 0.0),
        ({"loss": False}, 0.0),
        ({"loss": 0.5}, 0.5),
        ({"loss_weight": 3}, 3.0),
    ],
)
def test_weights_of_turns_under_other_names(last: dict[str, Any], weight: float) -> None:
    messages = parse("messages", openai("q", "a", "q2", "a2", **last))
    assert [message.weight for message in messages] == [1.0, 1.0, 1.0, weight]


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


@pytest.mark.parametrize("key", ["role", "weight", "content", "tool_calls", "name"])
def test_a_value_nested_deeply(key: str) -> None:
    row = openai("q", "a")
    row["messages"][0] |= {key: json.loads("[" * 900 + "]" * 900)}
    assert refused("messages", row)[0] in {"unknown_role", "wrong_type", "not_text", "bad_tool_call"}


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


def test_lone_surrogates() -> None:
    assert refused("messages", openai("q\ud83d", "a"))[0] == "lone_surrogate"
    assert refused("alpaca", alpaca(system="\ud83d")) == (
        "lone_surrogate",
        "the system turn has half of a surrogate pair: it is not valid text",
    )
    # A whole pair is an ordinary character.
    assert turns("alpaca", json.loads('{"instruction": "q", "output": "\\ud83d\\ude00"}'))[-1] == ("assistant", "😀")


def test_alpaca_joins_only_what_has_text() -> None:
    # As LLaMA-Factory: no line break where one of the two is empty.
    assert turns("alpaca", alpaca(instruction="", input="ctx")) == [("user", "ctx"), ("assistant", "a")]


def test_columns_name_what_the_file_calls_its_fields() -> None:
    shape = Shape({"instruction": "frage", "output": "antwort"})
    assert turns("alpaca", {"frage": "q", "input": "ctx", "antwort": "a"}, shape) == [
        ("user", "q\nctx"),
        ("assistant", "a"),
    ]
    only = Shape(shape.columns, only_columns=True)
    assert turns("alpaca", {"frage": "q", "input": "ctx", "antwort": "a"}, only) == [("user", "q"), ("assistant", "a")]


def test_columns_name_keys_inside_a_turn() -> None:
    columns = {"messages": "dialog", "messages.role": "who", "messages.content": "says", "messages.weight": "learn"}
    row = {
        "dialog": [
            {"who": "patient", "says": "q", "role": "x"},
            {"who": "doctor", "says": "a", "learn": True},
            {"who": "patient", "says": "q2"},
            {"who": "Doctor", "says": "a2", "learn": False},
        ]
    }
    shape = Shape(columns, only_columns=True, roles={"doctor": "assistant", "Doctor": "assistant", "patient": "user"})
    for format_name in ("messages", "sharegpt"):
        messages = parse(format_name, row, shape)
        assert [(m.role, m.content, m.weight) for m in messages] == [
            ("user", "q", 1.0),
            ("assistant", "a", 1.0),
            ("user", "q2", 1.0),
            ("assistant", "a2", 0.0),
        ]
    with pytest.raises(RowError, match=r"^dialog\[0\] has the role 'patient'; known are: system"):
        parse("messages", row, Shape(columns))


def test_a_role_of_the_file_comes_before_the_usual_one() -> None:
    row = {"conversations": [{"from": "model", "value": "q"}, {"from": "tool", "value": "a"}]}
    assert turns("sharegpt", row, Shape(roles={"model": "user", "tool": "assistant"})) == [
        ("user", "q"),
        ("assistant", "a"),
    ]


def test_columns_of_another_format_are_refused() -> None:
    check_columns("messages", {"messages.weight": "w", "tools": "t", "id": "key"}, "f")
    with pytest.raises(DataError, match=r"^f: alpaca has no field 'messages'"):
        check_columns("alpaca", {"messages": "m"}, "f")


@pytest.mark.parametrize(
    ("format_name", "row"),
    [
        ("alpaca", alpaca()),
        ("messages", openai("q", "a")),
        ("sharegpt", {"conversations": openai("q", "a")["messages"]}),
        ("pairs", {"query": "q", "response": "a"}),
        ("pairs", {"conversation": [{"human": "q", "assistant": "a"}]}),
    ],
)
@pytest.mark.parametrize("media", ["images", "videos", "audios"])
def test_rows_with_pictures_films_or_sound_are_left_out(format_name: str, row: dict[str, Any], media: str) -> None:
    assert refused(format_name, row | {media: ["1.jpg"]}) == ("not_text", f"the row has '{media}': only text is read")
    for empty in ([], None, ""):
        assert turns(format_name, row | {media: empty}) == [("user", "q"), ("assistant", "a")]


def test_null_is_as_good_as_absent() -> None:
    # A table has every key in every row.
    turn = {"from": None, "value": None, "name": None, "tool_calls": None, "tool_call_id": None, "function_call": None}
    row = {"messages": [turn | each for each in openai("q", "a")["messages"]], "system": None, "tools": None}
    row |= {"conversations": None}
    assert turns("messages", row) == turns("sharegpt", row) == [("user", "q"), ("assistant", "a")]


def test_a_list_of_turns_kept_as_json_text() -> None:
    row = {"messages": json.dumps(openai("q", "a")["messages"])}
    assert turns("messages", row) == [("user", "q"), ("assistant", "a")]
    assert turns("alpaca", alpaca(history='[["q1", "a1"]]'))[:2] == [("user", "q1"), ("assistant", "a1")]
    assert refused("messages", {"messages": "[1"})[0] == "missing_key"


def test_system_beside_the_messages() -> None:
    row = openai("q", "a") | {"system": "s"}
    assert turns("messages", row)[0] == ("system", "s")
    assert turns("messages", row | {"system": [{"type": "text", "text": "s"}]})[0] == ("system", "s")
    assert refused("messages", row | {"system": 3})[0] == "wrong_type"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"query": "q", "response": "a"}, [("user", "q"), ("assistant", "a")]),
        ({"question": "q", "answer": "a"}, [("user", "q"), ("assistant", "a")]),
        ({"prompt": "q", "response": "a"}, [("user", "q"), ("assistant", "a")]),
        (
            {"query": "q", "response": "a", "history": [["q1", "a1"]], "system": "s"},
            [("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q"), ("assistant", "a")],
        ),
        (
            {"conversation": [{"human": "q", "assistant": "a"}, {"human": "q2", "assistant": "a2"}], "system": "s"},
            [("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "q2"), ("assistant", "a2")],
        ),
        (
            {"conversation": [{"system": "s", "input": "q", "output": "a"}, {"input": "q2", "output": "a2"}]},
            [("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "q2"), ("assistant", "a2")],
        ),
    ],
)
def test_pairs(row: dict[str, Any], expected: Turns) -> None:
    assert turns("pairs", row) == expected
    assert detect_format([row]) == "pairs"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"response": "a"}, "missing_key"),
        ({"query": "q"}, "empty_answer"),
        ({"query": "q", "response": ["a", "b"]}, "wrong_type"),
        ({"query": "q", "response": "a", "history": "x"}, "wrong_type"),
        ({"conversation": []}, "no_turns"),
        ({"conversation": ["q"]}, "wrong_type"),
        ({"conversation": [{"human": "q"}]}, "empty_answer"),
        ({"conversation": [{"assistant": "a"}]}, "missing_key"),
        ({"conversation": [{"input": "q", "output": "a"}, {"system": "s", "input": "q", "output": "a"}]}, "role_order"),
        ({"conversation": [{"input": "q", "output": "a"}], "system": 1}, "wrong_type"),
        ({"conversation": [{"input": "q", "output": "a", "output_with_loss": False}]}, "no_target"),
    ],
)
def test_pairs_refused(row: dict[str, Any], code: str) -> None:
    assert refused("pairs", row)[0] == code


def segments(*labelled: tuple[object, object]) -> dict[str, Any]:
    return {"segments": [{"label": label, "text": text} for label, text in labelled]}


def test_segments() -> None:
    row = segments((False, "q"), (True, "a"), (False, "q2"), (True, "a2"))
    assert turns("segments", row) == [("user", "q"), ("assistant", "a"), ("user", "q2"), ("assistant", "a2")]
    assert detect_format([row]) == "segments"


@pytest.mark.parametrize(
    ("row", "code", "part"),
    [
        (segments((True, "a")), "segments_order", "segments[0] is labelled"),
        (segments((False, "q"), (False, "q"), (True, "a")), "segments_order", "segments[1] is not labelled"),
        (segments((False, "q"), (True, "a"), (True, "b")), "segments_order", "segments[2] is labelled"),
        (segments((False, "q"), (True, "a"), (False, "q")), "segments_order", "nothing to learn after it"),
        (segments((0, "q"), (1, "a")), "wrong_type", "a number for a label"),
        (segments((False, "q"), (True, None)), "missing_key", "segments[1].text"),
        (segments((False, "q"), (True, "")), "empty_answer", "turn 2"),
        (segments(), "no_turns", ""),
        ({"segments": "x"}, "missing_key", "not a list"),
        ({"segments": ["x"]}, "wrong_type", "segments[0] is text"),
    ],
)
def test_segments_refused(row: dict[str, Any], code: str, part: str) -> None:
    found, reason = refused("segments", row)
    assert found == code
    assert part in reason


def test_auto_decides_by_the_keys() -> None:
    assert detect_format([alpaca()]) == "alpaca"
    assert detect_format([openai("q", "a")]) == "messages"
    assert detect_format([{"conversations": []}]) == "sharegpt"
    assert detect_format([{"messages": "no list"}, {"instruction": "q"}, 3, None]) == ""
    # The turns decide where the keys would speak for two.
    assert detect_format([{"conversations": [{"human": "q", "assistant": "a"}]}]) == "pairs"
    assert detect_format([{"conversation": openai("q", "a")["messages"], "question": "q", "answer": "a"}]) == "sharegpt"
    # The majority of the first rows, whatever the first one is.
    assert detect_format([{"x": 1}, openai("q", "a"), alpaca(), alpaca()]) == "alpaca"


def test_auto_names_what_it_saw() -> None:
    with pytest.raises(
        DataError, match=r"^rows\.jsonl: no known format; the first row has the keys \['x', 'y'\]\. Name one"
    ):
        require_format("auto", [3, {"y": "q", "x": "a"}], "rows.jsonl")
    with pytest.raises(DataError, match=r"the first row has the keys \[\]"):
        require_format("auto", [3, "x"], "rows.jsonl")
    assert require_format("sharegpt", [alpaca()], "rows.jsonl") == "sharegpt"


@pytest.mark.parametrize("format_name", ["alpaca", "sharegpt", "messages", "pairs", "segments"])
def test_the_examples_of_the_documentation_are_read(format_name: str) -> None:
    page = Path(__file__).parents[3] / "docs" / "formats" / f"{format_name}.md"
    examples = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        assert detect_format([json.loads(example)]) == format_name
        assert turns(format_name, json.loads(example))[-1][0] == "assistant"


@pytest.mark.parametrize(
    ("value", "format_name"),
    [
        ([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "messages"),
        ([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "messages"),
        ([{"instruction": "q", "input": "", "output": "a"}], "alpaca"),
        ({"input": "q", "output": "a", "type": 3}, "pairs"),
    ],
)
def test_rows_without_a_key_around_them(value: object, format_name: str) -> None:
    assert detect_format([value]) == format_name
    found = parse_example(format_name, value, Shape()).content
    assert found == Conversation((Message("user", "q"), Message("assistant", "a")))


def test_a_list_of_several_objects_is_no_row() -> None:
    with pytest.raises(RowError) as caught:
        parse_example("alpaca", [{"instruction": "q", "output": "a"}] * 2, Shape())
    assert caught.value.code == "not_an_object"
