"""Files to objects: exact lines, and no file that stops the reading of another row."""

import codecs
import json
from pathlib import Path

import pytest

from tuneloop.core.errors import DataError
from tuneloop.data import sources
from tuneloop.data.schema import Origin, Problem
from tuneloop.data.sources import read_objects


def read(folder: Path, content: bytes | str, name: str = "rows.jsonl") -> list[tuple[int, object]]:
    """(line, value) of each object, (line, code) of each problem."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = []
    for item in read_objects(folder / name, name=name):
        if isinstance(item, Problem):
            assert item.origin.file == name
            found.append((item.origin.line, item.code))
        else:
            assert item[0].file == name
            found.append((item[0].line, item[1]))
    return found


def read_json(folder: Path, content: bytes | str) -> list[tuple[int, object]]:
    """The same of a file that may hold an array."""
    return read(folder, content, "rows.json")


def refusal(folder: Path, content: bytes, name: str = "rows.jsonl") -> str:
    with pytest.raises(DataError) as caught:
        read(folder, content, name)
    return str(caught.value)


def test_lines_are_counted_from_one_and_blank_ones_too(tmp_path: Path) -> None:
    content = '{"a":1}\n\n  \n{"a":2}\r\n{"a":3}\n\n{"a":4}'
    assert read(tmp_path, content) == [(1, {"a": 1}), (4, {"a": 2}), (5, {"a": 3}), (7, {"a": 4})]


def test_array_elements_stand_on_the_line_on_which_they_begin(tmp_path: Path) -> None:
    content = '[\n  {"a": 1}, {"a": 2},\n\n  {\n    "a": 3\n  }\n,\n{"a": "x\\ny"}, {"a": 5}\n]\n'
    assert read_json(tmp_path, content) == [
        (2, {"a": 1}),
        (2, {"a": 2}),
        (4, {"a": 3}),
        (8, {"a": "x\ny"}),
        (8, {"a": 5}),
    ]


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_array_is_what_json_reads(tmp_path: Path, indent: int | None) -> None:
    values = [{"a": "語\u2028 \t"}, [1, [2]], "text", 3.5, None, True, {"b": {"c": []}}]
    content = json.dumps(values, indent=indent, ensure_ascii=False)
    assert [value for _, value in read_json(tmp_path, content)] == values


@pytest.mark.parametrize("body", ['{"a":1}\n', '[{"a":1}]', '\n\n[{"a":1}]', ' {"a":1}'])
def test_byte_order_mark_of_utf8(tmp_path: Path, body: str) -> None:
    plain = read_json(tmp_path, body)
    assert [value for _, value in plain] == [{"a": 1}]
    assert read_json(tmp_path, codecs.BOM_UTF8 + body.encode()) == plain


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("utf-16", "UTF-16"), ("utf-32", "UTF-32")],
)
@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("body", ['{"a": "é"}\n', '[{"a": "é"}]'])
def test_other_unicode_is_refused_by_name(tmp_path: Path, encoding: str, name: str, order: str, body: str) -> None:
    bom = getattr(codecs, f"BOM_{name.replace('-', '')}_{order.upper()}")
    said = refusal(tmp_path, bom + body.encode(f"{encoding}-{order}"))
    assert said == f"rows.jsonl: is {name}. Save it as UTF-8: iconv -f {name} -t UTF-8 rows.jsonl"


def test_utf16_without_a_mark_gives_problems_only(tmp_path: Path) -> None:
    assert {code for _, code in read(tmp_path, '{"a": 1}\n{"a": 2}\n'.encode("utf-16-le"))} == {"not_json"}


def test_gb18030_in_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":1}\n' + '{"a":"答案"}\n'.encode("gb18030") + b'{"a":3}\n')
    first, second, third = read_objects(path, name="rows.jsonl")
    assert (first, third) == ((Origin("rows.jsonl", 1), {"a": 1}), (Origin("rows.jsonl", 3), {"a": 3}))
    assert str(second) == (
        "rows.jsonl:2: not UTF-8: byte 0xb4 at column 7 (it reads as GB18030: convert the file with iconv -f GB18030 "
        "-t UTF-8) [not_utf8]"
    )


def test_gb18030_in_an_array(tmp_path: Path) -> None:
    said = refusal(tmp_path, '[\n{"a": "x"},\n{"a": "答案"}\n]'.encode("gb18030"), "rows.json")
    assert said.startswith("rows.json:3: not UTF-8: byte 0xb4 (it reads as GB18030")


def test_other_bytes_get_no_guess(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"a": "café"}\n'.encode("latin-1"))
    (problem,) = read_objects(path, name="rows.jsonl")
    assert str(problem) == "rows.jsonl:1: not UTF-8: byte 0xe9 at column 11 [not_utf8]"


@pytest.mark.parametrize(
    "broken",
    [
        '{"a": 1',
        '{"a": 1}}',
        "{'a': 1}",
        '{"a": 1} {"a": 2}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": 01}',
        '{"a": "\t"}',
        '{"a": "\\ud800"}',
        '{"a": "\\x41"}',
        "nonsense",
        '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "\x00",
    ],
    ids=lambda text: text[:20],
)
def test_a_broken_line_is_counted_and_the_rest_is_read(tmp_path: Path, broken: str) -> None:
    content = f'{{"a":1}}\n{broken}\n{{"a":3}}\n'
    assert read(tmp_path, content) == [(1, {"a": 1}), (2, "not_json"), (3, {"a": 3})]


def test_a_cut_last_line(tmp_path: Path) -> None:
    assert read(tmp_path, '{"a":1}\n{"a":') == [(1, {"a": 1}), (2, "not_json")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"a":1},\n{"a":2}', [(1, {"a": 1}), (2, {"a": 2}), (2, "not_json")]),
        ('[{"a":1},\n', [(1, {"a": 1}), (1, "not_json")]),
        ('[{"a":1},\n{"a":', [(1, {"a": 1}), (2, "not_json")]),
        ('[{"a":1},\n{"a":"x', [(1, {"a": 1}), (2, "not_json")]),
        ("[", [(1, "not_json")]),
        ('[{"a":1},\n{"a": NaN}, {"a": 3}]', [(1, {"a": 1}), (2, "not_json")]),
        ('[{"a":1},\n{"a": -Infinity}]', [(1, {"a": 1}), (2, "not_json")]),
        ('[{"a":1},\nnonsense]', [(1, {"a": 1}), (2, "not_json")]),
        (f'[{{"a":1}},\n{"[" * 100_000}]', [(1, {"a": 1}), (2, "not_json")]),
        ("[" * 100_000, [(1, "not_json")]),
        ("[" * 100_000 + "]" * 100_000, [(1, "not_json")]),
        (f'[{{"a":1}}, {"9" * 10_000}]', [(1, {"a": 1}), (1, "not_json")]),
    ],
    ids=range(12),
)
def test_a_broken_array_says_where_it_ends(tmp_path: Path, content: str, expected: list[tuple[int, object]]) -> None:
    assert read_json(tmp_path, content) == expected


@pytest.mark.parametrize("rest", ['[{"a": 2}]', '{"a": 2}', "nonsense"])
def test_what_stands_after_the_array_is_not_lost(tmp_path: Path, rest: str) -> None:
    found = read_json(tmp_path, f'[{{"a": 1}}]\n{rest}\n')
    assert found[0] == (1, {"a": 1})
    assert [line for line, _ in found[1:]] == [2]


def test_lines_that_begin_with_a_bracket_are_no_array(tmp_path: Path) -> None:
    """The name says what the file is: a broken first line does not make the others disappear."""
    content = '[{"a":0}\n{"a":1}\n[{"a":2}]\n'
    assert read(tmp_path, content) == [(1, "not_json"), (2, {"a": 1}), (3, [{"a": 2}])]
    assert read(tmp_path, content, "rows.JSONL") == read(tmp_path, content)


@pytest.mark.parametrize("content", [b"", b"\n", b" \t\r\n\n", codecs.BOM_UTF8, codecs.BOM_UTF8 + b"\n"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    assert refusal(tmp_path, content) == "rows.jsonl: has no rows."


def test_empty_array_has_no_rows_and_no_problem(tmp_path: Path) -> None:
    assert read_json(tmp_path, "[ ]\n") == []


def test_rows_after_many_blank_lines(tmp_path: Path) -> None:
    assert read(tmp_path, "\n" * 5000 + '{"a":1}\n') == [(5001, {"a": 1})]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.jsonl: cannot be read: No such file"):
        list(read_objects(tmp_path / "nothing.jsonl", name="nothing.jsonl"))
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        list(read_objects(tmp_path, name="folder"))


def test_a_line_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 100)
    fits = json.dumps({"a": "x" * 91})
    assert len(fits) == 100
    lines = ['{"a":1}', json.dumps({"a": "y" * 1000}), '{"a":3}', json.dumps({"a": "z" * 92}), '{"a":5}']
    expected = [(1, {"a": 1}), (2, "line_too_long"), (3, {"a": 3}), (4, "line_too_long"), (5, {"a": 5})]
    assert read(tmp_path, "\n".join(lines)) == expected
    assert read(tmp_path, "\n".join(lines[:2])) == expected[:2]
    assert read(tmp_path, fits) == [(1, json.loads(fits))]


def test_two_readings_say_the_same(tmp_path: Path) -> None:
    content = '{"a":1}\n{"a"\n\n{"a":"語"}\n'
    assert read(tmp_path, content) == read(tmp_path, content)


@pytest.mark.parametrize("content", ['[{"a": 1}, {"a": 2}]', '[\n {"a": 1},\n {"a": 2}\n]\n', '[{"a": 1},\n{"a": 2}]'])
def test_an_array_in_a_file_called_jsonl(tmp_path: Path, content: str) -> None:
    assert [value for _, value in read(tmp_path, content)] == [{"a": 1}, {"a": 2}]
