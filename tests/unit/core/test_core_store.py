"""The door to disk: what is there is whole, what fails leaves what was, and damage is found."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core import store
from tuneloop.core.errors import DataError, DiskError, ExitCode, IntegrityError, LockedError
from tuneloop.core.store import (
    Appender,
    canonical_json,
    check_blob,
    hash_file,
    hash_json,
    own_folder,
    put_blob,
    read_json,
    read_jsonl,
    remove_files,
    write_bytes,
    write_file,
    write_folder,
    write_json,
    write_jsonl,
    write_text,
)

DISK_ERRNOS = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fail(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_write_makes_folders_and_leaves_only_the_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "x.bin", b"123")
    write_text(tmp_path / "a" / "y.txt", "语")
    assert tree(tmp_path) == {"a/b/x.bin": b"123", "a/y.txt": "语".encode()}
    assert (tmp_path / "a" / "y.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), fail(errno.ENOSPC), fail(errno.ENOENT)])
def test_failed_write_leaves_the_old_content(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "x.bin"
    write_bytes(path, b"old")

    def write(part: Path) -> None:
        part.write_bytes(b"half of the n")
        raise error

    expected = DiskError if isinstance(error, OSError) and error.errno == errno.ENOSPC else type(error)
    with pytest.raises(expected):
        write_file(path, write)
    assert tree(tmp_path) == {"x.bin": b"old"}


def test_failed_first_write_leaves_nothing(tmp_path: Path) -> None:
    def write(part: Path) -> None:
        part.write_bytes(b"half")
        raise KeyError

    with pytest.raises(KeyError):
        write_file(tmp_path / "x.bin", write)
    assert tree(tmp_path) == {}


def test_a_full_disk_for_real(tmp_path: Path) -> None:
    """The kernel's own device that is always full."""
    path = tmp_path / "x.bin"
    write_bytes(path, b"old")
    with pytest.raises(DiskError, match=r"x\.bin: could not be written: No space left on device") as caught:
        write_file(path, lambda part: (part.write_bytes(b"12"), Path("/dev/full").write_bytes(b"3")))
    assert caught.value.exit_code == ExitCode.DISK == 8
    assert tree(tmp_path) == {"x.bin": b"old"}


@pytest.mark.parametrize("number", DISK_ERRNOS, ids=errno.errorcode.get)
def test_disk_errors_of_all_doors(tmp_path: Path, number: int) -> None:
    def write(_: Path) -> None:
        raise fail(number)

    for door in (
        lambda: write_file(tmp_path / "f", write),
        lambda: write_folder(tmp_path / "d", write),
        lambda: put_blob(tmp_path / "blobs", ".bin", write),
    ):
        with pytest.raises(DiskError):
            door()
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_nothing_is_in_place_before_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    write_bytes(tmp_path / "f", b"old")
    write_folder(tmp_path / "d", lambda part: (part / "x").write_bytes(b"old"))
    (tmp_path / "blobs").mkdir()
    before = tree(tmp_path)

    def refuse(*_: object) -> None:
        raise fail(errno.EIO)

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", refuse)
    else:
        monkeypatch.setattr(Path, "replace", refuse)
    for door in (
        lambda: write_bytes(tmp_path / "f", b"new"),
        lambda: write_folder(tmp_path / "d", lambda part: (part / "x").write_bytes(b"new")),
        lambda: put_blob(tmp_path / "blobs", ".bin", lambda part: part.write_bytes(b"new")),
    ):
        with pytest.raises(DiskError):
            door()
    assert tree(tmp_path) == before


def test_a_killed_writer_leaves_the_old_content(tmp_path: Path) -> None:
    write_text(tmp_path / "f", "old")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom tuneloop.core.store import write_file\n"
        "write_file(Path(sys.argv[1]), lambda part: (part.write_text('new'), os.kill(os.getpid(), 9)))\n"
    )
    child = subprocess.run([sys.executable, "-c", code, str(tmp_path / "f")], check=False)
    assert child.returncode == -9
    assert (tmp_path / "f").read_text() == "old"
    write_text(tmp_path / "f", "newer")
    assert (tmp_path / "f").read_text() == "newer"


