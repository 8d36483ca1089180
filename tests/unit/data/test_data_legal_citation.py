"""Citations of Chinese law: each way of writing them, and what is none."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.data.legal.citation import Citation, find_citations, format_citation
from tuneloop.data.legal.law_names import normalise_law
from tuneloop.data.legal.provision import Provision, format_provision, parse_provision

MADE_UP = "甲乙法"
"""A law that no list knows."""


def short(text: str, law: str = "") -> list[str]:
    """`law article[-suffix][/paragraph][.item][:subitem]` of each citation."""
    return [
        f"{found.law} {found.article}"
        + (f"-{found.article_suffix}" if found.article_suffix else "")
        + (f"/{found.paragraph}" if found.paragraph else "")
        + (f".{found.item}" if found.item else "")
        + (f":{found.subitem}" if found.subitem else "")
        for found in find_citations(text, law)
    ]


ONE = [
    ("《刑法》第一百三十三条之一第一款第（二）项", "刑法 133-1/1.2"),
    ("《刑法》第一百三十三条之一第一款第(二)项", "刑法 133-1/1.2"),
    ("《刑法》第一百三十三条之一第一款第二项", "刑法 133-1/1.2"),
    ("《刑法》 第 133 条之一 第 1 款 第（ 2 ）项", "刑法 133-1/1.2"),
    ("《刑法》第２３４条", "刑法 234"),
    ("《刑法》第㈡条", "刑法 2"),
    ("《刑法》第234条", "刑法 234"),
    ("《刑法》的第 67 条", "刑法 67"),
    ("《刑法》第二三四条", "刑法 234"),
    ("《刑法》第二十条第（一）项第2目", "刑法 20.1:2"),
    ("《甲税法》第二条之规定", "甲税法 2"),
    ("《刑法》第二条之一般规定", "刑法 2"),
    ("《中华人民共和国刑法（2020修正）》第一条", "中华人民共和国刑法（2020修正） 1"),
    ("《中华人民共和国刑法》（2020年修正）第一条", "中华人民共和国刑法 1"),
    ("《最高人民法院关于适用〈甲法〉的解释（一）》第二条", "最高人民法院关于适用〈甲法〉的解释（一） 2"),
    ("《关于适用《甲法》的解释》第二条", "关于适用《甲法》的解释 2"),
    ("根据刑法第二条", "刑法 2"),
    ("根据中华人民共和国刑法第二条", "中华人民共和国刑法 2"),
    ("违反劳动合同法的第二条", "劳动合同法 2"),
    ("根据罗马规约第12条", "罗马规约 12"),
    ("依照某某省河道管理条例第三条", "某某省河道管理条例 3"),
    ("违反道路交通安全法实施条例第三条", "道路交通安全法实施条例 3"),
    ("刑法修正案（八）第三条", "刑法修正案（八） 3"),
    ("德国刑法第三条", "德国刑法 3"),
    ("香港特别行政区基本法第四条", "香港特别行政区基本法 4"),
]


@pytest.mark.parametrize(("text", "expected"), ONE)
def test_one_citation(text: str, expected: str) -> None:
    assert short(text) == [expected]


MANY = [
    ("《刑法》第一百一十四条、第一百一十五条", ["刑法 114", "刑法 115"]),
    ("《刑法》第十条和十二条", ["刑法 10", "刑法 12"]),
    ("刑法第264、267条", ["刑法 264", "刑法 267"]),
    ("《刑法》第十条至第十二条", ["刑法 10", "刑法 11", "刑法 12"]),
    ("《刑法》第10-12条", ["刑法 10", "刑法 11", "刑法 12"]),
    ("《刑法》第十条之一至第十条之三", ["刑法 10-1", "刑法 10-2", "刑法 10-3"]),
    ("《刑法》第十条第（一）、（三）项", ["刑法 10.1", "刑法 10.3"]),
    ("《刑法》第十条第（一）（三）项", ["刑法 10.1", "刑法 10.3"]),
    ("《刑法》第十条第（一）项、第（三）项", ["刑法 10.1", "刑法 10.3"]),
    ("《刑法》第十条第一项至第三项", ["刑法 10.1", "刑法 10.2", "刑法 10.3"]),
    ("《刑法》第十条第一款、第三款第二项，第十一条", ["刑法 10/1", "刑法 10/3.2", "刑法 11"]),
    ("《刑法》第一条，第六十七条，第七十二条", ["刑法 1", "刑法 67", "刑法 72"]),
    ("《刑法》第一条、《民法典》第二条，第三条", ["刑法 1", "民法典 2", "民法典 3"]),
    ("《刑法》第一条有规定。根据第二条，应当如此。", ["刑法 1", "刑法 2"]),
    ("《刑法》第一条第一款。第二款规定了例外", ["刑法 1/1", "刑法 1/2"]),
    ("《刑法》第一条……该条第三款", ["刑法 1", "刑法 1/3"]),
    ("《刑法》有规定，特别是第五条", ["刑法 5"]),
    ("《刑法》第一条：依照本法第二条处罚", ["刑法 1", "刑法 2"]),
    ("《甲条例》第一条，《刑法》第二条。该条例第三条、同法第四条", ["甲条例 1", "刑法 2", "甲条例 3", "刑法 4"]),
    ("《甲乙丙法》（以下简称《甲法》）。《甲法》第三条", ["甲乙丙法 3"]),
    ("《甲乙丙法》（以下简称“甲法”）。根据甲法第三条", ["甲乙丙法 3"]),
    ("《关于某事的解释》（下称解释）第一条。解释第三条", ["关于某事的解释 1", "关于某事的解释 3"]),
    ("依据：《刑法》\n第十条 甲", ["刑法 10"]),
    ("依据《刑法》：\n第十条 甲", ["刑法 10"]),
]


@pytest.mark.parametrize(("text", "expected"), MANY)
def test_lists_ranges_and_what_follow_ups_inherit(text: str, expected: list[str]) -> None:
    assert short(text) == expected


NONE = [
    "第三条规定",
    "本法第三条",
    "合同第三条约定",
    "根据本合同第三条、第四条",
    "《房屋租赁合同》第五条第（10）项",
    "《补充协议》的第五条",
    "公司章程第三条",
    "保险条款第七条",
    "起诉书第二条",
    "依法第三条",
    "这种方法第三条",
    "有关规定第三条",
    "《某某日报》报道第一版",
    "《刑法》规定了第一条短信",
    "《刑法》第一百三条",
    "《刑法》第零条",
    "《刑法》第二章第三节",
    "第一，第二，第三项请求",
]


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_citation(text: str) -> None:
    assert short(text) == []


@pytest.mark.parametrize("contract", ["合同第三条", "《甲乙合同》第三条", "协议中第三条", "公司章程的第三条"])
def test_nothing_inherits_across_an_article_of_a_contract(contract: str) -> None:
    assert short(f"《刑法》第一条，而{contract}，第四条、第五条，第二款规定。第六条规定。") == ["刑法 1"]


def test_a_list_after_what_is_no_citation_is_none_either() -> None:
    assert short("《刑法》第一条。违反有关规定第三条、第四条") == ["刑法 1"]


def test_a_law_that_is_named_again_ends_the_contract() -> None:
    assert short("《刑法》第一条，合同第三条，该法第四条，第五条") == ["刑法 1", "刑法 4", "刑法 5"]


def test_a_heading_of_an_article_is_no_citation_and_nothing_lies_in_the_article_before() -> None:
    assert short("第一条 甲适用《刑法》第九条。\n\n第二条 有第一款规定的情形。", "甲法") == ["刑法 9"]


def test_in_a_law_of_its_own_this_law_is_that_law() -> None:
    text = "依照《刑法》第九条。\n\n第二条 违反本法第三条、第四条，依据《乙法》第五条。第六条另有规定。"
    assert short(text, "甲法") == ["刑法 9", "甲法 3", "甲法 4", "乙法 5", "甲法 6"]
    assert short("《刑法》第九条适用于违反本法第三条的人", "甲法") == ["刑法 9", "甲法 3"]


def test_places_are_those_of_the_text() -> None:
    text = "根据《刑法》 第１０条第一款、第三款，以及民法典第（二）条和第 5 条。"
    assert [text[found.start : found.end] for found in find_citations(text)] == [
        "《刑法》 第１０条第一款",
        "第三款",
        "民法典第（二）条",
        "第 5 条",
    ]


def test_members_of_one_list_share_its_place() -> None:
    text = "《刑法》第十条第（一）、（二）项"
    assert {(found.start, found.end) for found in find_citations(text)} == {(0, len(text))}


def test_a_range_that_no_law_has_gives_its_ends_only() -> None:
    assert short("《刑法》第一条至第九万条") == ["刑法 1", "刑法 90000"]
    assert short("《刑法》第九条至第三条") == ["刑法 9", "刑法 3"]


def provisions() -> st.SearchStrategy[Provision]:
    part = st.none() | st.integers(1, 30)
    return st.builds(Provision, st.integers(1, 2000), st.integers(0, 12), part, part)


@settings(max_examples=200)
@given(st.sampled_from(["刑法", MADE_UP, "关于适用〈甲法〉的解释（二）"]), provisions(), st.none() | st.integers(1, 9))
def test_what_is_written_is_found_again(law: str, place: Provision, subitem: int | None) -> None:
    subitem = subitem if place.item else None
    written = Citation(law, place.article, place.article_suffix, place.paragraph, place.item, subitem)
    text = f"依照{format_citation(written)}的规定"
    (found,) = find_citations(text)
    assert (found.law, found.provision()) == (law, written.provision())
    assert text[found.start : found.end] == format_citation(written)


@settings(max_examples=200)
@given(provisions())
def test_a_provision_is_read_as_it_is_written(place: Provision) -> None:
    assert parse_provision(format_provision(place)) == place


@pytest.mark.parametrize(
    "text", ["133条之一", "133-1", "第133条之1", " 第一百三十三条之一 ", "一百三十三之一条", "第133條之一"]
)
def test_short_spellings_of_an_article_are_read(text: str) -> None:
    assert parse_provision(text) == Provision(133, 1)


@pytest.mark.parametrize("text", ["", "附则", "s 9(1)", "第零条", "第一百三条", "第一条第一条", "第一条甲"])
def test_what_names_no_article_is_none(text: str) -> None:
    assert parse_provision(text) is None


PIECES = [
    "《",
    "》",
    "刑法",
    "第",
    "十",
    "条",
    "款",
    "项",
    "（",
    "）",
    "、",
    "至",
    "合同",
    "本法",
    "。",
    "\n",
    " ",
    "之一",
    "9",
    "简称",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_is_read_and_places_lie_in_it(text: str) -> None:
    last = 0
    for found in find_citations(text):
        assert last <= found.start < found.end <= len(text)
        assert "条" in text[: found.end]
        last = found.start


@pytest.mark.parametrize(
    "text",
    [
        "第 " * 30_000,
        "第十" + " " * 60_000,
        "《" * 60_000,
        "第（" * 30_000,
        "《刑法》" + "第一条、" * 8_000,
        "法" * 60_000 + "第一条",
    ],
    ids=["marks", "blanks", "titles", "brackets", "list", "name"],
)
@pytest.mark.timeout(5)
def test_hostile_texts_take_no_time(text: str) -> None:
    assert len(find_citations(text)) <= 8_000


@pytest.mark.parametrize(
    "name",
    ["《中华人民共和国刑法》", "刑法（2020修正）", "中华人民共和国刑法(2017年修正本)", " 刑 法 ", "〈刑法〉"],
)
def test_names_of_one_law_are_equal(name: str) -> None:
    assert normalise_law(name) == "刑法"


@pytest.mark.parametrize(
    ("name", "other"),
    [("解释（一）", "解释（二）"), ("刑法", "刑法修正案（八）"), ("民法典", "民法通则"), ("刑法", "刑事诉讼法")],
)
def test_names_of_two_laws_are_not(name: str, other: str) -> None:
    assert normalise_law(name) != normalise_law(other)


def test_usual_short_names_mean_the_law() -> None:
    assert normalise_law("民诉法") == normalise_law("《中华人民共和国民事诉讼法（2023修正）》")


@pytest.mark.shared
def test_nearly_every_article_that_real_answers_name_is_found(shared: Path) -> None:
    rows = json.loads((shared / "law_lawyer_llama" / "legal_counsel_with_article_v2.json").read_text())
    heads = [law.partition("：")[0] for row in rows if isinstance(row["laws"], list) for law in row["laws"]]
    found = [find_citations(head) for head in heads]
    assert len(heads) > 1000
    assert all(len(one) == 1 and one[0].end == len(head) for one, head in zip(found, heads, strict=True))
