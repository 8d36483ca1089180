"""Files that were made to break a reader: each is refused or reported, none ends in a traceback or fills the memory."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from row_mutations import alpaca_row
from test_data_mutated_rows import FILES, FULL, write_files

MIB = 1 << 20
SMALL_CAP = 64 * MIB
LINE_CAP = 256 * MIB
"""Four times `Limits.max_line_bytes`: what is held of a line, the line joined, and the chunks around it."""
QUOTED_CAP = 12 * 64 * MIB
"""The csv module holds a cell at four bytes a letter and doubles its room as it grows (Modules/_csv.c)."""
ROWS = [alpaca_row(index).encode() for index in range(1, 41)]
LINES = b"\n".join(ROWS) + b"\n"
ARRAY = b"[" + b",\n".join(ROWS) + b"]"
TABLE = "instruction,output\nq1 问,a1 答\n".encode()

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured through /proc")


class Hostile(NamedTuple):
    """A file, and what has to come of it: a part of the refusal, or rows and the codes of problems."""

    name: str
    content: bytes
    refused: str = ""
    num_rows: int = 0
    problems: dict[str, int] = {}  # noqa: RUF012 - nobody changes it


def around(bad: bytes) -> bytes:
    """Good lines, a bad one, good lines."""
    return LINES + bad + b"\n" + LINES


def nested(depth: int, open_: bytes = b"[", close: bytes = b"]") -> bytes:
    return b'{"instruction": "q", "output": "a", "x": ' + open_ * depth + close * depth + b"}"


DEEP = 100_000
SURROGATES = rb'{"instruction": "q", "output": "\ud83d"}', rb'{"instruction": "\udc00q", "output": "a"}'
HOSTILE = (
    Hostile("bom.jsonl", b"\xef\xbb\xbf" + LINES, num_rows=40),
    Hostile("bom.json", b"\xef\xbb\xbf" + ARRAY, num_rows=40),
    Hostile("bom.csv", b"\xef\xbb\xbf" + TABLE, num_rows=1),
    *(
        Hostile(f"{encoding}.{kind}", text.decode().encode(encoding), refused="is UTF-")
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32")
        for kind, text in (("jsonl", LINES), ("json", ARRAY), ("csv", TABLE))
    ),
    *(
        Hostile(f"zero.{kind}", b"", refused="zero.")
        for kind in ("jsonl", "json", "csv", "tsv", "txt", "parquet", "arrow", "jsonl.gz", "jsonl.zst")
    ),
    *(Hostile(f"blank.{kind}", b" \n" * 3000, refused="has no rows") for kind in ("jsonl", "json", "csv", "txt")),
    Hostile("nulls.jsonl", b"\0" * 100_000, problems={"not_json": 1}),
    Hostile("noise.parquet", b"PAR1" + bytes(range(256)) * 16, refused="not a whole Parquet file"),
    Hostile("noise.arrow", b"ARROW1" + bytes(range(256)) * 16, refused="not a whole Arrow file"),
    Hostile("pickle.jsonl", b"\x80\x04\x95" + bytes(range(256)), refused="pickle"),
    Hostile("zip.jsonl", b"PK\x03\x04" + bytes(range(256)), refused="ZIP"),
    Hostile("cut.jsonl.gz", gzip.compress(LINES)[:-12], problems={"truncated": 1}),
    Hostile("damaged.jsonl.gz", gzip.compress(LINES)[:-8] + b"\0" * 8, num_rows=40, problems={"damaged": 1}),
    Hostile("deep.jsonl", around(nested(DEEP)), num_rows=80, problems={"too_deep": 1}),
    Hostile(
        "deep_objects.jsonl",
        around(nested(DEEP, b'{"a":', b"")[:-1] + b"1" + b"}" * (DEEP + 1)),
        num_rows=80,
        problems={"too_deep": 1},
    ),
    Hostile("deep_open.jsonl", around(b"[" * DEEP), num_rows=80, problems={"too_deep": 1}),
    Hostile(
        "deep_text.jsonl", around(b'{"messages": "' + b"[" * DEEP + b'"}'), num_rows=80, problems={"missing_key": 1}
    ),
    Hostile(
        "deep.json", b"[" + b",\n".join([*ROWS, nested(DEEP), *ROWS]) + b"]", num_rows=80, problems={"too_deep": 1}
    ),
    Hostile("deep_whole.json", b"[" * DEEP + b"]" * DEEP, problems={"too_deep": 1}),
    Hostile("deep_open.json", b"[\n" + b"[" * DEEP, problems={"not_json": 1}),
    Hostile(
        "deep_tools.jsonl",
        around(b'{"instruction": "q", "output": "a", "tools": "' + b"[" * DEEP + b'"}'),
        num_rows=80,
        problems={"bad_tools": 1},
    ),
    Hostile(
        "twice.jsonl",
        around(b'{"instruction": "q", "output": "a", "output": "b"}'),
        num_rows=80,
        problems={"duplicate_key": 1},
    ),
    Hostile(
        "twice.json",
        b"[" + b",\n".join([*ROWS, b'{"a": 1, "\\u0061": 2}']) + b"]",
        num_rows=40,
        problems={"duplicate_key": 1},
    ),
    Hostile("surrogates.jsonl", around(b"\n".join(SURROGATES)), num_rows=80, problems={"not_json": 2}),
    Hostile("surrogates.json", b"[" + b",\n".join([*ROWS, *SURROGATES]) + b"]", num_rows=40, problems={"not_json": 2}),
    *(
        Hostile(
            f"digits_{number}.jsonl",
            around(b'{"instruction": "q", "output": "a", "x": ' + b"9" * number + b"}"),
            num_rows=80,
            problems={code: 1},
        )
        # A float holds 308 digits (IEEE 754); a longer number is none.
        for number, code in ((300, "big_number"), (1_000_000, "not_json"))
    ),
    Hostile(
        "commas.csv", b"instruction,output\n" + b"," * 1_000_000 + b"\nq,a\n", num_rows=1, problems={"wrong_columns": 1}
    ),
    Hostile("quotes.csv", b"instruction,output\n" + b'q,"a\n' * 5000, problems={"open_quote": 2508}),
)


def measure(folder: Path, *names: str) -> dict[str, dict[str, Any]]:
    """Read files in a process of its own, whose memory nobody else has touched."""
    command = [sys.executable, str(Path(__file__).with_name("measure_reading.py")), str(folder), *names]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["name"] for each in found] == list(names)
    return {each["name"]: each for each in found}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("hostile")
    for each in HOSTILE:
        (folder / each.name).write_bytes(each.content)
    return measure(folder, *(each.name for each in HOSTILE))


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_a_hostile_file_is_refused_or_reported(outcomes: dict[str, dict[str, Any]], hostile: Hostile) -> None:
    found = outcomes[hostile.name]
    assert "crash" not in found, found["crash"]
    assert found["peak"] < SMALL_CAP
    if hostile.refused:
        assert found["refused"].startswith(f"{hostile.name}: ")
        assert hostile.refused in found["refused"]
    else:
        assert found.get("refused", "") == ""
        assert found["problems"] == hostile.problems
        assert all(report.startswith(f"{hostile.name}:") for report in found["reports"])
        # What stood before the cut of a packed file depends on its compression.
        assert found["num_rows"] == hostile.num_rows or hostile.name.startswith("cut.")


def write_long(path: Path, before: bytes, unit: bytes, times: int, after: bytes) -> None:
    with path.open("wb") as file:
        file.write(before)
        for _ in range(times):
            file.write(unit)
        file.write(after)


def write_long_files(folder: Path, num_mib: int) -> None:
    """Each holds one row longer than the limit, between good ones."""
    unit = b"a" * MIB
    head = b'{"instruction": "q", "output": "'
    write_long(folder / "long.jsonl", LINES + head, unit, num_mib, b'"}\n' + LINES)
    write_long(folder / "long.json", ARRAY[:-1] + b",\n" + head, unit, num_mib, b'"},\n' + ARRAY[1:])
    write_long(folder / "long.csv", TABLE + b"q,", unit, num_mib, b"\nq,a\n")
    write_long(folder / "long.txt", b"one\n\n", unit, num_mib, b"\n\ntwo\n")
    write_long(folder / "quoted.csv", TABLE + b'q,"', unit[:-1] + b"\n", num_mib, b'"\nq,a\n')


def check_long_lines(folder: Path, *names: str) -> None:
    """A row longer than the limit costs itself, and memory does not grow with its length."""
    for name, each in measure(folder, *names).items():
        assert each["problems"] == {"line_too_long": 1}, name
        assert each["num_rows"] == (80 if name.startswith("long.json") else 2), name
        assert each["peak"] < LINE_CAP, (name, each["peak"] // MIB)


@pytest.mark.slow
def test_a_line_just_above_the_limit(tmp_path: Path) -> None:
    write_long_files(tmp_path, 65)
    check_long_lines(tmp_path, "long.jsonl")


@pytest.mark.slow
def test_a_line_of_200_mib(tmp_path: Path) -> None:
    write_long_files(tmp_path, 200)
    check_long_lines(tmp_path, "long.jsonl", "long.json", "long.csv", "long.txt")
    quoted = measure(tmp_path, "quoted.csv")["quoted.csv"]
    assert quoted["problems"]["open_quote"] >= 1
    assert quoted["peak"] < QUOTED_CAP, quoted["peak"] // MIB


def gzip_bomb(path: Path) -> None:
    """1,100 MiB of one letter in about 1.1 MB."""
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(LINES + b'{"instruction": "q", "output": "')
        for _ in range(1100):
            file.write(b"a" * MIB)


def zstd_bomb(path: Path) -> None:
    """Three GiB of one letter in about 100 kB."""
    import zstandard

    with path.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as file:
        file.write(LINES + b'{"instruction": "q", "output": "')
        for _ in range(3 << 10):
            file.write(b"a" * MIB)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "write"), [("bomb.jsonl.gz", gzip_bomb), ("bomb.jsonl.zst", zstd_bomb)])
def test_a_bomb_stops_at_its_limit(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    found = measure(tmp_path, name)[name]
    assert found["num_rows"] == 40
    assert found["problems"] == {"too_expanded": 1}
    assert found["peak"] < LINE_CAP


@pytest.mark.slow
def test_ten_thousand_damaged_rows_take_little_memory(tmp_path: Path) -> None:
    write_files(tmp_path, FULL)
    for name, each in measure(tmp_path, *FILES).items():
        assert each["num_rows"] > 250, name
        assert each["peak"] < SMALL_CAP, (name, each["peak"] // MIB)


@pytest.mark.slow
def test_the_measure_sees_a_reader_that_holds_too_much(tmp_path: Path) -> None:
    """Rows under one key are held whole by design: the same bytes as lines are not."""
    row = json.dumps({"instruction": "q", "output": "a" * 8000}).encode()
    (tmp_path / "held.json").write_bytes(b'{"data": [' + b",\n".join([row] * 10_000) + b"]}")
    (tmp_path / "lines.jsonl").write_bytes(b"\n".join([row] * 10_000))
    found = measure(tmp_path, "lines.jsonl", "held.json")
    assert found["lines.jsonl"]["peak"] < SMALL_CAP < found["held.json"]["peak"]


def test_a_traceback_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import measure_reading

    def fail(*_: object) -> Iterator[object]:
        raise RecursionError

    monkeypatch.setattr(measure_reading, "iter_rows", fail)
    (tmp_path / "a.jsonl").write_bytes(LINES)
    assert "RecursionError" in measure_reading.read(tmp_path, "a.jsonl")["crash"]
