"""JSON answers: what is taken for JSON, which leaves are equal, what a schema says."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
import time
from pathlib import Path

import numpy as np
import pytest

from tuneloop.core.errors import ConfigError, DataError
from tuneloop.evaluate.metrics.json_answer import find_json, flatten
from tuneloop.evaluate.metrics.json_fields import JsonFields
from tuneloop.evaluate.metrics.json_schema import build_validator, load_schema

PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("text", "value", "is_bare"),
    [
        ('{"a": 1}', {"a": 1}, True),
        (" \n[1, 2]\n", [1, 2], True),
        ("3", 3, True),
        ('"B"', "B", True),
        ("null", None, True),
        ('```json\n{"a": 1}\n```', {"a": 1}, False),
        ("Here it is:\n```\n[1]\n```\nDone.", [1], False),
        ('```python\nx = {}\n```\n```JSON\n{"a": 1}\n```', {"a": 1}, False),
        ('The answer is {"a": {"b": "}"}}.', {"a": {"b": "}"}}, False),
        ('Use {name} as in {"a": 1}', {"a": 1}, False),
        ('结果：{"罪名": "盗窃"}。', {"罪名": "盗窃"}, False),
        ('<think>{"a": 0}</think>{"a": 1}', {"a": 1}, True),
    ],
)
def test_json_is_found(text: str, value: object, is_bare: bool) -> None:  # noqa: FBT001 - a parameter of the test
    found = find_json(text)
    assert found is not None
    assert (found.value, found.is_bare) == (value, is_bare)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "{'a': 1}",
        '{"a": 1,}',
        '{"a": 1',
        '{"a": 1} {"a": 2}',
        '```json\n{"a": 1}\n```\n```json\n{"a": 2}\n```',
        "in [1] and [2]",
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 400 + "}",
        '{"a": "\\ud800"}',
        '{"\\udc00": 1}',
        '{"a": "\ud800"}',
        "[" * 101 + "]" * 101,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000,
        "{" * 100_000,
    ],
)
def test_no_json(text: str) -> None:
    assert find_json(text) is None


def test_as_deep_as_allowed() -> None:
    found = find_json("[" * 100 + "]" * 100)
    assert found is not None
    assert flatten(found.value).total() == 1


def test_a_pair_of_surrogates_is_one_character() -> None:
    found = find_json('"\\ud83d\\ude00"')
    assert found is not None
    assert found.value == "😀"


def test_leaves() -> None:
    leaves = flatten({"a": [1, "x "], "b": {}, "e\u0301": None, "t": True})
    assert set(leaves) == {
        (("a", 0), "number", 1),
        (("a", 1), "text", "x"),
        (("b",), "empty", "dict"),
        (("\u00e9",), "constant", None),
        (("t",), "constant", True),
    }


def f1(answer: str, *references: str) -> float:
    metric = JsonFields()
    return metric.sample_value(metric.statistics(answer, references))


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ('{"a": 1, "b": 2}', '{"a": 1.0, "b": 3, "c": []}', 2 / 5),
        ('{"b": 2, "a": 1}', '{"a": 1, "b": 2}', 1),
        ('{"a": true}', '{"a": 1}', 0),
        ('{"a": "1"}', '{"a": 1}', 0),
        ('{"a": null}', '{"a": false}', 0),
        ('{"a": 100000000000000000001}', '{"a": 100000000000000000000}', 0),
        ('{"a": 1e2}', '{"a": 100}', 1),
        ('{"a": []}', '{"a": {}}', 0),
        ("{}", "{}", 1),
        ("[2, 1]", "[1, 2]", 0),
        ('{"罪名": " 盗窃"}', '```json\n{"罪名": "盗窃"}\n```', 1),
        ("no", '{"a": 1}', 0),
    ],
)
def test_fields_by_hand(answer: str, reference: str, value: float) -> None:
    assert f1(answer, reference) == pytest.approx(value)


def test_the_best_reference_counts() -> None:
    assert f1('{"a": 1}', '{"a": 2}', '{"a": 1}', "[]") == 1


def test_a_set_is_the_f1_of_its_sums() -> None:
    metric = JsonFields(PERSON)
    answers = ['{"age": 3}', 'It is {"age": 4, "x": 1}.', '{"age": "3"}', "three"]
    totals_K = np.sum([metric.statistics(answer, ['{"age": 3, "y": 0}']) for answer in answers], axis=0)
    # 1 right of 1 + 2 + 1 + 0 answered, and of 4 * 2 expected.
    assert metric.combine(totals_K) == pytest.approx(2 * 1 / (4 + 8))
    expected = {"valid": 3 / 4, "bare": 2 / 4, "schema": 2 / 4, "precision": 1 / 4, "recall": 1 / 8}
    assert metric.parts(totals_K) == pytest.approx(expected)


def test_without_an_answer_every_part_is_defined() -> None:
    metric = JsonFields()
    parts = metric.parts(metric.statistics("", ["{}"]))
    assert parts == {"valid": 0, "bare": 0, "precision": 0, "recall": 0}


def test_a_reference_that_is_no_json() -> None:
    with pytest.raises(DataError, match="'nothing' is not JSON"):
        f1("{}", "nothing")


def test_signature_names_the_schema() -> None:
    assert "|schema:no|" in JsonFields().signature()
    assert JsonFields(PERSON).signature() != JsonFields({"type": "object"}).signature()
    assert JsonFields(PERSON, name="json:person.json").name == "json:person.json"


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        (PERSON, {"age": 3}, True),
        (PERSON, {"age": 3.5}, False),
        (PERSON, {}, False),
        (PERSON, [], False),
        ({}, None, True),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}, "a", True),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}, [1], False),
        ({"anyOf": [{"type": "null"}, {"items": {"$ref": "#"}, "type": "array"}]}, [[None]], True),
        ({"anyOf": [{"type": "null"}, {"items": {"$ref": "#"}, "type": "array"}]}, [[1]], False),
    ],
)
def test_a_schema(schema: dict, value: object, fits: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert build_validator(schema)(value) is fits


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objekt"}, "not valid at type"),
        ({"$ref": "#"}, "without end"),
        ({"$ref": "https://example.invalid/schema.json"}, "https://example.invalid/schema.json"),
        ({"$ref": "#/$defs/x"}, "which is not in it"),
        ({"properties": {"a": {"pattern": "("}}}, "not valid at properties/a/pattern"),
    ],
)
def test_a_schema_that_cannot_be_used(schema: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_validator(schema)


def test_a_reference_that_an_answer_meets() -> None:
    fits = build_validator({"properties": {"a": {"$ref": "https://example.invalid/x"}}})
    assert fits({"b": 1})
    with pytest.raises(ConfigError, match=r"refers to 'https://example\.invalid/x'"):
        fits({"a": "x"})


def test_a_value_too_deep_for_the_schema_does_not_fit() -> None:
    schema: dict = {"items": {"$ref": "#"}}
    for _ in range(9):
        schema = {"allOf": [schema]}
    value: object = 1
    for _ in range(99):
        value = [value]
    assert build_validator(schema)([1])
    assert not build_validator(schema)(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "is no JSON object"),
        (b"{", "is not valid JSON"),
        (b"\xff", "is not valid JSON"),
        (None, "cannot be read"),
    ],
)
def test_a_schema_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "schema.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_schema(path)


def test_a_schema_file(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(PERSON).encode())
    assert load_schema(path) == PERSON


@pytest.mark.parametrize("text", ['{"a":', "{", '{"', "```json\n", "```json\n{\n", '{"a":1}', "\\", '{"\\'])
def test_a_text_that_loops_takes_linear_time(text: str) -> None:
    start = time.perf_counter()
    find_json(text * (50_000 // len(text)))
    # Quadratic time would be minutes.
    assert time.perf_counter() - start < 10
