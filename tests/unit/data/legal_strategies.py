"""Legal records as hypothesis draws them, and one sound record of an invented case."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

from typing import Any

from hypothesis import strategies as st

from tuneloop.data.legal.provision import format_article
from tuneloop.data.legal.record import LegalRecord

RECORD: dict[str, Any] = {
    "id": "made-up-1",
    "doc_type": "criminal_judgment",
    "jurisdiction": "CN",
    "as_of": "2021-11-21",
    "question": "甲酒后驾车，是否构成犯罪？",
    "facts": [
        {"fid": "F1", "text": "甲饮酒后在公路上驾驶小客车。", "element": "驾驶行为"},
        {"fid": "F2", "text": "血液乙醇含量为每百毫升一百二十毫克。"},
    ],
    "issues": [{"iid": "I1", "text": "是否构成危险驾驶罪"}],
    "statutes": [
        {
            "sid": "S1",
            "law": "中华人民共和国刑法",
            "article": "第一百三十三条之一",
            "paragraph": 1,
            "item": 2,
            "valid_from": "2015-11-01",
            "valid_to": None,
        },
        {"sid": "S2", "law": "刑法", "article": "67", "text": "自首的规定。"},
    ],
    "syllogism": [{"issue": "I1", "major": ["S1"], "minor": ["F1", "F2"], "conclusion": "构成危险驾驶罪。"}],
    "judgment": {
        "accusation": ["危险驾驶"],
        "kind": "拘役",
        "imprisonment_months": 1,
        "probation_months": 2,
        "fine": 2000,
    },
    "output": "依照《刑法》第一百三十三条之一第一款第（二）项、第六十七条第三款，构成危险驾驶罪。",
}

# Lines that look like ours, in both languages.
_LINES = [
    "【事实】",
    "【推理2】",
    "## Facts",
    "## Step 2",
    "[F1] x",
    "要素：",
    "结论：",
    "Conclusion: y",
    "\\",
    "\\【",
    "",
    " ",
]


def texts(min_size: int = 1) -> st.SearchStrategy[str]:
    line = st.sampled_from(_LINES) | st.text("甲乙a【】[]\\#：: \r\u2028", max_size=6)
    return st.lists(line, min_size=1, max_size=4).map("\n".join).filter(lambda text: len(text.strip()) >= min_size)


def lines() -> st.SearchStrategy[str]:
    return st.text("甲乙【[]\\#：、a ", min_size=1, max_size=6)


def ids() -> st.SearchStrategy[str]:
    return st.text("FSI12-._甲", min_size=1, max_size=4)


@st.composite
def records(draw: st.DrawFn) -> LegalRecord:
    """Any record whose ids resolve and which can be rendered in each of the three ways."""

    def parts(name: str, fields: dict[str, st.SearchStrategy[Any]], min_size: int = 1) -> list[dict[str, Any]]:
        names = draw(st.lists(ids(), min_size=min_size, max_size=3, unique=True))
        return [{name: one} | draw(st.fixed_dictionaries(fields)) for one in names]

    number = st.none() | st.integers(-3, 500)
    is_chinese = draw(st.booleans())
    articles = st.builds(format_article, st.integers(1, 2000), st.integers(0, 3))
    facts = parts("fid", {"text": texts(), "element": st.just("") | texts()})
    issues = parts("iid", {"text": texts()}, min_size=0)
    statutes = parts(
        "sid",
        {
            "law": st.text("甲乙法（）a", min_size=1, max_size=5),
            "article": articles if is_chinese else st.sampled_from(["172", "s 9(1)", "Art. 5"]),
            "paragraph": st.none() | st.integers(1, 12),
            "item": st.none() | st.integers(1, 12),
            "text": st.just("") | texts(),
        },
    )
    steps = [
        {
            "issue": draw(st.sampled_from(["", *(issue["iid"] for issue in issues)])),
            "major": draw(st.lists(st.sampled_from([one["sid"] for one in statutes]), max_size=2)),
            "minor": draw(st.lists(st.sampled_from([one["fid"] for one in facts]), max_size=2)),
            "conclusion": draw(texts()),
        }
        for _ in range(draw(st.integers(1, 3)))
    ]
    judgment = {
        "accusation": draw(st.lists(lines(), min_size=1, max_size=3)),
        "kind": draw(st.sampled_from(["", "拘役", "刑期：3"])),
        "imprisonment_months": draw(number),
        "probation_months": draw(number),
        "fine": draw(number),
        "death_penalty": draw(st.booleans()),
        "life_imprisonment": draw(st.booleans()),
    }
    return LegalRecord.model_validate(
        {
            "jurisdiction": "CN" if is_chinese else "",
            "question": draw(texts()),
            "facts": facts,
            "issues": issues,
            "statutes": statutes,
            "syllogism": steps,
            "judgment": judgment,
            "output": draw(texts()),
        }
    )
