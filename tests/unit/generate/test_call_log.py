"""The log of calls: what it keeps, what it survives, and what it refuses; and the arithmetic around it."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tuneloop.core.errors import DataError, DiskError, IntegrityError
from tuneloop.generate.budget import Spending
from tuneloop.generate.call_log import CallLog, read_calls
from tuneloop.generate.chat import Completion, Usage
from tuneloop.generate.estimate import estimate_tokens
from tuneloop.generate.pace import Pace
from tuneloop.generate.retry import RetryConfig, backoff_s, parse_retry_after


def answer(key: str, text: str = "文 \n\u2028 text", cost: float | None = 0.5) -> Completion:
    return Completion(key, text, "stop", Usage(3, 4), cost, "m", 0.25, 1)


def filled(path: Path, number: int = 3) -> bytes:
    with CallLog(path) as log:
        for i in range(number):
            log.add(answer(str(i)))
    return path.read_bytes()


def test_what_is_added_is_there_at_once_and_later(tmp_path: Path) -> None:
    path = tmp_path / "new" / "calls.jsonl"
    with CallLog(path) as log:
        assert (len(log), log.spent) == (0, Spending())
        log.add(answer("a"))
        log.add_unusable("b", Usage(5, 6, is_estimated=True), None, "html")
        found = log.get("a")
        assert found is not None
        assert (found.text, found.usage, found.from_log) == ("文 \n\u2028 text", Usage(3, 4), True)
        assert "a" in log
        assert "b" not in log
        assert log.get("b") is None
        spent = log.spent
    assert spent == Spending(2, 8, 10, estimated_calls=1, money=0.5, unpriced_calls=1)
    with CallLog(path) as log:
        assert log.get("a") == found
        assert log.spent == spent
    assert read_calls(path).spent == spent
    assert read_calls(tmp_path / "none").spent == Spending()


def test_a_log_that_is_cut_anywhere_loses_the_last_line_alone(tmp_path: Path) -> None:
    content = filled(tmp_path / "whole.jsonl")
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    path = tmp_path / "cut.jsonl"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        whole = sum(end <= size for end in ends)
        assert len(read_calls(path).places) == max(0, whole - 1)
        if size % 29 == 0 or size in ends:
            with CallLog(path) as log:
                assert len(log) == max(0, whole - 1)
                log.add(answer("z"))
            with CallLog(path) as log:
                assert log.get("z") is not None
                assert len(log) == max(0, whole - 1) + 1


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:

        def add(thread: int) -> None:
            for i in range(50):
                log.add(answer(f"{thread}-{i}", f"{thread}-{i}" * (i + 1)))
                assert log.get(f"{thread}-{i}") is not None

        threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with CallLog(path) as log:
        assert len(log) == 200
        for thread in range(4):
            for i in range(50):
                found = log.get(f"{thread}-{i}")
                assert found is not None
                assert found.text == f"{thread}-{i}" * (i + 1)
    assert len(path.read_bytes().splitlines()) == 201


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"schema": "tuneloop.calls", "version": 2}\n', "of version 2; this tuneloop reads 1"),
        (b'{"schema": "other", "version": 1}\n', "is no log of calls"),
        (b"my thesis", "is no log of calls"),
        (b"my thesis\nchapter 1", "is no log of calls"),
        (b"[1]\n", "is no log of calls"),
        (b"\x00\xff" * 100_000, "is no log of calls"),
    ],
)
def test_somebody_elses_file_is_left_as_it_is(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for attempt in (CallLog, read_calls):
        with pytest.raises(DataError, match=says):
            attempt(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line", [b"\x00\x00\n", b"[]\n", b'{"key": "a"}\n', b'{"kind": "answer", "key": "a"}\n', b"\n"]
)
def test_a_line_that_is_damaged_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "calls.jsonl"
    first, second, *rest = filled(path).splitlines(keepends=True)
    path.write_bytes(b"".join([first, second, line, *rest]))
    with pytest.raises(IntegrityError, match=r"calls\.jsonl:3: .*Delete the line"):
        CallLog(path)


def test_after_a_write_that_failed_nothing_more_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "calls.jsonl"
    with CallLog(path) as log:
        log.add(answer("a"))

        def refuse(record: object) -> None:
            del record
            raise DiskError("full")

        with monkeypatch.context() as patch:
            patch.setattr(log._appender, "append", refuse)
            with pytest.raises(DiskError, match="full"):
                log.add(answer("b"))
        with pytest.raises(DiskError, match="an earlier line could not be written"):
            log.add(answer("c"))
    assert list(read_calls(path).places) == ["a"]


def test_the_log_is_plain_json_for_people(tmp_path: Path) -> None:
    filled(tmp_path / "calls.jsonl", 1)
    record = json.loads((tmp_path / "calls.jsonl").read_text().split("\n")[1])
    assert datetime.fromisoformat(record.pop("at")).tzinfo is not None
    assert record == {
        "kind": "answer",
        "key": "0",
        "text": "文 \n\u2028 text",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "is_estimated": False},
        "cost": 0.5,
        "model": "m",
        "latency_s": 0.25,
        "attempts": 1,
        "reasoning": "",
        "tool_calls": [],
    }


@pytest.mark.parametrize(
    ("texts", "tokens"), [([], 0), ([""], 4), (["hello world"], 8), (["你好"], 6), (["a" * 10, "，"], 12)]
)
def test_tokens_are_estimated_from_characters(texts: list[str], tokens: int) -> None:
    assert estimate_tokens(texts) == tokens


def test_waits_grow_and_are_spread_over_their_whole_range() -> None:
    config = RetryConfig(base_s=1.0, cap_s=60.0)
    for attempt, most in ((0, 1), (3, 8), (5, 32), (9, 60), (5000, 60)):
        waits = [backoff_s(config, attempt, None, seed=0, key=str(key)) for key in range(2000)]
        assert 0 <= min(waits) < 0.01 * most
        assert 0.99 * most < max(waits) <= most
        assert sum(waits) / len(waits) == pytest.approx(most / 2, rel=0.05)
    assert backoff_s(config, 3, None, seed=0, key="a") == backoff_s(config, 3, None, seed=0, key="a")
    assert backoff_s(config, 3, None, seed=1, key="a") != backoff_s(config, 3, None, seed=0, key="a")
    assert 5 <= backoff_s(config, 0, 5.0, seed=0, key="a") <= 6
    assert 60 <= backoff_s(config, 0, 3600.0, seed=0, key="a") <= 61


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 0.5 ", 0.5),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 7.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 7.0),
        ("Sun Nov  6 08:49:37 1994", 7.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("٣", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, datetime(1994, 11, 6, 8, 49, 30, tzinfo=UTC)) == seconds


def test_calls_are_spaced_and_held() -> None:
    now = 100.0
    clock: Callable[[], float] = lambda: now  # noqa: E731 - a clock that the test moves
    pace = Pace(30, clock)
    assert [pace.claim() for _ in range(3)] == [0.0, 2.0, 4.0]
    now = 110.0
    assert pace.claim() == 0.0
    pace.hold(7.0)
    assert [pace.claim(), pace.claim()] == [7.0, 9.0]
    pace.hold(1.0)
    assert pace.claim() == 11.0
    free = Pace(None, clock)
    assert [free.claim() for _ in range(3)] == [0.0, 0.0, 0.0]
