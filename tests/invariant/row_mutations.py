"""Rows and what may be done to them, with the reason that each change has to get."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple


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
    Mutation(
        "large number beside it", on_text(lambda t: '{"id": 123456789012345678901234567890, ' + t[1:]), "big_number"
    ),
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
    Mutation("deep nesting", on_text(lambda t: '{"x": ' + "[" * 5000 + "]" * 5000 + ", " + t[1:]), "too_deep"),
    Mutation("a mark in the middle of the file", on_text(lambda t: "\ufeff" + t), "not_json"),
    Mutation("GB18030", on_text(lambda t: '{"x": "答案", ' + t[1:], "gb18030"), "not_utf8"),
    Mutation("Latin-1", lambda t: b'{"x": "\xe9", ' + t[1:].encode(), "not_utf8"),
    Mutation("encoded surrogate", lambda t: b'{"x": "\xed\xa0\x80", ' + t[1:].encode(), "not_utf8"),
    Mutation("null byte", on_text(lambda t: t + "\0"), "not_json"),
    Mutation("one row in brackets", on_text(lambda t: f"[{t}]"), None),
    Mutation("two rows in brackets", on_text(lambda t: f"[{t}, {t}]"), "not_an_object"),
    Mutation("a number", on_text(lambda _: "17"), "not_an_object"),
    Mutation("null", on_text(lambda _: "null"), "not_an_object"),
    Mutation("a text", on_text(json.dumps), "not_an_object"),
    Mutation("an empty object", on_text(lambda _: "{}"), "missing_key"),
)
ALPACA = (
    *TEXT_LEVEL,
    Mutation("output twice", on_text(lambda t: '{"output": 3, ' + t[1:]), "duplicate_key"),
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
    Mutation("unknown role", set_key("conversations.1.from", "stranger"), "unknown_role"),
    Mutation("no role", set_key("conversations.0.from", ...), "unknown_role"),
    Mutation("role in capitals", set_key("conversations.1.from", "GPT"), None),
    Mutation("null answer", set_key("conversations.1.value", None), "empty_answer"),
    Mutation("null question", set_key("conversations.0.value", None), "empty_prompt"),
    Mutation("answer first", on_text(lambda t: t.replace('"human"', '"gpt"')), "role_order"),
    Mutation("no answer", set_key("conversations.1", ...), "no_answer"),
    Mutation("no turns", set_key("conversations", []), "no_turns"),
    Mutation("turns as text", set_key("conversations", "q a"), "missing_key"),
    Mutation("turn as text", set_key("conversations.0", "q"), "wrong_type"),
    Mutation("tool call", set_key("conversations.1.tool_calls", [{}]), "bad_tool_call"),
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


UNCLOSED = frozenset({"cut in half", "last bracket gone"})
OVERCLOSED = frozenset({"one bracket more"})
"""In an array these two kinds may complete each other to one long element: no file of ours holds both."""
NOT_IN_ARRAYS = frozenset({"a mark in the middle of the file", "null byte", "a number", "null", "a text"})
"""Behind a broken element reading goes on at the next line with a bracket, and the report says at which."""


def cell(column: str, value: str | bytes) -> Callable[[str], bytes]:
    """A record of two columns with one of its cells replaced, as it stands in the file."""

    def change(record: str) -> bytes:
        cells = [part.encode() for part in record.split(",")]
        cells[["instruction", "output"].index(column)] = value.encode() if isinstance(value, str) else value
        return b",".join(cells)

    return change


CSV = (
    Mutation("nothing", on_text(lambda t: t), None),
    Mutation("all cells quoted", on_text(lambda t: ",".join(f'"{part}"' for part in t.split(","))), None),
    Mutation("carriage return", on_text(lambda t: t + "\r"), None),
    Mutation("one cell more", on_text(lambda t: t + ",x"), "wrong_columns"),
    Mutation("one cell less", on_text(lambda t: t.split(",")[0]), "wrong_columns"),
    Mutation("text behind a quote", on_text(lambda t: '"x"y,' + t), "bad_quotes"),
    Mutation("null byte", on_text(lambda t: t + "\0"), "not_text"),
    Mutation("Latin-1", cell("output", b"\xe9"), "not_utf8"),
    Mutation("encoded surrogate", cell("output", b"\xed\xa0\x80"), "not_utf8"),
    Mutation("empty answer", cell("output", ""), "empty_answer"),
    Mutation("blank answer", cell("output", '" \u3000\n\n "'), "empty_answer"),
    Mutation("empty question", cell("instruction", ""), "empty_prompt"),
)
COLUMNS = (
    Mutation("nothing", on_text(lambda t: t), None),
    Mutation("null output", set_key("output", None), "empty_answer"),
    Mutation("blank output", set_key("output", " \n"), "empty_answer"),
    Mutation("null instruction", set_key("instruction", None), "missing_key"),
    Mutation("empty instruction", set_key("instruction", ""), "empty_prompt"),
    Mutation("null weight", set_key("weight", None), None),
    Mutation("weight below 0", set_key("weight", -1.0), "wrong_type"),
    Mutation("broken history", set_key("history", [["q"]]), "wrong_type"),
    Mutation("null in the history", set_key("history", [["q", None]]), "wrong_type"),
    Mutation("half a letter", lambda t: t.encode().replace(b'"a', b'"\xff', 1), "not_utf8"),
)
"""For Parquet, where every row has the types of its columns; half a letter is put in by `write_parquet`."""
