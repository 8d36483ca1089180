"""Legal records, CAIL and DISC-Law rows as files hold them: read, refused, written back."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from legal_strategies import RECORD, texts

from tuneloop.data.content import Text
from tuneloop.data.formats import cail, disc_law, legal
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import Shape
from tuneloop.data.legal.record import LegalRecord
from tuneloop.data.legal.render import render_record
from tuneloop.data.schema import RowError

FORMATS = (legal.FORMAT, cail.FORMAT, disc_law.FORMAT)
CAIL: dict[str, Any] = {
    "fact": "甲于夜间进入乙宅，取走手机一部。",
    "meta": {
        "relevant_articles": [264, 67],
        "accusation": ["盗窃"],
        "punish_of_money": 1000,
        "criminals": ["甲"],
        "term_of_imprisonment": {"death_penalty": False, "imprisonment": 6, "life_imprisonment": False},
    },
}
PAIR: dict[str, Any] = {"id": "q_1", "input": "违章停车怎么处罚？", "output": "可以警告或者罚款。"}
TRIPLET = PAIR | {"reference": ["《甲交通法》第九十三条：对违章停车的，可以指出违法行为。"]}


def parse(format_: Format, value: Any, **columns: str) -> LegalRecord:
    found = format_.parse(value, Shape(columns=columns))
    assert isinstance(found, LegalRecord)
    return found


def refused(format_: Format, value: Any) -> tuple[str, str]:
    with pytest.raises(RowError) as caught:
        parse(format_, value)
    return caught.value.code, caught.value.reason


def changed(row: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The row with the value at a path replaced; `...` takes the key away."""
    row = copy.deepcopy(row)
    *above, last = path.split(".")
    here: Any = row
    for key in above:
        here = here[int(key)] if key.isdigit() else here[key]
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return row


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (RECORD, "legal"),
        ({"statutes": [], "facts": []}, "legal"),
        (CAIL, "cail"),
        (PAIR, "disc_law"),
        (TRIPLET, "disc_law"),
        (PAIR | {"instruction": "x"}, ""),
        ({"input": "x", "output": "y"}, ""),
        ({"fact": "x", "meta": "y"}, ""),
        ({"messages": []}, ""),
    ],
)
def test_each_row_is_recognised_by_its_own_format_only(row: dict[str, Any], name: str) -> None:
    assert [format_.name for format_ in FORMATS if format_.recognises(row)] == ([name] if name else [])


def test_a_legal_record_is_read_and_comes_back() -> None:
    record = parse(legal.FORMAT, RECORD)
    assert record.statutes[1].article == "第六十七条"
    assert record.judgment is not None
    assert record.judgment.imprisonment_months == 1
    written = legal.FORMAT.write(record)
    assert json.loads(json.dumps(written)) == written
    assert parse(legal.FORMAT, written) == record


def test_null_is_as_good_as_absent_and_meta_stays_as_it_is() -> None:
    row = changed(RECORD, "facts.0.element", None) | {"issues": None, "syllogism": None, "meta": {"a": None}}
    record = parse(legal.FORMAT, row)
    assert (record.facts[0].element, record.issues, record.meta) == ("", (), {"a": None})


def test_columns_rename_fields_and_weight_is_the_rows_own() -> None:
    row = {key: value for key, value in RECORD.items() if key != "output"} | {"answer": RECORD["output"], "weight": 2}
    assert parse(legal.FORMAT, row, output="answer").output == RECORD["output"]
    assert refused(legal.FORMAT, row)[0] == "unknown_key"


@pytest.mark.parametrize(
    ("path", "value", "code", "part"),
    [
        ("facts.0.fid", ..., "missing_key", "'facts[0].fid' is missing"),
        ("facts.0.fid", "F 1", "wrong_value", "'facts[0].fid'"),
        ("facts.0.who", "x", "unknown_key", "'facts[0].who' is not known"),
        ("speaker", "x", "unknown_key", "no field 'speaker'"),
        ("facts", "x", "wrong_type", "'facts'"),
        ("output", 3, "wrong_type", "'output'"),
        ("as_of", "21.11.2021", "wrong_value", "'as_of': a date is written as YYYY-MM-DD"),
        ("as_of", "2021-02-30", "wrong_type", "'as_of'"),
        ("judgment.fine", "2000", "wrong_type", "'judgment.fine'"),
        ("judgment.fine", True, "wrong_type", "'judgment.fine'"),
        ("judgment.death_penalty", 1, "wrong_type", "'judgment.death_penalty'"),
        ("statutes.0.paragraph", 0, "wrong_value", "'statutes[0].paragraph'"),
        ("syllogism.0.minor", ["F9"], "unresolved_id", "syllogism[0].minor[0]: there is no fact 'F9'"),
        ("statutes.0.valid_to", "2020-01-01", "not_in_force", "held until 2020-01-01"),
        ("output", "依照《刑法》第六十七条。", "uncited_statute", "'S1'"),
        ("output", RECORD["output"] + "《民法典》第一条。", "unlisted_citation", "《民法典》第一条"),
        ("judgment.life_imprisonment", True, "sentence_conflict", "life imprisonment and a number of months"),
    ],
)
def test_an_unsound_legal_record_is_left_out_with_the_place(path: str, value: Any, code: str, part: str) -> None:
    found, reason = refused(legal.FORMAT, changed(RECORD, path, value))
    assert found == code
    assert part in reason


