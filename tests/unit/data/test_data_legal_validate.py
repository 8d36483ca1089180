"""What makes a legal record unsound: one planted fault each."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import copy
from typing import Any

import pytest
from legal_strategies import RECORD
from pydantic import ValidationError

from tuneloop.data.legal.record import LegalRecord, Statute
from tuneloop.data.legal.validate import validate


def findings(**changes: Any) -> list[tuple[str, str]]:
    """Code and place of each finding; `a__0__b` names a place in the record."""
    values = copy.deepcopy(RECORD)
    for path, value in changes.items():
        *above, last = [int(key) if key.isdigit() else key for key in path.split("__")]
        here: Any = values
        for key in above:
            here = here[key]
        here[last] = value
    return [(found.code, found.where) for found in validate(LegalRecord.model_validate(values))]


def test_the_sound_record_is_sound() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"syllogism__0__major": ["S1", "S9"]}, [("unresolved_id", "syllogism[0].major[1]")]),
        ({"syllogism__0__minor": ["F9"]}, [("unresolved_id", "syllogism[0].minor[0]")]),
        ({"syllogism__0__issue": "I9"}, [("unresolved_id", "syllogism[0].issue")]),
        # A statute is no fact.
        ({"syllogism__0__minor": ["S1"]}, [("unresolved_id", "syllogism[0].minor[0]")]),
        ({"facts__1__fid": "F1", "syllogism": []}, [("duplicate_id", "facts")]),
        ({"statutes__0__valid_from": "2021-11-22"}, [("not_in_force", "statutes[0]")]),
        ({"statutes__0__valid_to": "2021-11-21"}, [("not_in_force", "statutes[0]")]),
        ({"statutes__0__valid_to": "2015-11-01"}, [("empty_validity", "statutes[0]")]),
        ({"statutes__1__article": "附则"}, [("unreadable_article", "statutes[1]"), ("unlisted_citation", "output")]),
        ({"output": RECORD["output"] + "《刑法》第六十八条。"}, [("unlisted_citation", "output")]),
        ({"output": "依照《刑法》第六十七条。"}, [("uncited_statute", "statutes[0]")]),
        ({"output": "如上。"}, [("uncited_statute", "statutes[0]"), ("uncited_statute", "statutes[1]")]),
        ({"statutes__1__law": "民法典"}, [("unlisted_citation", "output"), ("uncited_statute", "statutes[1]")]),
        ({"judgment__fine": -1}, [("negative_number", "judgment.fine")]),
        ({"judgment__imprisonment_months": -1}, [("negative_number", "judgment.imprisonment_months")]),
        ({"judgment__probation_months": -2}, [("negative_number", "judgment.probation_months")]),
        (
            {"judgment": {"life_imprisonment": True, "imprisonment_months": 12}},
            [("sentence_conflict", "judgment")],
        ),
        ({"judgment": {"life_imprisonment": True, "death_penalty": True}}, [("sentence_conflict", "judgment")]),
        ({"judgment": {"kind": "无期徒刑", "imprisonment_months": 12}}, [("sentence_conflict", "judgment")]),
        ({"judgment": {"kind": "拘役", "death_penalty": True}}, [("sentence_conflict", "judgment")]),
        (
            {"judgment": {"life_imprisonment": True, "probation_months": 12}},
            [("sentence_conflict", "judgment.probation_months")],
        ),
        ({"judgment": {"probation_months": 12}}, [("sentence_conflict", "judgment.probation_months")]),
    ],
)
def test_each_fault_is_found_where_it_is(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert findings(**changes) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"statutes__0__valid_from": "2021-11-21"},
        {"statutes__0__valid_to": "2021-11-22"},
        {"as_of": None, "statutes__0__valid_from": "2050-01-01"},
        {"output": ""},
        {"judgment": {"life_imprisonment": True, "imprisonment_months": 0, "kind": "无期徒刑"}},
        # Other law is not cited by 第…条.
        {"jurisdiction": "US", "output": "As held before.", "statutes__1__article": "s 9"},
    ],
)
def test_what_is_right_at_the_border_is_sound(changes: dict[str, Any]) -> None:
    assert findings(**changes) == []


@pytest.mark.parametrize(
    ("listed", "cited", "expected"),
    [
        ("第十条", "第十条第一款", []),
        ("第十条第一款", "第十条", ["unlisted_citation"]),
        ("第十条第一款", "第十条第二款", ["unlisted_citation", "uncited_statute"]),
        ("第十条第一款第（二）项", "第十条第（二）项", []),
        ("第十条第（二）项", "第十条第一款第（二）项", []),
        ("第十条第一款", "第十条第一款第（二）项", []),
        ("第十条", "第十条之一", ["unlisted_citation", "uncited_statute"]),
        ("第十条之一", "第十条", ["unlisted_citation", "uncited_statute"]),
    ],
)
def test_an_article_covers_its_parts_and_no_part_its_article(listed: str, cited: str, expected: list[str]) -> None:
    record = LegalRecord.model_validate(
        {"statutes": [{"sid": "S1", "law": "刑法", "article": listed}], "output": f"依照《刑法》{cited}。"}
    )
    assert [found.code for found in validate(record)] == expected


@pytest.mark.parametrize("article", ["第133条之1", "133之一", "133-1", "第一百三十三条之一"])
def test_an_article_has_one_spelling(article: str) -> None:
    record = LegalRecord.model_validate({"statutes": [{"sid": "S1", "law": "《刑法》", "article": article}]})
    assert (record.statutes[0].law, record.statutes[0].article) == ("刑法", "第一百三十三条之一")


def test_articles_of_other_countries_stay_as_they_are() -> None:
    record = LegalRecord.model_validate(
        {"jurisdiction": "UK", "statutes": [{"sid": "S1", "law": "Companies Act 2006", "article": "172"}]}
    )
    assert record.statutes[0].article == "172"


def test_a_paragraph_in_the_article_is_the_paragraph() -> None:
    statute = Statute(sid="S1", law="刑法", article="第六十七条第三款")
    assert (statute.article, statute.paragraph) == ("第六十七条", 3)
    with pytest.raises(ValidationError, match="'article' says paragraph 3"):
        Statute(sid="S1", law="刑法", article="第六十七条第三款", paragraph=1)


@pytest.mark.parametrize(
    "date", ["2021", "2021-13-01", "21-01-01", "2021-01-01T00:00:00", 1, 1.5, True, "２０２１-01-01"]
)
def test_a_date_is_an_iso_date(date: object) -> None:
    with pytest.raises(ValidationError):
        LegalRecord.model_validate({"as_of": date})
