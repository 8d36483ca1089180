"""Tables, text, columns and packed files: every row in its place, damage only where it is."""

import contextlib
import csv
import gzip
import io
import json
import os
import struct
import sys
import types
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import DataError, MissingError
from tuneloop.core.store import hash_file
from tuneloop.data.read.files import SourceFile
from tuneloop.data.read.fingerprint import hash_source
from tuneloop.data.read.hub import read_hub
from tuneloop.data.read.table import read_table
from tuneloop.data.read.values import DEFAULT, Found, Limits, parse_found, probe, read_values
from tuneloop.data.schema import Problem

PACK = {"gz": gzip.compress, "zst": zstandard.compress}


def read(path: Path, limits: Limits = DEFAULT) -> list:
    """(line, value) of each value, (line, code) of each problem."""
    return [
        (item.origin.line, item.code) if isinstance(item, Problem) else (item.line, parse_found(item))
        for item in read_values(SourceFile(path, path.name), limits=limits)
    ]


def save(folder: Path, name: str, content: bytes | str) -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def table(folder: Path, content: bytes | str, name: str = "rows.csv", limits: Limits = DEFAULT) -> list:
    return read(save(folder, name, content), limits)


# Packed files


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_packed_files_are_read_like_plain_ones(tmp_path: Path, kind: str) -> None:
    contents = {
        "a.jsonl": '{"a":1}\n\n{"a":2}',
        "a.json": '[{"a":1},\n{"a":2}]',
        "a.csv": "x,y\n1,2\n",
        "a.tsv": "x\ty\n1\t2\n",
        "a.txt": "one\n\ntwo\n",
    }
    for name, content in contents.items():
        plain = read(save(tmp_path, name, content))
        assert len(plain) in (1, 2)
        assert read(save(tmp_path, f"{name}.{kind}", PACK[kind](content.encode()))) == plain
        members = PACK[kind](content[:5].encode()) + PACK[kind](content[5:].encode())
        assert read(save(tmp_path, f"two-{name}.{kind}", members)) == plain


@pytest.mark.parametrize("kind", ["gz", "zst"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_a_cut_packed_file_gives_the_rows_before_the_cut(tmp_path: Path, kind: str, name: str) -> None:
    rows = [{"number": number, "noise": os.urandom(40).hex()} for number in range(20_000)]
    content = "\n".join(map(json.dumps, rows)) if name.endswith("jsonl") else json.dumps(rows, indent=1)
    packed = PACK[kind](content.encode())
    found = read(save(tmp_path, f"{name}.{kind}", packed[: len(packed) // 2]))
    *values, (line, code) = found
    assert code == "truncated"
    assert 5000 < len(values) < 15_000
    assert [value for _, value in values] == rows[: len(values)]
    assert line == values[-1][0] + (1 if name.endswith("jsonl") else 4)


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_every_cut_of_a_small_packed_file_is_told(tmp_path: Path, kind: str) -> None:
    packed = PACK[kind](b'{"a":1}\n{"a":2}\n')
    for size in range(5, len(packed)):
        found = read(save(tmp_path, f"rows.jsonl.{kind}", packed[:size]))
        assert found[-1][1] == "truncated"
        assert found[:-1] == [(1, {"a": 1}), (2, {"a": 2})][: len(found) - 1]


def test_damage_inside_and_behind_a_packed_file(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"a":1}\n')
    bad_sum = packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:]
    assert read(save(tmp_path, "a.jsonl.gz", bad_sum)) == [(1, {"a": 1}), (2, "damaged")]
    assert read(save(tmp_path, "a.jsonl.gz", packed + b"\0" * 512)) == [(1, {"a": 1})]
    assert read(save(tmp_path, "a.jsonl.gz", packed + b"rest")) == [(1, {"a": 1}), (2, "damaged")]


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_bomb_is_stopped(tmp_path: Path, kind: str) -> None:
    bomb = PACK[kind](b'{"a":1}\n' + b" " * (1 << 25))
    limits = Limits(max_line_bytes=1 << 20, free_expansion_bytes=1 << 22, max_expansion=500)
    assert read(save(tmp_path, f"rows.jsonl.{kind}", bomb), limits)[-1][1] == "too_expanded"
    assert read(save(tmp_path, f"rows.jsonl.{kind}", bomb), Limits(max_line_bytes=1 << 20))[-1] == (2, "line_too_long")


def test_columns_that_were_packed_again_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Unpack it"):
        read(save(tmp_path, "a.parquet.gz", gzip.compress(b"PAR1xxxx")))


# Tables


def test_records_stand_on_the_line_on_which_they_begin(tmp_path: Path) -> None:
    content = 'q,a\r\n1,"x\ny"\n\n"2, ""b""",[1]\r3,\n4," "'
    assert table(tmp_path, content) == [
        (2, {"q": "1", "a": "x\ny"}),
        (5, {"q": '2, "b"', "a": "[1]"}),
        (6, {"q": "3", "a": ""}),
        (7, {"q": "4", "a": " "}),
    ]


def test_tabs(tmp_path: Path) -> None:
    assert table(tmp_path, 'q\ta\n1,5\t"x\ty"\n', "rows.tsv") == [(2, {"q": "1,5", "a": "x\ty"})]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"1", "wrong_columns"),
        (b"1,2,3", "wrong_columns"),
        (b'1,"2"3', "bad_quotes"),
        ('1,"caf\xe9"'.encode("latin-1"), "not_utf8"),
        ("1,答案".encode("gb18030"), "not_utf8"),
        (b"1,\0", "not_text"),
        (b"1," + b"x" * 200, "line_too_long"),
        (b'1,"open', "open_quote"),
    ],
)
def test_a_bad_record_costs_itself_alone(tmp_path: Path, bad: bytes, code: str) -> None:
    found = table(tmp_path, b"q,a\n1,2\n" + bad + b"\n3,4\n5,6\n", limits=Limits(max_line_bytes=100))
    assert found == [(2, {"q": "1", "a": "2"}), (3, code), (4, {"q": "3", "a": "4"}), (5, {"q": "5", "a": "6"})]


def test_a_cell_longer_than_the_csv_modules_own_limit(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = "x" * (before + 1)
    assert table(tmp_path, f"q,a\n1,{long}\n") == [(2, {"q": "1", "a": long})]
    assert csv.field_size_limit() == before


def test_an_open_quote_does_not_swallow_more_than_the_limit(tmp_path: Path) -> None:
    content = 'q,a\n1,"open\n' + "3,4\n" * 100
    found = table(tmp_path, content, limits=Limits(max_line_bytes=100))
    assert found == [(2, "open_quote"), *((line, {"q": "3", "a": "4"}) for line in range(3, 103))]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b,a\n1,2,3\n", "names the column 'a' twice"),
        (b"a;b\n1;2\n", "parted by ';'"),
        (b"caf\xe9,b\n1,2\n", "rows.csv:1: the header cannot be read: not UTF-8"),
        (b'"a,b\n1,2\n', "rows.csv:1: the header cannot be read"),
    ],
)
def test_headers_that_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        table(tmp_path, content)
    assert said in str(caught.value)


