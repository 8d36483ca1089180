"""JSON files to values: exact lines, and no file that stops the reading of another row."""

import codecs
import contextlib
import gzip
import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import DataError
from tuneloop.data.read.array import read_array
from tuneloop.data.read.files import SourceFile
from tuneloop.data.read.parse import parse_json
from tuneloop.data.read.values import DEFAULT, Found, Limits, RawJson, parse_found, probe, read_values
from tuneloop.data.schema import Origin, Problem, RowError

SMALL = Limits(max_line_bytes=100)


def items(path: Path, limits: Limits = DEFAULT) -> list[tuple[int, object] | Problem]:
    """(line, value) of each value, or its problem."""
    found: list[tuple[int, object] | Problem] = []
    for item in read_values(SourceFile(path, path.name), limits=limits):
        if isinstance(item, Problem):
            assert item.origin.file == path.name
            found.append(item)
            continue
        try:
            found.append((item.line, parse_found(item)))
        except RowError as error:
            found.append(Problem(Origin(path.name, item.line), error.code, error.reason))
    return found


def read(folder: Path, content: bytes | str, name: str = "rows.jsonl", limits: Limits = DEFAULT) -> list:
    """(line, value) of each value, (line, code) of each problem."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return [
        (item.origin.line, item.code) if isinstance(item, Problem) else item for item in items(folder / name, limits)
    ]


def read_json(folder: Path, content: bytes | str, limits: Limits = DEFAULT) -> list:
    """The same of a file that may hold an array or an object."""
    return read(folder, content, "rows.json", limits)


def refusal(folder: Path, content: bytes, name: str = "rows.jsonl") -> str:
    with pytest.raises(DataError) as caught:
        read(folder, content, name)
    return str(caught.value)


def reason(text: bytes, **place: int) -> str:
    with pytest.raises(RowError) as caught:
        parse_json(text, **place)
    return f"{caught.value.code}: {caught.value.reason}"


def test_lines_are_counted_from_one_and_blank_ones_too(tmp_path: Path) -> None:
    content = '{"a":1}\n\n  \n{"a":2}\r\n{"a":3}\n\n{"a":4}'
    assert read(tmp_path, content) == [(1, {"a": 1}), (4, {"a": 2}), (5, {"a": 3}), (7, {"a": 4})]


def test_every_kind_of_line_end_in_one_file(tmp_path: Path) -> None:
    assert read(tmp_path, '{"a":1}\r{"a":2}\r\n{"a":3}\n\r\n{"a":4}\r') == [
        (1, {"a": 1}),
        (2, {"a": 2}),
        (3, {"a": 3}),
        (5, {"a": 4}),
    ]


def test_parsing_of_lines_and_elements_is_put_off(tmp_path: Path) -> None:
    for name, content in (("a.jsonl", '{"a":1}\n'), ("a.json", '[{"a":1}]')):
        (tmp_path / name).write_text(content)
        (found,) = read_values(SourceFile(tmp_path / name, name))
        assert isinstance(found, Found)
        assert isinstance(found.value, RawJson)


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
    if not body.lstrip().startswith("["):
        assert read(tmp_path, codecs.BOM_UTF8 + body.encode()) == plain


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("body", ['{"a": "é"}\n', '[{"a": "é"}]'])
def test_other_unicode_is_refused_by_name(tmp_path: Path, bits: int, order: str, body: str) -> None:
    bom = getattr(codecs, f"BOM_UTF{bits}_{order.upper()}")
    encoded = body.encode(f"utf-{bits}-{order}")
    said = refusal(tmp_path, bom + encoded)
    assert said == f"rows.jsonl: is UTF-{bits}. Save it as UTF-8: iconv -f UTF-{bits} -t UTF-8 rows.jsonl"
    named = f"UTF-{bits}{order.upper()}"
    assert (
        refusal(tmp_path, encoded) == f"rows.jsonl: is {named}. Save it as UTF-8: iconv -f {named} -t UTF-8 rows.jsonl"
    )


def test_gb18030_in_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":1}\n' + '{"a":"答案"}\n'.encode("gb18030") + b'{"a":3}\n')
    first, second, third = items(path)
    assert (first, third) == ((1, {"a": 1}), (3, {"a": 3}))
    assert str(second) == (
        "rows.jsonl:2: not UTF-8: byte 0xb4 at column 7 (it reads as GB18030: convert the file with iconv -f GB18030 "
        "-t UTF-8) [not_utf8]"
    )


def test_gb18030_in_an_array_costs_its_own_element_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes('[\n{"a": "x"},\n{"b":1,\n "a": "答案"}\n,{"a": 3}]'.encode("gb18030"))
    first, second, third = items(path)
    assert (first, third) == ((2, {"a": "x"}), (5, {"a": 3}))
    assert str(second).startswith("rows.json:3: not UTF-8: byte 0xb4 at line 4, column 8 (it reads as GB18030")


def test_one_accent_of_a_western_code_page_is_no_chinese() -> None:
    for text in ('{"a": "café"}', '{"a": "Müller"}'):
        assert "(it reads as WINDOWS-1252: convert" in reason(text.encode("latin-1"))
    assert reason(b'{"a": "\x81"}').endswith("byte 0x81 at column 8")


def test_a_file_cut_in_the_middle_of_a_character(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"a":1}\n{"a":"語'.encode()[:-1])
    assert str(items(path)[1]) == (
        "rows.jsonl:2: not UTF-8: byte 0xe8 at column 7 (cut off in the middle of a character) [not_utf8]"
    )


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ('{"a": 1', "not_json"),
        ('{"a": 1}}', "not_json"),
        ("{'a': 1}", "not_json"),
        ('{"a": 1} {"a": 2}', "not_json"),
        ('{"a": 1},', "not_json"),
        ('{"a": 1,}', "not_json"),
        ('{"a": NaN}', "not_json"),
        ('{"a": Infinity}', "not_json"),
        ('{"a": -Infinity}', "not_json"),
        ('{"a": 1e999}', "not_json"),
        ('{"a": 01}', "not_json"),
        ('{"a": "\t"}', "not_json"),
        ('{"a": "\\ud800"}', "not_json"),
        ('{"a": "\\x41"}', "not_json"),
        ("nonsense", "not_json"),
        ("\x00", "not_json"),
        ('{"a": "\x00"}', "not_json"),
        (f'{{"a": {"9" * 5000}}}', "not_json"),
        (f'{{"a": {"9" * 30}}}', "big_number"),
        (f'{{"a": [{1 << 64}]}}', "big_number"),
        (f'{{"a": {-(1 << 63) - 1}}}', "big_number"),
        (f"{1 << 64}", "big_number"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "too_deep"),
        ("[" * 255 + "]" * 255, "too_deep"),
        ('{"a": 1, "a": 2}', "duplicate_key"),
        ('{"b": [{"a": "x", "\\u0061": "y"}]}', "duplicate_key"),
    ],
    ids=lambda text: text[:20],
)
def test_a_broken_line_is_counted_and_the_rest_is_read(tmp_path: Path, broken: str, code: str) -> None:
    content = f'{{"a":1}}\n{broken}\n{{"a":3}}\n'
    assert read(tmp_path, content) == [(1, {"a": 1}), (2, code), (3, {"a": 3})]
    assert read_json(tmp_path, f'[{{"a":1}},\n{broken}\n,{{"a":3}}]')[0] == (1, {"a": 1})


@pytest.mark.parametrize("value", [(1 << 64) - 1, -(1 << 63), 1e300, 1e19, "9" * 30, {"a": "1" * 30, "b": 2.0**70}])
def test_numbers_that_fit_are_exact(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value


def test_deepest_row_can_be_written_again() -> None:
    assert orjson.dumps(parse_json(b"[" * 254 + b"]" * 254))


def test_a_cut_last_line(tmp_path: Path) -> None:
    assert read(tmp_path, '{"a":1}\n{"a":') == [(1, {"a": 1}), (2, "not_json")]


def test_the_place_of_an_error_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('[{"a": 1}, {"a": xyz},\n  {"a": 1,\n   "b": xyz}]')
    assert [str(item) for item in items(tmp_path / "rows.json")[1:]] == [
        "rows.json:1: not JSON: unexpected character, expected a JSON value at column 18 [not_json]",
        "rows.json:2: not JSON: unexpected character, expected a JSON value at line 3, column 9 [not_json]",
    ]
    assert "at column 8" in reason(b'{"a": 1\n', line=5)
    assert "at line 5" not in reason(b'{"a": 1\n', line=5)


class Members(list):
    """The members of an object, where a key may come twice."""


keys = st.sampled_from(["a", "b", '"', '\\"', "\\", "", '\\u0022"', "é"])
values = st.recursive(
    st.none() | st.integers(-3, 3) | st.text('a"\\{}:,', max_size=4) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(keys, inner), max_size=3).map(Members),
    max_leaves=8,
)


def write_members(value: object, *, escape: bool) -> str:
    if isinstance(value, Members):
        return (
            "{"
            + ", ".join(f"{write_members(k, escape=escape)}: {write_members(v, escape=escape)}" for k, v in value)
            + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(write_members(item, escape=escape) for item in value) + "]"
    text = json.dumps(value)
    return text.replace('\\"', "\\u0022") if escape and isinstance(value, str) and "\\\\" not in text else text


def has_double(value: object) -> bool:
    if isinstance(value, Members):
        names = [key for key, _ in value]
        return len(set(names)) < len(names) or any(has_double(inner) for _, inner in value)
    return isinstance(value, list) and any(has_double(inner) for inner in value)


@pytest.mark.slow
@given(value=values, escape=st.booleans())
@settings(max_examples=600, deadline=None)
def test_a_doubled_key_is_found_if_and_only_if_there_is_one(value: object, *, escape: bool) -> None:
    text = write_members(value, escape=escape).encode()
    if has_double(value):
        assert reason(text).startswith("duplicate_key: the key ")
    else:
        assert parse_json(text) == json.loads(text)


@pytest.mark.slow
@given(
    value=st.lists(values, max_size=6),
    indent=st.sampled_from([None, 0, 2]),
    step=st.integers(1, 40),
    begin=st.sampled_from(["", "\n", " \r\n "]),
)
@settings(max_examples=300, deadline=None)
def test_borders_do_not_depend_on_where_chunks_end(value: list, indent: int | None, step: int, begin: str) -> None:
    plain = json.loads(write_members(value, escape=False))
    raw = (begin + json.dumps(plain, indent=indent)).encode()
    chunks = iter([raw[at : at + step] for at in range(0, len(raw), step)])
    found = list(read_array(chunks, "x", DEFAULT))
    assert [parse_found(item) for item in found] == plain
    for item in found:
        first = item.value.text.partition(b"\n")[0]
        line = raw.split(b"\n")[item.line - 1]
        assert line[item.value.column - 1 :].startswith(first)


@given(raw=st.binary(max_size=60) | st.text('[]{}",:\\ \n1a', max_size=60).map(str.encode), step=st.integers(1, 20))
@settings(max_examples=500, deadline=None)
def test_no_bytes_at_all_make_the_array_reader_fail(raw: bytes, step: int) -> None:
    text = b"[" + raw
    for item in read_array(iter([text[at : at + step] for at in range(0, len(text), step)]), "x", SMALL):
        if isinstance(item, Found):
            with contextlib.suppress(RowError):
                parse_found(item)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"a":1},\n{"a":2}', [(1, {"a": 1}), (2, {"a": 2}), (2, "not_json")]),
        ('[{"a":1},\n', [(1, {"a": 1}), (1, "not_json")]),
        ('[{"a":1},\n{"a":', [(1, {"a": 1}), (2, "not_json")]),
        ('[{"a":1},\n{"a":"x', [(1, {"a": 1}), (2, "not_json")]),
        ("[", [(1, "not_json")]),
        ("[1, 23", [(1, 1), (1, "not_json")]),
        ('[{"a":1},\n{"a": NaN}, {"a": 3}]', [(1, {"a": 1}), (2, "not_json"), (2, {"a": 3})]),
        ('[{"a":1},\n{"a": -Infinity}]', [(1, {"a": 1}), (2, "not_json")]),
        ('[{"a":1},\nnonsense]', [(1, {"a": 1}), (2, "not_json")]),
        ('[{"a":1} {"a":2},{"a":3}]', [(1, "not_json"), (1, {"a": 3})]),
        ('[{"a":1},]', [(1, {"a": 1})]),
        (f'[{{"a":1}},\n{"[" * 100_000}]', [(1, {"a": 1}), (2, "not_json")]),
        ("[" * 100_000, [(1, "not_json")]),
        ("[" * 100_000 + "]" * 100_000, [(1, "too_deep")]),
        (f'[{{"a":1}}, {"9" * 10_000}]', [(1, {"a": 1}), (1, "not_json")]),
        # A broken element costs itself where lines show the next one.
        ('[\n{"a": "x},\n{"a": 2}\n]', [(2, "not_json"), (3, {"a": 2})]),
        ('[\n{"a": {"b": 1},\n{"a": 2},\n{"a": 3}\n]', [(2, "not_json"), (3, {"a": 2}), (4, {"a": 3})]),
        ('[\n  {\n    "a": "x\n    y",\n    "b": {\n}  },\n  {"a": 2}]', [(2, "not_json"), (7, {"a": 2})]),
        ('[{"a": "x}, {"a": 2}]', [(1, "not_json")]),
        ('[{"a": 1}}, {"a": 2}]', [(1, "not_json")]),
    ],
    ids=range(20),
)
def test_a_broken_array_says_where_it_breaks(tmp_path: Path, content: str, expected: list) -> None:
    assert read_json(tmp_path, content) == expected


@pytest.mark.parametrize("rest", ['[{"a": 2}]', '{"a": 2}', "nonsense"])
def test_what_stands_after_the_array_is_not_lost(tmp_path: Path, rest: str) -> None:
    assert read_json(tmp_path, f'[{{"a": 1}}]\n{rest}\n') == [(1, {"a": 1}), (2, "not_json")]


def test_lines_that_begin_with_a_bracket_are_no_array(tmp_path: Path) -> None:
    """The name says what the file is: a broken first line does not make the others disappear."""
    content = '[{"a":0}\n{"a":1}\n[{"a":2}]\n'
    assert read(tmp_path, content) == [(1, "not_json"), (2, {"a": 1}), (3, [{"a": 2}])]
    assert read(tmp_path, content, "rows.JSONL") == read(tmp_path, content)


@pytest.mark.parametrize("content", ['[{"a": 1}, {"a": 2}]', '[\n {"a": 1},\n {"a": 2}\n]\n', '[{"a": 1},\n{"a": 2}]'])
def test_an_array_in_a_file_called_jsonl(tmp_path: Path, content: str) -> None:
    assert [value for _, value in read(tmp_path, content)] == [{"a": 1}, {"a": 2}]
    assert [value for _, value in read(tmp_path, gzip.compress(content.encode()))] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.txt", "rows.parquet", "rows.arrow"])
@pytest.mark.parametrize("content", [b"", b"\n", b" \t\r\n\n", codecs.BOM_UTF8, codecs.BOM_UTF8 + b"\n"])
def test_empty_file(tmp_path: Path, name: str, content: bytes) -> None:
    said = refusal(tmp_path, content, name)
    assert said == f"{name}: has no rows." or (content and name.endswith(("parquet", "arrow")))


def test_an_empty_file_in_gzip(tmp_path: Path) -> None:
    assert refusal(tmp_path, gzip.compress(b"", mtime=0)) == "rows.jsonl: has no rows."


def test_empty_array_has_no_rows_and_no_problem(tmp_path: Path) -> None:
    assert read_json(tmp_path, "[ ]\n") == []


@pytest.mark.slow
def test_rows_after_many_blank_lines(tmp_path: Path) -> None:
    for blank in (5000, 2_000_000):
        assert read(tmp_path, "\n" * blank + '{"a":1}\n') == [(blank + 1, {"a": 1})]
        assert read_json(tmp_path, "\n" * blank + '[{"a":1}]\n') == [(blank + 1, {"a": 1})]


def test_a_line_that_is_too_long(tmp_path: Path) -> None:
    fits = json.dumps({"a": "x" * 90})
    assert len(fits) == 99
    lines = ['{"a":1}', json.dumps({"a": "y" * 1000}), '{"a":3}', json.dumps({"a": "z" * 92}), '{"a":5}', fits]
    expected = [(1, {"a": 1}), (2, "line_too_long"), (3, {"a": 3}), (4, "line_too_long"), (5, {"a": 5})]
    assert read(tmp_path, "\n".join(lines), limits=SMALL) == [*expected, (6, json.loads(fits))]
    assert read(tmp_path, "\n".join(lines[:2]), limits=SMALL) == expected[:2]
    assert read_json(tmp_path, "[" + ",\n".join(lines) + "]", SMALL)[:3] == expected[:3]


def test_two_readings_say_the_same(tmp_path: Path) -> None:
    content = '{"a":1}\n{"a"\n\n{"a":"語"}\n'
    assert read(tmp_path, content) == read(tmp_path, content)


def test_json_file_that_holds_lines(tmp_path: Path) -> None:
    lines = [(1, {"a": 1}), (2, "not_json"), (3, {"a": 3})]
    assert read_json(tmp_path, '{"a":1}\n{"a":\n{"a":3}\n') == lines
    for first in ('{"a":1,}', '{"a":', "nonsense"):
        assert read_json(tmp_path, first + '\n{"a":2}\n{"a":3}\n') == [(1, "not_json"), (2, {"a": 2}), (3, {"a": 3})]


@pytest.mark.parametrize("indent", [None, 1])
def test_rows_under_one_key(tmp_path: Path, indent: int | None) -> None:
    rows = [{"a": 1, "b": ["]"]}, {"a": 2}]
    for content in ({"data": rows}, {"version": "1", "data": rows, "count": 2}):
        assert [value for _, value in read_json(tmp_path, json.dumps(content, indent=indent))] == rows
    assert read_json(tmp_path, '{\n"version": 1,\n"data": [\n{"a": 1},\n{"a": xyz}\n]}') == [
        (4, {"a": 1}),
        (5, "not_json"),
    ]


def test_rows_each_under_its_own_key(tmp_path: Path) -> None:
    content = '{\n "7": {"a": 1},\n "8":\n  {"a": 2, "id": "x"},\n "9": {"a": 3, "a": 4},\n "7": {"a": 5}\n}'
    assert read_json(tmp_path, content) == [
        (2, {"id": "7", "a": 1}),
        (4, {"a": 2, "id": "x"}),
        (5, "duplicate_key"),
        (6, {"id": "7", "a": 5}),
    ]


def test_an_object_that_is_a_row_itself(tmp_path: Path) -> None:
    for row in ({"messages": [{"role": "user", "content": "x"}]}, {"a": 1}, {}, {"a": [1]}, {"k": "v", "l": {}}):
        assert [value for _, value in read_json(tmp_path, json.dumps(row, indent=1))] == [row]


def test_a_cut_object_keeps_the_rows_before_the_cut(tmp_path: Path) -> None:
    assert read_json(tmp_path, '{"data": [\n{"a": 1},\n{"a": 2},\n{"a"') == [
        (2, {"a": 1}),
        (3, {"a": 2}),
        (4, "not_json"),
    ]
    assert read_json(tmp_path, '{\n"7": {"a": 1},\n"8": {"a": 2},\n"9": {"a"') == [
        (2, {"id": "7", "a": 1}),
        (3, {"id": "8", "a": 2}),
        (4, "not_json"),
    ]
    assert read_json(tmp_path, '{\n"a": 1, "b') == [(2, "not_json")]


def test_objects_that_are_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, b'{"train": [{"a": 1}],\n "test": [{"a": 2}]}', "rows.json")
    assert said == "rows.json: holds rows under several names: train, test. Save each as a file of its own."
    with pytest.raises(DataError, match="is one JSON object of more than"):
        read_json(tmp_path, json.dumps({"data": [{"a": 1}] * 50}, indent=1), Limits(max_object_bytes=100))


@pytest.mark.parametrize(
    ("name", "content", "container"),
    [
        ("a.jsonl", b'{"a":1}', "jsonl"),
        ("a.json", b'{"a":1}\n{"a":2}', "jsonl"),
        ("a.json", b"[1]", "json"),
        ("a.json", b'{"data": []}', "json"),
        ("data", b"[1]", "json"),
        ("a.csv", b"a,b\n", "csv"),
        ("a.TSV", b"a\tb\n", "tsv"),
        ("a.txt", b"[1]", "text"),
        ("a.jsonl.gz", gzip.compress(b'{"a":1}', mtime=0), "jsonl"),
        ("packed-without-its-ending.jsonl", gzip.compress(b'{"a":1}', mtime=0), "jsonl"),
    ],
)
def test_container_by_name_and_first_bytes(tmp_path: Path, name: str, content: bytes, container: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert probe(SourceFile(tmp_path / name, name)) == container


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"PK\x03\x04xx", "a ZIP archive"), (b"%PDF-1.7", "a PDF"), (b"hello", "of no known kind"), (b"BZh9", "bzip2")],
)
def test_files_that_hold_no_rows(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refusal(tmp_path, content, "rows.data")


@pytest.mark.slow
@pytest.mark.shared
def test_real_files_lose_nothing(shared: Path) -> None:
    """Every JSON file of the collection, against a reader that holds it whole."""
    for path in sorted(shared.rglob("*.json")):
        raw = path.read_bytes()
        found = items(path)
        try:
            whole = json.loads(raw)
        except json.JSONDecodeError:
            assert found == [(number, json.loads(line)) for number, line in enumerate(raw.splitlines(), 1) if line]
            continue
        if isinstance(whole, list):
            assert [value for _, value in found] == whole, path
        elif path.name == "ori_pqal.json":
            assert [value for _, value in found] == [{"id": key} | value for key, value in whole.items()]
        lines = raw.splitlines()
        assert all(lines[line - 1].strip() for line, _ in found)