def test_a_record_that_is_nested_too_deep_is_left_out() -> None:
    deep: Any = "x"
    for _ in range(3000):
        deep = [deep]
    assert refused(legal.FORMAT, RECORD | {"issues": deep})[0] == "wrong_value"


def test_many_findings_are_counted() -> None:
    row = changed(RECORD, "syllogism.0.minor", ["A", "B", "C", "D", "E"])
    assert refused(legal.FORMAT, row)[1].endswith("there is no fact 'C' (and 2 more)")


def test_cail_becomes_a_record_that_can_be_rendered() -> None:
    record = parse(cail.FORMAT, CAIL | {"id": 7})
    assert [(one.law, one.article) for one in record.statutes] == [
        ("中华人民共和国刑法", "第二百六十四条"),
        ("中华人民共和国刑法", "第六十七条"),
    ]
    assert record.id == "7"
    asked, answered = render_record(record).messages
    assert CAIL["fact"] in asked.content
    assert answered.content == "【罪名】\n盗窃\n【刑罚】\n刑期：6个月\n罚金：1000元"


def json_values() -> st.SearchStrategy[Any]:
    return st.none() | st.booleans() | st.integers() | texts() | st.lists(st.integers(), max_size=2)


@st.composite
def cail_rows(draw: st.DrawFn) -> dict[str, Any]:
    names = st.text("甲乙[、]a ", min_size=1, max_size=5)
    term = {
        "death_penalty": draw(st.booleans()),
        "imprisonment": draw(st.integers(-2, 400)),
        "life_imprisonment": draw(st.booleans()),
    }
    meta = draw(st.dictionaries(st.sampled_from(["province", "年份"]), json_values(), max_size=2))
    meta |= {
        "relevant_articles": draw(st.lists(st.integers(1, 452), max_size=3)),
        "accusation": draw(st.lists(names, max_size=3)),
        "term_of_imprisonment": term
        | draw(st.dictionaries(st.sampled_from(["probation", "x"]), json_values(), max_size=1)),
    }
    if draw(st.booleans()):
        meta["punish_of_money"] = draw(st.integers(-1, 10**9))
    if draw(st.booleans()):
        meta["criminals"] = draw(st.lists(names | st.just(""), max_size=2))
    row = {"fact": draw(texts(min_size=0)), "meta": meta}
    return row | ({"id": draw(names)} if draw(st.booleans()) else {})


@pytest.mark.slow
@settings(max_examples=150)
@given(cail_rows())
def test_a_cail_row_comes_back_exactly(row: dict[str, Any]) -> None:
    record = parse(cail.FORMAT, copy.deepcopy(row))
    assert json.dumps(cail.FORMAT.write(record), sort_keys=True) == json.dumps(row, sort_keys=True)


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("fact", ..., "missing_key"),
        ("fact", 3, "wrong_type"),
        ("meta", ..., "missing_key"),
        ("meta.accusation", ..., "missing_key"),
        ("meta.accusation", "盗窃", "wrong_type"),
        ("meta.accusation", ["盗窃", 3], "wrong_type"),
        ("meta.relevant_articles", ..., "missing_key"),
        ("meta.relevant_articles", ["264"], "wrong_type"),
        ("meta.relevant_articles", [True], "wrong_type"),
        ("meta.relevant_articles", [0], "wrong_type"),
        ("meta.punish_of_money", "1000", "wrong_type"),
        ("meta.term_of_imprisonment", ..., "missing_key"),
        ("meta.term_of_imprisonment", 6, "wrong_type"),
        ("meta.term_of_imprisonment.imprisonment", ..., "missing_key"),
        ("meta.term_of_imprisonment.imprisonment", 6.5, "wrong_type"),
        ("meta.term_of_imprisonment.death_penalty", 0, "wrong_type"),
        ("meta.criminals", "甲", "wrong_type"),
    ],
)
def test_a_broken_cail_row_is_left_out(path: str, value: Any, code: str) -> None:
    assert refused(cail.FORMAT, changed(CAIL, path, value))[0] == code


def test_the_statutes_of_a_triplet_are_read() -> None:
    record = parse(disc_law.FORMAT, TRIPLET)
    assert record.question == PAIR["input"]
    assert [(one.law, one.article, one.text) for one in record.statutes] == [
        ("甲交通法", "第九十三条", "对违章停车的，可以指出违法行为。")
    ]
    assert "【法条】\n[S1] 《甲交通法》第九十三条\n内容：对违章停车的" in render_record(record).messages[0].content


