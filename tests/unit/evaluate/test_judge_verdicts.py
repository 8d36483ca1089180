"""What a judge writes, read strictly; what is judged and what people said, read from files; models' names."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.core.errors import DataError
from tuneloop.evaluate.judge.caveats import same_model
from tuneloop.evaluate.judge.human import HumanRating, read_human_scores, read_human_verdicts
from tuneloop.evaluate.judge.prompts import pair_prompt, prompts_sha256, rubric_prompt
from tuneloop.evaluate.judge.rows import Answered, Pair, read_answers, read_pairs
from tuneloop.evaluate.judge.rubric import default_criteria
from tuneloop.evaluate.judge.verdicts import parse_scores, parse_verdict
from tuneloop.generate.chat import CallFailure, Completion, Usage


def reply(text: str, finish_reason: str = "stop") -> Completion:
    return Completion("k", text, finish_reason, Usage(1, 1), None, "m", 0.1, 1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[[A]]", "first"),
        ("Because.\n[[B]]\n", "second"),
        ("结论：[[C]]。", "tie"),
        ("[[A]] looked good at first, but [[B]]", "second"),
        ("<think>[[A]]? no</think>[[B]]", "second"),
        ("[[ a ]]", "first"),
        ("［［Ａ］］", "first"),
        ("**[[B]]**", "second"),
        ("[A]", None),
        ("Answer A is better", None),
        ("[[D]] [[AB]] [[]]", None),
        ("", None),
        ("[[" * 100_000, None),
    ],
)
def test_a_verdict_is_the_last_one(text: str, shown: str | None) -> None:
    parsed = parse_verdict(reply(text))
    assert parsed.shown == shown
    assert parsed.reason == ("" if shown else "no_verdict")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (reply("[[A]]", "length"), "cut"),
        (reply("[[A]]", "content_filter"), "filtered"),
        (CallFailure("k", "timeout", "", 3), "failed_timeout"),
        (CallFailure("k", "html", "", 3), "failed_html"),
    ],
)
def test_a_reply_that_did_not_end_has_no_verdict(result: Completion | CallFailure, reason: str) -> None:
    assert parse_verdict(result).reason == reason
    assert parse_scores(result, ["x"]).reason == reason
    assert parse_verdict(result).shown is None


BOTH = {"clarity": 4.0, "准确性": 2.0}


@pytest.mark.parametrize(
    "text",
    [
        '{"clarity": 4, "准确性": 2}',
        'First {"clarity": 1, "准确性": 1} I thought, then\n```json\n{"clarity": 4.0, "准确性": "2"}\n```',
        'A set {1, 2} and {"clarity": {"score": 4, "reason": "}"}, "准确性": {"score": 2}} {',
        "clarity: 4\n准确性：2",
        "- **clarity**: 4/5\n- **准确性**：2分",
        "1. clarity = 4\n2. 准确性 = 2",
        "clarity: 1\n准确性: 1\nSo, all in all:\n`clarity`: 4.\n准确性：２",
        '{"clarity": 4}\nclarity: 4\n准确性: 2',
    ],
)
def test_scores_are_json_or_lines(text: str) -> None:
    if text.endswith("2分"):
        # A unit that is glued to the number is not known; nothing is guessed.
        assert parse_scores(reply(text), list(BOTH)).reason == "missing_score"
        return
    assert parse_scores(reply(text), list(BOTH)).scores == BOTH


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing_score"),
        ("clarity is 4", "missing_score"),
        ('{"clarity": null}', "missing_score"),
        ('{"clarity": true}', "missing_score"),
        ('{"clarity": "four"}', "missing_score"),
        ('{"clarity": NaN}', "missing_score"),
        ('{"clarity": 1e999}', "missing_score"),
        ("unclarity: 4", "missing_score"),
        ("clarity: 80%", "missing_score"),
        ("clarity: 4x", "missing_score"),
        ("clarity: -4", "missing_score"),
        ('{"clarity": 0}', "out_of_range"),
        ('{"clarity": 5.5}', "out_of_range"),
        ("clarity: 45", "out_of_range"),
        ("{" * 100_000, "missing_score"),
        ('{"a":' * 20_000, "missing_score"),
        ("\n" * 100_000, "missing_score"),
    ],
)
def test_a_score_that_is_none_is_named(text: str, reason: str) -> None:
    parsed = parse_scores(reply(text), ["clarity"])
    assert (parsed.reason, parsed.scores) == (reason, {})


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    verdict = parse_verdict(reply(text))
    assert (verdict.shown is None) == (verdict.reason != "")
    scores = parse_scores(reply(text), ["clarity"])
    assert bool(scores.scores) == (scores.reason == "")


def test_prompts_say_both_orders_and_hold_every_text() -> None:
    one = Pair("1", "Why {x}?", "because a", "because b", "the reason")
    for language in ("en", "zh"):
        straight = pair_prompt(one, language, is_swapped=False)
        swapped = pair_prompt(one, language, is_swapped=True)
        for text in ("Why {x}?", "because a", "because b", "the reason", "[[A]]", "[[B]]", "[[C]]"):
            assert straight.count(text) == swapped.count(text) == 1
        assert straight.index("because a") < straight.index("because b")
        assert swapped.index("because b") < swapped.index("because a")
        without = pair_prompt(Pair("1", "Why?", "a", "b"), language, is_swapped=False)
        assert "reference" not in without.lower()
        assert "参考" not in without
        criteria = default_criteria(language)
        rubric = rubric_prompt(Answered("1", "Why?", "because"), criteria, language)
        assert all(criterion.question in rubric for criterion in criteria)
        assert all(anchor in rubric for criterion in criteria for anchor in criterion.anchors.values())
    assert prompts_sha256() == prompts_sha256()
    assert prompts_sha256() != prompts_sha256(default_criteria("en")) != prompts_sha256(default_criteria("zh"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("openai/GPT-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("qwen3:latest", "Qwen3", True),
        ("qwen3", "qwen3-8b", True),
        ("a", "b", False),
        ("", "gpt", False),
        ("", "", False),
    ],
)
def test_names_of_one_model(one: str, other: str, *, same: bool) -> None:
    assert same_model(one, other) == same_model(other, one) == same


def write(path: Path, *lines: object) -> Path:
    text = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("".join(f"{line}\n" for line in text))
    return path


def test_rows_of_an_evaluation(tmp_path: Path) -> None:
    def sample(output: str) -> dict:
        return {"row": "f.jsonl:3", "prompt": "问？", "reference": "答", "output": output, "loss": 0.5}

    a = write(tmp_path / "a.jsonl", sample("one"), "", "  ")
    b = write(tmp_path / "b.jsonl", sample("two"))
    assert read_pairs(a, b) == [Pair("f.jsonl:3", "问？", "one", "two", "答")]
    assert read_answers(a) == [Answered("f.jsonl:3", "问？", "one", "答")]


def test_rows_of_plain_files(tmp_path: Path) -> None:
    a = write(tmp_path / "a.txt", "one\u2028a", "")
    b = write(tmp_path / "b.jsonl", '"two"', {"text": "three"})
    prompts = write(tmp_path / "p.jsonl", {"question": "q1"}, '"q2"')
    references = write(tmp_path / "r.txt", "r1", "r2")
    assert read_pairs(a, b, prompts, references) == [
        Pair("1", "q1", "one\u2028a", "two", "r1"),
        Pair("2", "q2", "", "three", "r2"),
    ]


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ([{"output": "x"}], [{"output": "y"}], r"a\.jsonl:1: this answer has no prompt\. Give --prompts"),
        ([{"prompt": "p", "output": "x"}], [{"prompt": "q", "output": "y"}], r"b\.jsonl:1: its prompt is 'q'"),
        ([{"id": 1, "prompt": "p", "output": "x"}], [{"id": 2, "output": "y"}], r"b\.jsonl:1: its id is '2'"),
        (
            [{"id": 1, "prompt": "p", "output": "x"}] * 2,
            [{"output": "y"}] * 2,
            r"a\.jsonl:2: the id '1' stands in line 1",
        ),
        ([{"prompt": "p", "output": "x"}], [{"output": "y"}] * 2, "has 1 rows, .* has 2"),
        ([{"prompt": "p"}], [{"output": "y"}], r"a\.jsonl:1: no text in this row"),
        ([{"prompt": 3, "output": "x"}], [{"output": "y"}], "its 'prompt' is no string"),
        (["{"], [{"output": "y"}], r"a\.jsonl:1: not valid JSON"),
        ([], [{"output": "y"}], "the file is empty"),
    ],
)
def test_rows_that_do_not_belong_together(tmp_path: Path, a: list, b: list, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_pairs(write(tmp_path / "a.jsonl", *a), write(tmp_path / "b.jsonl", *b))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for read in (read_answers, read_human_verdicts, read_human_scores):
        with pytest.raises(DataError, match="no such file"):
            read(tmp_path / "none.jsonl")
        with pytest.raises(DataError, match="cannot be read"):
            read(tmp_path)
        (tmp_path / "latin.jsonl").write_bytes(b'"a"\n"\xe9"\n')
        with pytest.raises(DataError, match=r"not (a )?UTF-8"):
            read(tmp_path / "latin.jsonl")


def test_what_people_said(tmp_path: Path) -> None:
    expected = [HumanRating("1", "a"), HumanRating("2", "tie", rater="Li"), HumanRating("2", "b", rater="王")]
    lines = [{"id": 1, "verdict": "A"}, "", {"id": "2", "verdict": "c", "rater": "Li"}]
    jsonl = write(tmp_path / "h.jsonl", *lines, {"id": "2", "verdict": "B", "rater": "王", "note": None})
    assert read_human_verdicts(jsonl) == expected
    csv = write(tmp_path / "h.csv", "\ufeffid,verdict,rater", "1,A,", ",,", '2,tie,"Li"', "2,b,王")
    assert read_human_verdicts(csv) == expected
    scores = write(tmp_path / "s.csv", "id,criterion,score", "1,clarity,4", "1,准确性,2.5")
    assert read_human_scores(scores) == [HumanRating("1", "4", "clarity"), HumanRating("1", "2.5", "准确性")]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([{"id": 1, "verdict": "left"}], r"h\.jsonl:1: the verdict 'left' is none"),
        ([{"id": 1}], r"h\.jsonl:1: this row has no 'verdict'\. It has: id"),
        ([{"id": 1, "verdict": "a"}, {"id": 1, "verdict": "b"}], "human rates 1 twice"),
        (["[1]"], "not a JSON object"),
        (["{"], "not valid JSON"),
        ([], "holds no ratings"),
    ],
)
def test_verdicts_of_people_that_cannot_be_used(tmp_path: Path, lines: list, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_human_verdicts(write(tmp_path / "h.jsonl", *lines))


@pytest.mark.parametrize("score", ["0", "6", "nan", "inf", "1_0", "five"])
def test_scores_of_people_are_on_the_scale(tmp_path: Path, score: str) -> None:
    with pytest.raises(DataError, match=r"h\.csv:2: the score .* is no number from 1 to 5"):
        read_human_scores(write(tmp_path / "h.csv", "id,criterion,score", f"1,clarity,{score}"))
