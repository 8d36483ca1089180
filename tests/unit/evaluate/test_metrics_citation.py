"""Citations: which articles are cited, which were expected, which do not exist."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
from pathlib import Path

import numpy as np
import pytest

from tuneloop.core.errors import DataError
from tuneloop.evaluate.metrics.citation import Citations, cited_articles
from tuneloop.evaluate.metrics.statute_book import Article, StatuteBook, law_key

BOOK = StatuteBook.of([Article("刑法", 1), Article("刑法", 2), Article("刑法", 133, 1), Article("民法典", 3)])


@pytest.mark.parametrize(
    ("text", "articles"),
    [
        ("《中华人民共和国刑法》第一条、第二条和第六十七条第三款", [("刑法", 1, 0), ("刑法", 2, 0), ("刑法", 67, 0)]),
        ("依照《刑法》第133条之一，又据刑法第１３３条之一第二款", [("刑法", 133, 1)]),
        ("民诉法第三条", [("民事诉讼法", 3, 0)]),
        ("《民法典》合同编第五百条和《民法典·物权编》第二百零五条", [("民法典", 500, 0), ("民法典", 205, 0)]),
        ("法条:刑法第349、348、354条", [("刑法", 349, 0), ("刑法", 348, 0), ("刑法", 354, 0)]),
        ("第五条", []),
        ("按照合同第五条", []),
        ("", []),
    ],
)
def test_cited_articles(text: str, articles: list[tuple[str, int, int]]) -> None:
    assert cited_articles(text) == {Article(*article) for article in articles}


def total(metric: Citations, *pairs: tuple[str, str]) -> np.ndarray:
    return np.sum([metric.statistics(answer, [reference]) for answer, reference in pairs], axis=0)


def test_by_hand() -> None:
    metric = Citations()
    totals_K = total(metric, ("《刑法》第一条、第二条", "刑法第二条和第三条"))
    assert metric.combine(totals_K) == 1 / 2
    assert metric.parts(totals_K) == {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2}


def test_a_set_is_the_f1_of_its_sums() -> None:
    metric = Citations()
    totals_K = total(
        metric,
        ("刑法第一条", "刑法第一条、第二条、第三条"),
        ("无", "民法典第三条"),
        ("刑法第九条、第八条", "没有引用"),
    )
    # 1 right, 3 cited, 4 expected.
    assert metric.combine(totals_K) == pytest.approx(2 / 7)
    assert metric.parts(totals_K) == pytest.approx({"precision": 1 / 3, "recall": 1 / 4, "f1": 2 / 7})


def test_what_is_not_in_the_book_is_invented() -> None:
    metric = Citations(BOOK)
    totals_K = total(metric, ("刑法第一条、第九百条、第一百三十三条；《民法典》第三条；公司法第一条", "刑法第一条"))
    parts = metric.parts(totals_K)
    # Of four articles of laws that the book holds, 900 and 133 (which is not 133-1) are not there.
    assert (parts["invented"], parts["unknown_law"]) == (2 / 4, 1 / 5)
    assert parts["precision"] == 1 / 5


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("无", "无", {"precision": 1, "recall": 1, "f1": 1, "invented": 0, "unknown_law": 0}),
        ("无", "刑法第一条", {"precision": 0, "recall": 0, "f1": 0, "invented": 0, "unknown_law": 0}),
        ("公司法第一条", "无", {"precision": 0, "recall": 0, "f1": 0, "invented": 0, "unknown_law": 1}),
    ],
)
def test_nothing_of_nothing_is_defined(answer: str, reference: str, expected: dict[str, float]) -> None:
    assert Citations(BOOK).parts(total(Citations(BOOK), (answer, reference))) == expected


def test_the_best_reference_counts() -> None:
    metric = Citations()
    assert metric.sample_value(metric.statistics("刑法第二条", ["刑法第一条", "刑法第二条", "刑法第二条、第三条"])) == 1


@pytest.mark.parametrize(
    ("law", "key"),
    [
        ("中华人民共和国刑法（2020修正）", "刑法"),
        ("公司法(2023-12-29)", "公司法"),
        ("民法典合同编", "民法典"),
        ("中华人民共和国民法典·婚姻家庭编", "民法典"),
        ("民法总则", "民法总则"),
        ("民法典", "民法典"),
    ],
)
def test_the_key_of_a_law(law: str, key: str) -> None:
    assert law_key(law) == key


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def test_a_book_is_read(tmp_path: Path) -> None:
    rows = [
        {"law": "《中华人民共和国刑法》", "article": "第一条", "text": "..."},
        {"law": "刑法", "article": "第133条之一"},
        {"law": "刑法", "article": 2},
        {"law": "公司法(2023-12-29)", "article": "第二条"},
        {"law": "公司法(2018-10-26)", "article": "第二条"},
        {"law": "总则", "category": "民法典", "article": "第三条"},
        {"law": "总则", "category": "其他", "article": "第三条"},
    ]
    book = StatuteBook.load(write(tmp_path / "book.jsonl", *rows))
    expected = {("刑法", 1, 0), ("刑法", 133, 1), ("刑法", 2, 0), ("公司法", 2, 0), ("民法典", 3, 0), ("总则", 3, 0)}
    assert book.articles == {Article(*article) for article in expected}
    assert book.laws == {"刑法", "公司法", "民法典", "总则"}
    assert book.digest() == StatuteBook.load(write(tmp_path / "other.jsonl", *reversed(rows))).digest()
    assert book.digest()[:12] in Citations(book).signature()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"article": "第一条"}, r"book\.jsonl:2: the row names no law"),
        ({"law": " ", "article": "第一条"}, "names no law"),
        ({"law": "刑法"}, r"book\.jsonl:2: '' is no article"),
        ({"law": "刑法", "article": "序言"}, "'序言' is no article"),
        ([1], "names no law"),
    ],
)
def test_a_row_that_is_no_article(tmp_path: Path, row: object, message: str) -> None:
    path = write(tmp_path / "book.jsonl", {"law": "刑法", "article": "第一条"}, row)
    with pytest.raises(DataError, match=message):
        StatuteBook.load(path)


@pytest.mark.parametrize("content", [None, b"", b"{\n", b"\xff\xfe"])
def test_a_file_that_is_no_book(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "book.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"book\.jsonl"):
        StatuteBook.load(path)


def test_hostile_texts_have_a_value() -> None:
    metric = Citations(BOOK)
    for text in (
        "《" * 5000,
        "第" * 5000,
        "刑法第" + "一" * 5000 + "条",
        "\ud800",
        "刑法第一条" * 2000,
        "《刑法》第一至九百条",
    ):
        value = metric.sample_value(metric.statistics(text, ["刑法第一条"]))
        assert 0 <= value <= 1


@pytest.mark.shared
@pytest.mark.parametrize(("task", "fewest"), [("3-1", 200), ("3-2", 195), ("3-8", 200)])
def test_lawbench_cites_what_exists(shared: Path, task: str, fewest: int) -> None:
    metric = Citations(StatuteBook.load(shared / "law_statutes_zh" / "articles.jsonl"))
    answers = [row["answer"] for row in json.loads((shared / "law_lawbench" / f"{task}.json").read_text())]
    assert sum(bool(cited_articles(answer)) for answer in answers) >= fewest
    totals_K = total(metric, *((answer, answer) for answer in answers))
    parts = metric.parts(totals_K)
    assert (metric.combine(totals_K), parts["precision"], parts["recall"]) == (1, 1, 1)
    # Two gold answers of 3-2 cite articles that the law they name does not have.
    assert parts["invented"] < 0.04
    assert (parts["invented"] == 0) == (task != "3-2")


@pytest.mark.shared
def test_a_real_book(shared: Path) -> None:
    book = StatuteBook.load(shared / "law_statutes_zh" / "articles.jsonl")
    assert {Article("民法典", number) for number in range(1, 1261)} <= book.articles
    assert Article("民法典", 1261) not in book.articles
    assert Article("刑法", 133, 1) in book.articles