def test_write_folder_swaps_whole_folders(tmp_path: Path) -> None:
    path = tmp_path / "export"
    write_folder(path, lambda part: ((part / "a").write_text("1"), (part / "b").write_text("2")))
    write_folder(path, lambda part: ((part / "sub").mkdir(), (part / "sub" / "c").write_text("3")))
    assert tree(tmp_path) == {"export/sub/c": b"3"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["export"]
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), fail(errno.ENOSPC)])
def test_write_folder_failing_leaves_the_old_one(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "export"
    write_folder(path, lambda part: (part / "a").write_text("old"))

    def fill(part: Path) -> None:
        (part / "a").write_text("new")
        raise error

    with pytest.raises(DiskError if isinstance(error, OSError) else type(error)):
        write_folder(path, fill)
    assert tree(tmp_path) == {"export/a": b"old"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["export"]


def test_write_folder_cleans_up_after_a_kill(tmp_path: Path) -> None:
    stale = tmp_path / ".export.abc123.part"
    stale.mkdir()
    (stale / "half").write_text("x")
    other = tmp_path / ".other.abc123.part"
    other.mkdir()
    write_folder(tmp_path / "export", lambda part: (part / "a").write_text("1"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".other.abc123.part", "export"]


def test_write_folder_that_fails_in_the_middle_of_the_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "export"
    write_folder(path, lambda part: (part / "a").write_text("old"))
    replace, calls = Path.replace, []

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 2:
            raise fail(errno.EIO)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(DiskError):
        write_folder(path, lambda part: (part / "a").write_text("new"))
    assert (path / "a").read_text() == "old"


def test_blob_round_trip(tmp_path: Path) -> None:
    name = put_blob(tmp_path, ".bin", lambda part: part.write_bytes(b"payload"))
    assert name == hashlib.sha256(b"payload").hexdigest() + ".bin"
    assert check_blob(tmp_path, name).read_bytes() == b"payload"
    assert put_blob(tmp_path, ".bin", lambda part: part.write_bytes(b"payload")) == name
    assert tree(tmp_path) == {name: b"payload"}


def test_any_flipped_bit_of_a_blob_is_found(tmp_path: Path) -> None:
    name = put_blob(tmp_path, ".bin", lambda part: part.write_bytes(b"payload"))
    for bit in range(8 * len(b"payload")):
        content = bytearray(b"payload")
        content[bit // 8] ^= 1 << bit % 8
        (tmp_path / name).write_bytes(content)
        with pytest.raises(IntegrityError, match="its bytes differ"):
            check_blob(tmp_path, name)


@pytest.mark.parametrize("content", [b"", b"payloa", b"payload\0"])
def test_shortened_and_longer_blobs_are_found(tmp_path: Path, content: bytes) -> None:
    name = put_blob(tmp_path, ".bin", lambda part: part.write_bytes(b"payload"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(IntegrityError, match="its bytes differ") as caught:
        check_blob(tmp_path, name)
    assert caught.value.exit_code == ExitCode.INTEGRITY
    (tmp_path / name).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        check_blob(tmp_path, name)


def test_hash_of_a_file_larger_than_a_chunk(tmp_path: Path) -> None:
    content = bytes(range(256)) * (5 << 12)
    (tmp_path / "x").write_bytes(content)
    assert len(content) > 1 << 22
    assert hash_file(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_remove_files(tmp_path: Path) -> None:
    for name in ("a", "b", ".blob.x.part"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder").mkdir()
    remove_files(tmp_path, keep={"b"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "folder"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(value=JSON)
def test_hash_is_of_the_value_alone(value: object) -> None:
    def turned(item: object) -> object:
        if isinstance(item, dict):
            return {key: turned(item[key]) for key in reversed(item)}
        return [turned(part) for part in item] if isinstance(item, list) else item

    assert canonical_json(turned(value)) == canonical_json(value)
    assert hash_json(turned(value)) == hashlib.sha256(canonical_json(value)).hexdigest()
    assert json.loads(canonical_json(value)) == value


def test_canonical_json_by_hand() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "语"}) == '{"a":"语","b":[1,2.5,null]}'.encode()


def test_json_and_jsonl_round_trip(tmp_path: Path) -> None:
    values = [{"a": 1}, [1, "x\ny"], "语", None]
    write_json(tmp_path / "v.json", values)
    assert read_json(tmp_path / "v.json") == values
    write_jsonl(tmp_path / "v.jsonl", iter(values))
    assert (tmp_path / "v.jsonl").read_bytes().count(b"\n") == len(values)
    assert list(read_jsonl(tmp_path / "v.jsonl")) == values


def test_read_json_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.json: no such file"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b'{"a": ')
    with pytest.raises(IntegrityError, match=r"x\.json: not valid JSON"):
        read_json(tmp_path / "x.json")


def test_write_jsonl_that_fails_on_the_way(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "v.jsonl", [1])

    def values() -> Iterator[int]:
        yield 2
        raise KeyError

    with pytest.raises(KeyError):
        write_jsonl(tmp_path / "v.jsonl", values())
    assert tree(tmp_path) == {"v.jsonl": b"1\n"}


@pytest.mark.parametrize("torn", [b"", b"{", b'{"a": 2', b'{"a":2}'])
def test_appender_cuts_a_torn_line(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "deep" / "log.jsonl"
    first = Appender(path)
    first.append({"a": 0})
    first.append({"a": 1})
    first.close()
    with path.open("ab") as file:
        file.write(torn)
    assert [value["a"] for value in read_jsonl(path)] == [0, 1]
    second = Appender(path)
    second.append({"a": 3})
    second.close()
    assert path.read_bytes() == b'{"a":0}\n{"a":1}\n{"a":3}\n'


def test_appender_of_a_file_that_is_one_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a"')
    appender = Appender(path)
    appender.append({"a": 1})
    appender.close()
    assert path.read_bytes() == b'{"a":1}\n'


def test_each_line_is_there_at_once(tmp_path: Path) -> None:
    appender = Appender(tmp_path / "log.jsonl")
    for number in range(3):
        appender.append(number)
        assert list(read_jsonl(tmp_path / "log.jsonl")) == list(range(number + 1))
    appender.close()


def test_appender_on_a_full_disk(tmp_path: Path) -> None:
    appender = Appender(tmp_path / "log.jsonl")
    appender.close()
    with Path("/dev/full").open("ab", buffering=0) as appender._file, pytest.raises(DiskError, match="No space left"):
        appender.append({"a": 1})


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes, as on a disk that is nearly full: a write is taken in part."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_the_disk_takes_in_part_is_an_error(tmp_path: Path) -> None:
    appender = Appender(tmp_path / "log.jsonl")
    with contextlib.closing(appender), pytest.raises(DiskError), largest_file(50):
        appender.append({"a": "x" * 100})


def test_after_half_a_line_the_next_start_is_clean(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    appender = Appender(path)
    appender.append({"a": 1})
    with contextlib.suppress(DiskError), largest_file(50):
        appender.append({"a": "x" * 100})
    appender.close()
    assert list(read_jsonl(path)) == [{"a": 1}]
    again = Appender(path)
    again.append({"a": 2})
    again.close()
    assert [orjson.loads(line) for line in path.read_bytes().splitlines()] == [{"a": 1}, {"a": 2}]


def test_own_folder_refuses_a_second_owner(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with own_folder(folder):
        with pytest.raises(LockedError, match="another process works in this folder") as caught, own_folder(folder):
            pytest.fail("two owners")
        assert caught.value.exit_code == ExitCode.LOCKED == 6
    with own_folder(folder):
        pass


def test_own_folder_is_let_go_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), own_folder(tmp_path):
        raise KeyError
    with own_folder(tmp_path):
        pass


def test_own_folder_across_processes(tmp_path: Path) -> None:
    """A killed owner leaves its lock file behind, and no lock."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom tuneloop.core.store import own_folder\n"
        "with own_folder(Path(sys.argv[1])):\n    print('mine', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"mine\n"
        with pytest.raises(LockedError), own_folder(tmp_path):
            pytest.fail("two owners")
        child.kill()
    assert (tmp_path / ".lock").exists()
    with own_folder(tmp_path):
        pass


@pytest.mark.parametrize("size", [0, 1, store._DIRECT_BYTES - 1, store._DIRECT_BYTES, 2 * store._DIRECT_BYTES + 4097])
@pytest.mark.parametrize("refusal", ["none", "the flag", "the write", "half of a write"])
def test_blobs_of_any_size_come_back(size: int, refusal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large ones go past the page cache, in sectors, where the file system lets them."""
    write, control = os.write, fcntl.fcntl

    def picky(handle: int, content: memoryview) -> int:
        is_direct = bool(control(handle, fcntl.F_GETFL) & os.O_DIRECT)
        if is_direct and refusal == "the write":
            raise OSError(errno.EINVAL, "no")
        return write(handle, content[:4096] if is_direct and refusal == "half of a write" else content)

    def refuse(handle: int, command: int, *values: int) -> int:
        if refusal == "the flag" and command == fcntl.F_SETFL and values[0] & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no")
        return control(handle, command, *values)

    monkeypatch.setattr(os, "write", picky)
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    content = random.Random(size).randbytes(size)
    pieces = [content[:7], memoryview(content)[7 : size // 2], content[max(7, size // 2) :]]
    (name,) = store.put_blobs(tmp_path, ".bin", [pieces])
    assert store.read_blob(tmp_path, name) == content
    assert name == hashlib.sha256(content).hexdigest() + ".bin"
