"""Plain text: read as it is, and not mistaken for the half of another row."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tuneloop.data.content import Conversation, Text
from tuneloop.data.formats.registry import detect_format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.formats.text import FORMAT
from tuneloop.data.schema import Message, RowError
from unit.data.rich_strategies import plain_texts


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"text": " Once.\n"}, Shape()),
        ({"text": " Once.\n", "url": "https://example.org", "timestamp": None}, Shape()),
        ({"content": " Once.\n", "text": "not this"}, Shape({"text": "content"})),
        ({"content": " Once.\n", "images": ["x.png"]}, Shape({"text": "content"}, only_columns=True)),
    ],
)
def test_text_is_read_untouched(row: dict[str, Any], shape: Shape) -> None:
    assert FORMAT.parse(row, shape) == Text(" Once.\n")


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"content": "x"}, "missing_key"),
        ({"text": None}, "missing_key"),
        ({"text": ["x"]}, "wrong_type"),
        ({"text": "x", "images": ["x.png"]}, "not_text"),
    ],
)
def test_what_is_refused(row: dict[str, Any], code: str) -> None:
    with pytest.raises(RowError) as caught:
        FORMAT.parse(row, Shape())
    assert caught.value.code == code


def test_a_text_with_its_label_is_not_taken_for_text_alone() -> None:
    assert detect_format([{"text": "x", "id": 3}]) == "text"
    assert detect_format([{"text": "x", "label": None}]) == "text"
    assert detect_format([{"text": "x", "label": 1}]) == ""
    assert detect_format([{"text": "x", "summary": "s"}]) == ""
    assert detect_format([{"text": 3}]) == ""


@given(plain_texts())
def test_what_is_written_is_read_again(text: Text) -> None:
    written = json.loads(json.dumps(FORMAT.write(text)))
    assert FORMAT.parse(written, Shape()) == text
    assert detect_format([written]) == "text"


def test_a_conversation_is_no_text() -> None:
    with pytest.raises(RowError) as caught:
        FORMAT.write(Conversation((Message("user", "q"), Message("assistant", "a"))))
    assert caught.value.code == "not_expressible"


@pytest.mark.shared
def test_a_published_file_is_read_whole(shared: Path) -> None:
    lines = (shared / "llamafactory_demo" / "c4_demo.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert detect_format(rows[:32]) == "text"
    assert [FORMAT.parse(row, Shape()) for row in rows] == [Text(row["text"]) for row in rows]