def test_headers(tmp_path: Path) -> None:
    assert table(tmp_path, "q,a\n") == []
    assert table(tmp_path, b"\xef\xbb\xbf\nq , a,\n1,2,3\n") == [(3, {"q": "1", "a": "2", "column_3": "3"})]


cells = st.text('ab,"\n\r \tñ', max_size=6)


@given(
    rows=st.lists(st.tuples(cells, cells), max_size=6),
    step=st.integers(1, 9),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
@settings(max_examples=200, deadline=None)
def test_what_csv_writes_is_read(rows: list, step: int, end: str) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(("q", "w"))
    writer.writerows(rows)
    raw = file.getvalue().encode()
    chunks = (raw[at : at + step] for at in range(0, len(raw), step))
    found = list(read_table(chunks, "x", DEFAULT, delimiter=","))
    assert [tuple(item.value.values()) for item in found] == rows


@given(raw=st.binary(max_size=80) | st.text('a,"\n\r', max_size=80).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_no_bytes_at_all_make_the_table_reader_fail(raw: bytes) -> None:
    found = list(read_table(iter([b"a,b\n" + raw]), "x", Limits(max_line_bytes=20), delimiter=","))
    lines = [item.origin.line if isinstance(item, Problem) else item.line for item in found]
    assert lines == sorted(set(lines))


# Text


def test_paragraphs(tmp_path: Path) -> None:
    content = "\ufeff\n one\r\ntwo\n \t\n\n\nthree\n"
    assert table(tmp_path, content, "rows.txt") == [(2, {"text": " one\ntwo"}), (7, {"text": "three"})]


def test_a_bad_paragraph_costs_itself_alone(tmp_path: Path) -> None:
    content = b"a\n\nb\n\xff\nc\n\nd\0\n\n" + b"e" * 60 + b"\n" + b"e" * 60 + b"\n\n" + b"f" * 200 + b"\nf\n\ng"
    assert table(tmp_path, content, "rows.txt", Limits(max_line_bytes=100)) == [
        (1, {"text": "a"}),
        (3, "not_utf8"),
        (7, "not_text"),
        (9, "line_too_long"),
        (12, "line_too_long"),
        (15, {"text": "g"}),
    ]


# Columns

ROWS = [
    {"q": "語", "n": 1, "turns": [{"role": "user", "says": "x"}, {"role": "assistant", "says": None}], "s": {"a": 1}},
    {"q": None, "n": (1 << 63) - 1, "turns": [], "s": {"a": None}},
    {"q": "", "n": None, "turns": None, "s": None},
]


def write_arrow(path: Path, columns: pa.Table, kind: str) -> Path:
    if kind == "parquet":
        pq.write_table(columns, path, row_group_size=100)
        return path
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(str(path), columns.schema) as writer:
        writer.write_table(columns, max_chunksize=300)
    return path


@pytest.mark.parametrize(("name", "kind"), [("a.parquet", "parquet"), ("a.arrow", "file"), ("a.arrow", "stream")])
def test_rows_of_columns_are_python_objects(tmp_path: Path, name: str, kind: str) -> None:
    path = write_arrow(tmp_path / name, pa.Table.from_pylist(ROWS * 200), kind)
    assert read(path) == list(enumerate(ROWS * 200, 1))
    assert probe(SourceFile(path, name)) == ("parquet" if kind == "parquet" else "arrow")


def test_feather_and_files_without_an_ending(tmp_path: Path) -> None:
    from pyarrow import feather

    feather.write_feather(pa.Table.from_pylist(ROWS), tmp_path / "a.feather")
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "data")
    assert read(tmp_path / "a.feather") == read(tmp_path / "data") == list(enumerate(ROWS, 1))


@pytest.mark.parametrize("kind", ["parquet", "file"])
def test_a_bad_cell_costs_its_row_alone(tmp_path: Path, kind: str) -> None:
    not_text = pa.array([b"x", b"\xff", b"y"]).view(pa.string())
    path = write_arrow(tmp_path / "a", pa.table({"q": not_text}), kind)
    assert read(path) == [(1, {"q": "x"}), (2, "not_utf8"), (3, {"q": "y"})]
    turns = pa.array([[b"x"], [b"a", b"\xff"], [b"y"]]).view(pa.list_(pa.string()))
    path = write_arrow(tmp_path / "a", pa.table({"q": turns}), kind)
    assert read(path) == [(1, {"q": ["x"]}), (2, "not_utf8"), (3, {"q": ["y"]})]
    pictures = pa.table({"q": ["a", "b"], "picture": pa.array([{"bytes": None}, {"bytes": b"png"}])})
    assert read(write_arrow(tmp_path / "a", pictures, kind)) == [
        (1, {"q": "a", "picture": {"bytes": None}}),
        (2, "not_text"),
    ]
    long = pa.table({"q": ["x", "y" * 200, "z"]})
    assert read(write_arrow(tmp_path / "a", long, kind), Limits(max_line_bytes=100)) == [
        (1, {"q": "x"}),
        (2, "line_too_long"),
        (3, {"q": "z"}),
    ]


def test_times_decimals_and_maps_become_what_json_holds(tmp_path: Path) -> None:
    import datetime as dt
    import decimal

    columns = pa.table(
        {
            "t": pa.array([dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)]),
            "d": pa.array([decimal.Decimal("1.50")]),
            "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "c": pa.array(["x"]).dictionary_encode(),
        }
    )
    expected = {"t": "2024-01-02T03:04:05+00:00", "d": "1.50", "m": {"k": 1}, "c": "x"}
    assert read(write_arrow(tmp_path / "a", columns, "parquet")) == [(1, expected)]


