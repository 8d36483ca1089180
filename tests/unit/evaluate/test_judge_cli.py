"""`tuneloop judge`: options, a config file, a dry run, JSON, agreement with people, and what its errors say."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from endpoint_kit import FakeEndpoint, serving
from tuneloop.cli.judge import app
from tuneloop.core.errors import ConfigError, DataError
from unit.evaluate.judge_kit import by_points

CANARY = "sk-canary-0123456789abcdef"


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serving(answer=by_points(lambda text: text.count("good"))) as found:
        yield found


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "a.txt").write_text("good one\nbad\ngood\n")
    (tmp_path / "b.txt").write_text("bad\ngood one\nbad\n")
    (tmp_path / "p.txt").write_text("One?\nTwo?\nThree?\n")
    (tmp_path / "human.csv").write_text("id,verdict\n1,a\n2,b\n3,tie\n")
    names = {"--a": "a.txt", "--b": "b.txt", "--prompts": "p.txt"}
    return [word for option, name in names.items() for word in (option, str(tmp_path / name))]


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def at(fake: FakeEndpoint) -> list[str]:
    return ["--judge", fake.url, "--model", "judge-1"]


def test_pairs(fake: FakeEndpoint, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", CANARY)
    words = ["pairs", *files, *at(fake), "--api-key-env", "JUDGE_KEY", "--out", tmp_path / "out"]
    dry = invoke(*words, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "6 calls to judge-1" in dry.output
    assert fake.bodies == []
    result = invoke(*words, "--human", tmp_path / "human.csv")
    assert result.exit_code == 0, result.output
    assert "A wins 2, ties 0, B wins 1" in result.output
    assert "win rate of A 0.667 [" in result.output
    assert "agreement with human: 67 % equal" in result.output
    assert {headers["authorization"] for headers in fake.headers} == {f"Bearer {CANARY}"}
    again = invoke(*words, "--json")
    assert len(fake.bodies) == 6
    values = json.loads(again.stdout)
    assert values["pairs"]["wins"] == 2
    assert (values["kind"], values["folder"]) == ("judge", str(tmp_path / "out"))
    assert json.loads(invoke(*words, "--dry-run", "--json").stdout)["in_log"] == 6
    assert CANARY not in result.output + again.output


def test_a_rubric_from_a_config_file(fake: FakeEndpoint, files: list[str], tmp_path: Path) -> None:
    fake.answer = lambda body: "clarity: 4"  # noqa: ARG005 - the kit's shape
    config = tmp_path / "judge.yaml"
    criterion = {"name": "clarity", "question": "Is it clear?", "anchors": {1: "no", 5: "yes"}}
    endpoint = {"base_url": "http://elsewhere/v1", "model": "judge-1", "parameters": {"max_tokens": 50}}
    config.write_text(yaml.safe_dump({"criteria": [criterion], "endpoint": endpoint}))
    words = ["rubric", "--answers", files[1], "--prompts", files[5], "--config", config, "--out", tmp_path / "out"]
    result = invoke(*words, "--judge", fake.url, "--set", "endpoint.concurrency=1")
    assert result.exit_code == 0, result.output
    assert "clarity  4.000" in result.output
    assert (fake.bodies[0]["max_tokens"], fake.most_at_once) == (50, 1)
    config.write_text(yaml.safe_dump({"criteria": [criterion], "endpoint": endpoint, "runns": 2}))
    wrong = invoke(*words)
    assert isinstance(wrong.exception, ConfigError)
    assert "judge.yaml:" in str(wrong.exception)
    assert "Did you mean 'runs'?" in str(wrong.exception)


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        ([], ConfigError, "Give --judge URL and --model NAME"),
        (["--judge", "http://h/v1"], ConfigError, "Give --judge URL and --model NAME"),
        (["--judge", "h", "--model", "m"], ConfigError, r"^--judge: endpoint\.base_url: write a URL"),
        (["--judge", "http://h/v1", "--model", "m", "--api-key-env", CANARY], ConfigError, "not the key"),
        (["--judge", "http://h/v1", "--model", "m", "--api-key-env", "NO_SUCH_KEY"], ConfigError, "is not set"),
        (["--judge", "http://h/v1", "--model", "m", "--set", "endpoint=3"], ConfigError, "Give --judge URL"),
        (["--judge", "http://h/v1", "--model", "m", "--human", "none.csv"], DataError, "no such file"),
    ],
)
def test_what_is_wrong_is_said(
    files: list[str], tmp_path: Path, words: list[str], error: type[Exception], says: str
) -> None:
    result = invoke("pairs", *files, "--out", tmp_path / "out", *words)
    assert isinstance(result.exception, error)
    with pytest.raises(error, match=says):
        raise result.exception
    assert CANARY not in str(result.exception)
    assert not (tmp_path / "out").exists()
