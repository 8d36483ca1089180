"""A judge is asked in the claim's language, and its words are read strictly."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from endpoint_kit import OK, Body, Fault, question, refused, serving
from tuneloop.cli.main import app
from tuneloop.core.errors import ConfigError, DataError
from tuneloop.core.hooks import Hooks
from tuneloop.evaluate.claims.asking import load_judge
from tuneloop.evaluate.claims.checker import Pair
from tuneloop.evaluate.claims.judge import JudgeChecker, JudgeSettings, parse_answer


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("yes", True),
        ("Yes.", True),
        ("**Yes**, because it is said.", True),
        ("Answer: yes", True),
        ("是", True),
        ("是的，原文支持。", True),
        ("支持。", True),
        ("<think>No. Or maybe no.</think>\n\nyes", True),
        ("no", False),
        ("No, the source says otherwise.", False),
        ("Not supported", False),
        ("否。", False),
        ("不支持", False),
        ("答案：否", False),
        ("", None),
        ("Perhaps.", None),
        ("yesterday", None),
        ("Nothing is known.", None),
        ("<think>yes", None),
        ("不清楚", None),
        ("The claim is supported.", None),
    ],
)
def test_answers(answer: str, verdict: bool | None) -> None:  # noqa: FBT001 - it is the expected value
    assert parse_answer(answer) is verdict


def test_each_language_is_asked_in_its_own_words() -> None:
    asked: list[str] = []

    def ask(prompts: list[str]) -> list[str]:
        asked.extend(prompts)
        return ["yes", "否", "well"]

    verdicts = JudgeChecker(ask, "m").check(
        [Pair("S {claim}", "C {source}"), Pair("原文", "说法是这样"), Pair("s", "c d")]
    )
    assert [(verdict.supported, verdict.decided) for verdict in verdicts] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    assert "<source>\nS {claim}\n</source>" in asked[0]
    assert "<claim>\nC {source}\n</claim>" in asked[0]
    assert "<原文>\n原文\n</原文>" in asked[1]


def test_one_yes_over_the_pieces_of_a_long_source_is_enough() -> None:
    source = " ".join(f"Sentence number {number} is here." for number in range(40))
    settings = JudgeSettings(chunk_tokens=100)

    def ask(prompts: list[str]) -> list[str]:
        return ["yes" if "number 33 is" in prompt.split("<claim>")[0] else "no" for prompt in prompts]

    checker = JudgeChecker(ask, "m", settings)
    assert checker.check([Pair(source, "Sentence number 33 is here.")])[0].supported
    assert not checker.check([Pair("Another text.", "Sentence number 33 is here.")])[0].supported
    unsure = JudgeChecker(lambda prompts: ["no", *["hm"] * (len(prompts) - 1)], "m", settings)
    assert not unsure.check([Pair(source, "Sentence number 33 is here.")])[0].decided


def test_an_answer_too_few_is_an_error_and_no_pair_asks_nothing() -> None:
    with pytest.raises(DataError, match="1 questions got 0 answers"):
        JudgeChecker(lambda _: [], "m").check([Pair("a", "b c")])
    assert JudgeChecker(lambda _: 1 / 0, "m").check([]) == []  # type: ignore[arg-type, return-value]


def test_the_version_holds_what_can_change_a_verdict() -> None:
    versions = {JudgeChecker(list, "m", JudgeSettings(chunk_tokens=size)).version for size in (100, 200)}
    assert len(versions) == 2


def says_every_word(body: Body) -> str:
    """Yes where each word of the claim stands in the source."""
    text = question(body)
    source = text.partition("<source>")[2].partition("</source>")[0]
    claim = text.partition("<claim>")[2].partition("</claim>")[0]
    return "yes" if claim.split() and set(claim.split()) <= set(source.split()) else "no"


def test_a_judge_from_the_command_line(tmp_path: Path) -> None:
    source = "The bridge was opened in 1931 and repaired in 1984. It is 210 metres long."
    answers = ["The bridge was opened in 1931.", "The bridge was opened in 1984. It is 300 metres long."]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in answers))
    (tmp_path / "sources.jsonl").write_text((json.dumps({"source": source.replace(" and", ".")}) + "\n") * 2)
    files = ["--predictions", tmp_path / "answers.jsonl", "--references", tmp_path / "sources.jsonl"]
    with serving(answer=says_every_word) as fake:
        (tmp_path / "judge.yaml").write_text(f"base_url: {fake.url}\nmodel: reader\nconcurrency: 8\n")
        words = ["score", "hallucination", *files, "--checker", f"judge:{tmp_path / 'judge.yaml'}"]
        words = [str(word) for word in [*words, "--calls", tmp_path / "calls.jsonl", "--json", "--items"]]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        asked = len(fake.bodies)
        again = CliRunner().invoke(app, words)
        assert len(fake.bodies) == asked
    found = json.loads(result.stdout)
    assert found["value"] == 0.5
    assert [item["supported"] for item in found["items"]] == [True, True, False]
    [shown] = found["parts"]["accuracy"]
    assert shown["language"] == "en"
    assert 0.3 < shown["accuracy"]["value"] < 0.9, "such a judge errs, and it says so"
    assert json.loads(again.stdout) == found


def test_a_call_that_fails_leaves_a_claim_undecided(tmp_path: Path) -> None:
    def fault(number: int, body: Body) -> Fault:
        return refused(400) if number and "red" in question(body) else OK

    with serving(answer=lambda _: "yes", fault=fault) as fake:
        (tmp_path / "judge.yaml").write_text(f"base_url: {fake.url}\nmodel: reader\nconcurrency: 1\n")
        judge = load_judge(tmp_path / "judge.yaml", tmp_path / "calls.jsonl", {}, Hooks())
        verdicts = judge.check([Pair("a", "blue"), Pair("a", "red")])
    assert [verdict.decided for verdict in verdicts] == [True, False]


def test_a_judge_that_is_not_described(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"judge\.yaml"):
        load_judge(tmp_path / "judge.yaml", tmp_path / "calls.jsonl", {}, Hooks())
    (tmp_path / "judge.yaml").write_text("base_url: http://127.0.0.1:1\nmodell: reader\n")
    with pytest.raises(ConfigError, match="model"):
        load_judge(tmp_path / "judge.yaml", tmp_path / "calls.jsonl", {}, Hooks())