def test_cut_columns(tmp_path: Path) -> None:
    columns = pa.table({"q": [os.urandom(20).hex() for _ in range(1000)]})
    pq.write_table(columns, tmp_path / "a.parquet", row_group_size=100, use_dictionary=False, compression="none")
    whole = (tmp_path / "a.parquet").read_bytes()
    with pytest.raises(DataError, match=r"a\.parquet: is not a whole Parquet file"):
        read(save(tmp_path, "a.parquet", whole[:-10]))
    stream = write_arrow(tmp_path / "a.arrow", columns, "stream").read_bytes()
    *rows, problem = read(save(tmp_path, "a.arrow", stream[: len(stream) // 2]))
    assert problem == (301, "damaged")
    assert [row["q"] for _, row in rows] == columns["q"].to_pylist()[:300]
    page = whole.find(columns["q"][150].as_py().encode())
    assert page > 0
    # The length of a text inside a data page, made absurd.
    damaged = whole[: page - 4] + struct.pack("<I", 1 << 30) + whole[page:]
    found = read(save(tmp_path, "a.parquet", damaged))
    rows = [(line, {"q": text}) for line, text in enumerate(columns["q"].to_pylist(), 1)]
    assert found == [*rows[:100], (101, "damaged"), *rows[200:]]


@pytest.mark.slow
@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(max_examples=120, deadline=None)
@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_a_flipped_byte_is_never_more_than_a_problem(tmp_path_factory, kind: str, at: int, value: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = write_arrow(folder / f"flip-{kind}", pa.Table.from_pylist(ROWS * 3), kind)
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] = value
    with contextlib.suppress(DataError):
        read(save(folder, f"flipped-{kind}.{'parquet' if kind == 'parquet' else 'arrow'}", bytes(raw)))


def test_an_offset_outside_the_file_is_not_followed(tmp_path: Path) -> None:
    """A damaged offset once made pyarrow read memory that was not its own, and the process died."""
    raw = write_arrow(tmp_path / "a", pa.table({"q": [["a"], ["b", "c"], ["d"]]}), "file").read_bytes()
    offsets = struct.pack("<4i", 0, 1, 3, 4)
    assert raw.count(offsets) == 1
    for at in range(4):
        wrong = bytearray(offsets)
        wrong[4 * at + 2] = 0x7F
        found = read(save(tmp_path, "b.arrow", raw.replace(offsets, bytes(wrong))))
        assert found == [(1, "damaged")]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(DataError, match="two columns are called 'a'"):
        read(write_arrow(tmp_path / "a.arrow", twice, "file"))


# Files that are none


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    for name, said in {
        "pipe.jsonl": "not a regular file",
        "folder.jsonl": "Is a directory",
        "nothing.jsonl": "No such file",
        "loop.jsonl": "symbolic link",
        "nul\0.jsonl": "null byte",
    }.items():
        with pytest.raises(DataError, match=rf"cannot be read: .*{said}"):
            read(tmp_path / name)
    with pytest.raises(DataError, match="not a regular file"):
        read(Path("/dev/zero"))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_disk_that_refuses() -> None:
    with pytest.raises(DataError, match="cannot be read: Input/output error"):
        read(Path("/proc/self/mem"))
    with pytest.raises(DataError, match="cannot be read"):
        hash_source(SourceFile(Path("/proc/self/mem"), "mem"))


def test_fingerprint_is_of_the_bytes_on_disk(tmp_path: Path) -> None:
    path = save(tmp_path, "a.jsonl.gz", gzip.compress(b"{}"))
    assert hash_source(SourceFile(path, "a")) == hash_file(path)


# The hub


def stub(rows: object, version: str = "4.1.0") -> types.SimpleNamespace:
    asked: list[tuple] = []

    def load_dataset(*names: str | None, **options: object) -> object:
        asked.append((names, options))
        if isinstance(rows, Exception):
            raise rows
        return rows

    return types.SimpleNamespace(__version__=version, load_dataset=load_dataset, asked=asked)


def test_rows_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    library = stub([{"a": 1}, {"a": b"x"}, {"a": [{"b": None}]}])
    monkeypatch.setitem(sys.modules, "datasets", library)
    first, second, third = read_hub("hf:org/name", "sub", "train[:5]", "abc")
    assert (first, third) == (Found(1, {"a": 1}), Found(3, {"a": [{"b": None}]}))
    assert str(second).startswith("hf:org/name:2: a cell holds bytes")
    assert library.asked == [(("org/name", "sub"), {"split": "train[:5]", "revision": "abc", "streaming": True})]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("Bad split: x. Available splits: ['train']"), DataError),
        (FileNotFoundError("Dataset 'org/name' doesn't exist"), DataError),
        (ConnectionError("no route"), MissingError),
    ],
)
def test_errors_of_the_hub(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type) -> None:
    monkeypatch.setitem(sys.modules, "datasets", stub(error))
    with pytest.raises(kind, match=f"hf:org/name: .*{str(error)[:10]}"):
        list(read_hub("org/name", None, "train", None))

    def rows():
        yield {"a": 1}
        raise error

    monkeypatch.setitem(sys.modules, "datasets", stub(rows()))
    found = read_hub("org/name", None, "train", None)
    assert next(found) == Found(1, {"a": 1})
    with pytest.raises(kind, match="row 2"):
        next(found)


def test_no_code_of_the_hub_and_no_folder_here_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", stub([], version="3.6.0"))
    with pytest.raises(MissingError, match="needs datasets 4"):
        list(read_hub("org/name", None, "train", None))
    for name in ("json", "../x/y", "org/na me", "https://x/y"):
        with pytest.raises(DataError, match="is not the name of a data set"):
            list(read_hub(f"hf:{name}", None, "train", None))
    (tmp_path / "org" / "name").mkdir(parents=True)
    with pytest.raises(DataError, match="would be read instead"):
        list(read_hub("hf:org/name", None, "train", None))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingError, match=r"pip install 'tuneloop\[hub\]'"):
        list(read_hub("hf:org/other", None, "train", None))