REFERENCES = [
    "《甲法》第九十三条：甲",
    "《甲法》第九十三条第一款：甲",
    "《甲法》第93条：甲",
    "《甲法》第九十三条 甲",
    "《甲法》第九十三条规定：甲",
    "  《甲法》第九十三条：甲",
    "《甲法》第九十三条",
    "《甲法》第九十三条：",
    "《甲法》第九十三条：\n甲\n",
    "《甲法》第一条、第二条：甲",
    "《甲法》第二条第（一）项第2目：甲",
    "民法典第三条：甲",
    "《甲法》：甲",
    "第三条：甲",
    "没有法条",
    "",
]


@pytest.mark.parametrize("reference", REFERENCES)
def test_each_way_of_writing_a_reference_comes_back_exactly(reference: str) -> None:
    row = PAIR | {"reference": [reference, reference]}
    assert disc_law.FORMAT.write(parse(disc_law.FORMAT, row)) == row


@settings(max_examples=200)
@given(
    st.fixed_dictionaries(
        {"input": texts(min_size=0), "output": texts(min_size=0)},
        optional={
            "id": st.text("ab_1", min_size=1, max_size=4),
            "reference": st.lists(
                st.builds("{}{}{}".format, st.sampled_from(REFERENCES), st.sampled_from(["", "：", " "]), texts()),
                max_size=3,
            ),
        },
    )
)
def test_a_disc_law_row_comes_back_exactly(row: dict[str, Any]) -> None:
    assert disc_law.FORMAT.write(parse(disc_law.FORMAT, copy.deepcopy(row))) == row


def test_an_answer_may_cite_more_than_its_references() -> None:
    row = TRIPLET | {"output": "依照《刑法》第二百六十四条。"}
    assert disc_law.FORMAT.write(parse(disc_law.FORMAT, row)) == row


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"input": None}, "missing_key"),
        ({"output": None}, "empty_answer"),
        ({"output": ["a"]}, "wrong_type"),
        ({"reference": "《甲法》第一条"}, "wrong_type"),
        ({"reference": [3]}, "wrong_type"),
    ],
)
def test_a_broken_disc_law_row_is_left_out(change: dict[str, Any], code: str) -> None:
    assert refused(disc_law.FORMAT, PAIR | change)[0] == code


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_other_contents_have_no_place_in_a_legal_format(format_: Format) -> None:
    with pytest.raises(RowError) as caught:
        format_.write(Text("x"))
    assert caught.value.code == "not_expressible"


@pytest.mark.parametrize(
    ("format_", "row", "part"),
    [
        (cail.FORMAT, RECORD, "no place"),
        (cail.FORMAT, PAIR, "cail cannot hold it"),
        (disc_law.FORMAT, RECORD, "no place for what the record says in: doc_type, as_of, facts, issues, statutes"),
        (disc_law.FORMAT, CAIL, "no place"),
    ],
)
def test_what_a_format_would_lose_it_does_not_write(format_: Format, row: dict[str, Any], part: str) -> None:
    source = next(one for one in FORMATS if one.recognises(row))
    with pytest.raises(RowError) as caught:
        format_.write(parse(source, row))
    assert caught.value.code == "not_expressible"
    assert part in caught.value.reason


@pytest.mark.parametrize("row", [CAIL, PAIR, TRIPLET])
def test_every_row_of_the_others_can_be_written_as_a_legal_record(row: dict[str, Any]) -> None:
    source = next(one for one in FORMATS if one.recognises(row))
    record = parse(source, row)
    written = json.loads(json.dumps(legal.FORMAT.write(record)))
    assert legal.check_record(written) == record


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_the_examples_of_the_documentation_are_rows(format_: Format) -> None:
    page = (Path(__file__).parents[3] / "docs" / "formats" / f"{format_.name}.md").read_text()
    rows = [json.loads(block.partition("```")[0]) for block in page.split("```json\n")[1:]]
    assert rows
    for row in rows:
        assert format_.recognises(row)
        assert parse(format_, format_.write(parse(format_, row))) == parse(format_, row)


@pytest.mark.slow
@pytest.mark.shared
def test_real_answers_with_their_statutes_come_back_exactly(shared: Path) -> None:
    rows = json.loads((shared / "law_lawyer_llama" / "legal_counsel_with_article_v2.json").read_text())
    rows = [
        {"id": str(number), "reference": row["laws"], "input": row["query"], "output": row["response"]}
        for number, row in enumerate(rows)
        if row["laws"]
    ]
    assert len(rows) > 500
    for row in rows:
        record = parse(disc_law.FORMAT, row)
        assert disc_law.FORMAT.write(record) == row
        assert all(one.article and not one.source for one in record.statutes)
