"""Legal records as conversations, and back."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from legal_strategies import RECORD, records

from tuneloop.data.formats.check import check_messages
from tuneloop.data.legal.record import LegalRecord
from tuneloop.data.legal.render import ORDER, Kind, parse_conversation, render_record
from tuneloop.data.schema import Message, RowError


def record(**changes: Any) -> LegalRecord:
    return LegalRecord.model_validate(copy.deepcopy(RECORD) | changes)


def rendered(value: LegalRecord, kind: Kind) -> tuple[str, str]:
    asked, answered = render_record(value, kind).messages
    return asked.content, answered.content


def test_an_answer_shows_question_facts_and_the_law_whose_text_is_known() -> None:
    asked, answered = rendered(record(), "answer")
    assert answered == RECORD["output"]
    assert asked == (
        "请依据法律回答问题，并说明理由。\n"
        "【问题】\n甲酒后驾车，是否构成犯罪？\n"
        "【事实】\n[F1] 甲饮酒后在公路上驾驶小客车。\n要素：驾驶行为\n[F2] 血液乙醇含量为每百毫升一百二十毫克。\n"
        "【法条】\n[S2] 《刑法》第六十七条\n内容：自首的规定。"
    )


def test_a_charge_shows_facts_and_asks_for_offences_and_sentence() -> None:
    asked, answered = rendered(record(), "charge")
    assert asked.startswith("请根据案件事实判断罪名和刑罚。\n【事实】\n[F1] ")
    assert "刑法" not in asked
    assert answered == "【罪名】\n危险驾驶\n【刑罚】\n刑种：拘役\n刑期：1个月\n缓刑：2个月\n罚金：2000元"


def test_a_syllogism_writes_its_premises_out() -> None:
    asked, answered = rendered(record(), "syllogism")
    assert "【法条】\n[S1] 《中华人民共和国刑法》第一百三十三条之一第一款第（二）项\n[S2]" in asked
    assert asked.endswith("【争议焦点】\n[I1] 是否构成危险驾驶罪")
    assert answered == (
        "【推理1】\n争议焦点：[I1] 是否构成危险驾驶罪\n"
        "大前提：[S1] 《中华人民共和国刑法》第一百三十三条之一第一款第（二）项\n"
        "小前提：[F1] 甲饮酒后在公路上驾驶小客车。\n小前提：[F2] 血液乙醇含量为每百毫升一百二十毫克。\n"
        "结论：构成危险驾驶罪。"
    )


def test_other_jurisdictions_are_rendered_in_english() -> None:
    law = [{"sid": "S1", "law": "Companies Act", "article": "172", "paragraph": 1, "text": "A director must act well."}]
    steps = [{"major": ["S1"], "minor": ["F1"], "conclusion": "Breach."}]
    value = record(jurisdiction="UK", statutes=law, syllogism=steps, facts=[{"fid": "F1", "text": "He did not."}])
    asked, answered = rendered(value, "syllogism")
    assert "## Law\n[S1] Companies Act\nArticle: 172\nParagraph: 1\nText: A director must act well." in asked
    assert answered == (
        "## Step 1\nMajor premise: [S1] Companies Act, 172\nMinor premise: [F1] He did not.\nConclusion: Breach."
    )


def test_no_months_beside_life_and_no_sentence_where_none_is_known() -> None:
    life = {"accusation": ["甲罪"], "life_imprisonment": True, "imprisonment_months": 0, "fine": 0}
    assert rendered(record(judgment=life), "charge")[1] == "【罪名】\n甲罪\n【刑罚】\n罚金：0元\n无期徒刑：是"
    assert rendered(record(judgment={"accusation": ["甲罪", "乙罪"]}), "charge")[1] == "【罪名】\n甲罪\n乙罪"


@pytest.mark.parametrize(
    ("missing", "chosen"),
    [((), "answer"), (("question",), "syllogism"), (("output", "statutes"), "charge"), (("output",), "syllogism")],
)
def test_auto_takes_the_first_that_the_record_holds(missing: tuple[str, ...], chosen: Kind) -> None:
    value = record(**{name: "" if name in {"question", "output"} else [] for name in missing})
    assert render_record(value, "auto") == render_record(value, chosen)


@pytest.mark.parametrize(
    ("kind", "changes", "part"),
    [
        ("answer", {"question": " "}, "answer needs 'question'"),
        ("answer", {"question": "", "output": ""}, "answer needs 'question' and 'output'"),
        ("charge", {"judgment": {"fine": 3}}, "charge needs 'judgment.accusation'"),
        ("charge", {"facts": [{"fid": "F1", "text": " "}]}, "charge needs 'facts'"),
        ("syllogism", {"statutes": []}, "syllogism needs 'statutes'"),
        ("syllogism", {"syllogism": [{"conclusion": ""}]}, "'syllogism' with conclusions"),
        ("auto", {"output": "", "facts": []}, "answer needs 'output'; syllogism needs 'facts'; charge needs 'facts'"),
    ],
)
def test_what_is_missing_is_said(kind: Kind, changes: dict[str, Any], part: str) -> None:
    with pytest.raises(RowError) as caught:
        render_record(record(**changes), kind)
    assert caught.value.code == "cannot_render"
    assert part in caught.value.reason


def test_a_premise_that_is_nowhere_cannot_be_written_out() -> None:
    with pytest.raises(RowError) as caught:
        render_record(record(syllogism=[{"major": ["S9"], "conclusion": "x"}]), "syllogism")
    assert caught.value.code == "unresolved_id"


def shown(value: LegalRecord, kind: Kind) -> dict[str, Any]:
    """What a rendering shows of a record."""
    values = value.model_dump()
    fields = {
        "answer": ("question", "facts", "output"),
        "charge": ("facts",),
        "syllogism": ("facts", "statutes", "issues", "syllogism"),
    }[kind]
    found = {name: values[name] for name in ("jurisdiction", *fields)}
    if kind == "answer":
        found["statutes"] = [one for one in values["statutes"] if one["text"]]
    if kind == "charge":
        judgment = values["judgment"]
        for_ever = judgment["death_penalty"] or judgment["life_imprisonment"]
        months = judgment["imprisonment_months"]
        found["judgment"] = judgment | {"imprisonment_months": None if for_ever and months == 0 else months}
    return found


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(records(), st.sampled_from(ORDER))
def test_a_rendering_gives_back_what_it_shows(value: LegalRecord, kind: Kind) -> None:
    conversation = render_record(value, kind)
    check_messages(conversation.messages)
    assert parse_conversation(conversation.messages) == LegalRecord.model_validate(shown(value, kind))


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(records(), st.sampled_from(ORDER), st.integers(0, 10_000), st.sampled_from(["", "\n", "x", "【", "[", "\\"]))
def test_a_changed_rendering_is_read_as_what_it_now_says_or_refused(
    value: LegalRecord, kind: Kind, place: int, change: str
) -> None:
    asked, answered = render_record(value, kind).messages
    place %= len(asked.content)
    changed = (Message("user", asked.content[:place] + change + asked.content[place + 1 :]), answered)
    try:
        found = parse_conversation(changed)
    except RowError:
        return
    assert render_record(found, kind).messages == changed


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [("user", "hello"), ("assistant", "hello")],
        [("system", "x"), ("user", "x"), ("assistant", "x")],
        [("user", "请根据案件事实判断罪名和刑罚。"), ("assistant", "【罪名】\n甲罪")],
        [("user", "请根据案件事实判断罪名和刑罚。\n【事实】\n[F1] 甲"), ("assistant", "甲罪")],
        [
            ("user", "请根据案件事实判断罪名和刑罚。\n【事实】\n[F1] 甲"),
            ("assistant", "【罪名】\n甲罪\n【刑罚】\n刑期：很长"),
        ],
        [("user", "请根据案件事实判断罪名和刑罚。\n【事实】\n[F 1] 甲"), ("assistant", "【罪名】\n甲罪")],
        [("user", "请根据案件事实判断罪名和刑罚。\n注意\n【事实】\n[F1] 甲"), ("assistant", "【罪名】\n甲罪")],
        [("user", "请根据事实和法条，以三段论逐步推理，得出结论。"), ("assistant", "【推理1】\n大前提：无")],
    ],
)
def test_text_that_is_not_ours_is_refused(turns: list[tuple[Any, str]]) -> None:
    with pytest.raises(RowError) as caught:
        parse_conversation([Message(role, content) for role, content in turns])
    assert caught.value.code == "no_legal_record"
