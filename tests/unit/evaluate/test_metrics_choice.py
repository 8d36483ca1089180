"""Choices: which options are read out of realistic answers, and which texts choose nothing."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest

from tuneloop.core.errors import ConfigError, DataError
from tuneloop.evaluate.metrics.choice import Choice
from tuneloop.evaluate.metrics.letters import chosen_letters

# Written as models write, and labelled by hand before they were tried; "" chooses nothing.
LABELLED = [
    ("B", "B"),
    ("ABD", "ABD"),
    ("**C**", "C"),
    ("(D)", "D"),
    ("b", "B"),
    ("A, C", "AC"),
    ("Ａ、Ｃ", "AC"),
    ("C. The court of the defendant's domicile", "C"),
    ("B、合理行政原则属实质行政法治范畴", "B"),
    ("D：不构成犯罪", "D"),
    ("The answer is (C).", "C"),
    ("The correct answer is **B. Paris**, since it is the capital.", "B"),
    ("Answer: D", "D"),
    ("**Answer:** A\n\nExplanation: B is wrong because the notice came late.", "A"),
    ("I think the best choice here is option B.", "B"),
    ("Option C is correct because A and D confuse intent with motive.", "C"),
    ("Let's see. A is too broad. B was repealed in 2021. So the answer is C, not D.", "C"),
    ("First I thought the answer is A, but the deadline had passed. Therefore the answer is D.", "D"),
    ("The correct options are A, B, and D.", "ABD"),
    ("Both A and C are correct.", "AC"),
    ("It must be (B), a contract under seal.", "B"),
    ("A dog is an animal, so I cannot tell.", ""),
    ("The answer is a contract that was never signed.", ""),
    ("The answer is not A.", ""),
    ("The answer could be A or B.", ""),
    ("None of these options fits.", ""),
    ("I would choose B here; it is the only timely appeal.", "B"),
    ("To find it, we compute 3 * 4 = 12.\n\nThe final answer is $\\boxed{\\text{C}}$.", "C"),
    ("<think>Perhaps the answer is A. No.</think>\n\nB", "B"),
    ("A. x = 2\nB. x = 3\nC. x = 4\nD. x = 5", ""),
    ("B\n\nQuestion: Which law applies?\nAnswer: D", "B"),
    ("[正确答案]A<eoa>", "A"),
    ("[正确答案]BCD<eoa>", "BCD"),
    ("【答案】C\n【解析】A项错误，B项错误。", "C"),
    ("正确答案：B、D", "BD"),
    ("正确答案:A。", "A"),
    ("答案是AC", "AC"),
    ("答案为：ABD。", "ABD"),
    ("本题的正确答案是选项C，因为合同已经成立。", "C"),
    ("选A", "A"),
    ("故选 ABD", "ABD"),
    ("根据《民法典》第五百条，本题应选择B。", "B"),
    ("A项错误，B项错误，D项错误，故C项正确。", "C"),
    ("不能选A，因为A公司并非当事人；应选D。", "D"),
    ("若选A，则与题意不符，因此本题选C。", "C"),
    ("A选项：正确。\nB选项：错误。\nC选项：正确。\nD选项：错误。\n综上，本题选AC。", "AC"),
    ("A公司应当承担赔偿责任。", ""),
    ("答案是A公司应当赔偿。", ""),
    ("他的血型是B型，需要补充维生素C。", ""),
    ("选项A和选项D都是正确的。", "AD"),
    ("下列说法正确的是：A、C", "AC"),
    ("综上所述，说法错误的是D项。", "D"),
    ("我认为B和C都符合题意。", "BC"),
    ("正确答案不是A，而是C。", "C"),
    ("根据上述分析，只有B是正确的。", "B"),
    ("因此答案选Ｂ。", "B"),
    ("D 因为被告住所地法院有管辖权", "D"),
    ("对不起，我无法判断。", ""),
    ("答案：C\n\n问题：下列哪一项正确？\n答案：D", "C"),
    ("解析：行政处罚应当公开。\n\nB、C", "BC"),
]


@pytest.mark.parametrize(("text", "letters"), LABELLED)
def test_a_labelled_answer(text: str, letters: str) -> None:
    assert "".join(sorted(chosen_letters(text) or "")) == letters


# Written after the rules, to find where they break; the rules were then widened for most of those that they missed.
MORE = [
    ("The correct statement is C.", "C"),
    ("The answer is not B; it's D.", "D"),
    ('{"answer": "B"}', "B"),
    ("### Answer\nB", "B"),
    ("The answer is c)", "C"),
    ("a, c", "AC"),
    ("option b", "B"),
    ("\\boxed{B. \\text{Paris}}", "B"),
    ("According to Plan B, we pay.", ""),
    ("Hepatitis B is caused by a virus.", ""),
    ("The grade was a C+.", ""),
    ("Answer: A dog is an animal.", ""),
    ("答：A", "A"),
    ("应当选B、C两项", "BC"),
    ("本题为选非题，应选D。", "D"),
    ("故A、D错误，B、C正确，答案为BC", "BC"),
    ("答案是C，A选项错误", "C"),
    ("B. 不构成犯罪", "B"),
    ("B 大腿", "B"),
    ("D 市场经济", "D"),
    ("A 公司应当赔偿", ""),
    ("A和B都不对", ""),
    ("以上都不对", ""),
    ("A. This is incorrect.", ""),
    ("A. 选择\nB. 保存\nC. 延续\nD. 创新", ""),
    ("A. 甲公司\nC. 丙公司", "AC"),
    ("AAAAAAAA", ""),
    ("E", ""),
    ("", ""),
    ("\u24b7", "B"),
    ("<think>选A", ""),
]


@pytest.mark.parametrize(("text", "letters"), MORE)
def test_a_tricky_answer(text: str, letters: str) -> None:
    assert "".join(sorted(chosen_letters(text) or "")) == letters


def is_right(answer: str, *references: str, letters: str = "ABCD") -> bool:
    score, one, _ = Choice(letters).statistics(answer, references)
    assert one == 1
    return bool(score)


def test_only_the_whole_set_is_right() -> None:
    assert is_right("故选A、C。", "AC")
    assert is_right("CA", "A、C")
    assert not is_right("A", "AC")
    assert not is_right("ACD", "AC")


def test_any_reference_is_right() -> None:
    assert is_right("B", "A", "正确答案：B。")


def test_no_choice_is_wrong_and_counted() -> None:
    metric = Choice()
    totals_K = np.sum([metric.statistics(answer, ["B"]) for answer in ["B", "C", "It depends.", ""]], axis=0)
    assert metric.combine(totals_K) == 0.25
    assert metric.parts(totals_K) == {"answered": 0.5}
    assert metric.is_proportion


def test_more_letters_have_to_be_named() -> None:
    assert is_right("[正确答案]E<eoa>", "E", letters="ABCDE")
    with pytest.raises(DataError, match="names none of the options A, B, C, D"):
        is_right("E", "E")
    assert [metric.name for metric in (Choice(), Choice("ABCD"), Choice("ABCDE"))] == [
        "choice",
        "choice:ABCD",
        "choice:ABCDE",
    ]
    assert "letters:ABCDE|" in Choice("ABCDE").signature()


@pytest.mark.parametrize("letters", ["A", "abcd", "ABCDEFGHIJK", "AABB", "A|B"])
def test_letters_that_cannot_be_used(letters: str) -> None:
    with pytest.raises(ConfigError, match="choice:ABCDE"):
        Choice(letters)


def test_i_is_a_letter_only_where_it_stands_alone() -> None:
    letters = "ABCDEFGHIJ"
    assert chosen_letters("Answer: I think it depends.", letters) is None
    assert chosen_letters("Answer: I", letters) == {"I"}


@pytest.mark.parametrize(
    "text",
    [
        "A",
        " ",
        "\n",
        "答案",
        "选A",
        "A、",
        "(A)",
        "a,",
        "\\boxed{",
        "{",
        "错误的是",
        "选项",
        "<think>",
        "A.\n",
        "\ud800",
    ],
)
def test_a_text_that_loops_takes_linear_time(text: str) -> None:
    start = time.perf_counter()
    chosen_letters(text * (30_000 // len(text)))
    # Quadratic time would be minutes.
    assert time.perf_counter() - start < 10


def test_any_text_has_a_defined_choice() -> None:
    rng = random.Random("choices")
    pieces = [
        "A",
        "B",
        "、",
        " ",
        "答案",
        "是",
        "选",
        "项",
        "(",
        ")",
        ".",
        "\n",
        "the answer is ",
        "不",
        "**",
        "\\boxed{",
        "}",
    ]
    for _ in range(500):
        found = chosen_letters("".join(rng.choices(pieces, k=12)))
        assert found is None or (found and found <= set("ABCD"))


@pytest.mark.slow
@pytest.mark.shared
def test_every_gold_answer_of_cmmlu_in_every_usual_form(shared: Path) -> None:
    rows = [json.loads(line) for line in (shared / "eval_cmmlu" / "cmmlu.jsonl").read_text().splitlines()]
    assert len(rows) == 11_917
    for form in ("{a}", "正确答案：{a}。", "The answer is ({a}).", "{x}，故选{a}"):
        missed = [row for row in rows if _chosen(form, row) != {row["Answer"]}]
        assert not missed, form
    # What is left has a text like 错误 or letters in formulas.
    for form, most in (("{a}. {x}", 10), ("{a}、{x}", 40)):
        assert sum(_chosen(form, row) != {row["Answer"]} for row in rows) <= most, form
    # The right option's text without its letter chooses nothing; a few texts are letters themselves.
    assert sum(_chosen("{x}", row) is not None for row in rows) <= 20


def _chosen(form: str, row: dict[str, str]) -> frozenset[str] | None:
    return chosen_letters(form.format(a=row["Answer"], x=row[row["Answer"]]))


@pytest.mark.shared
@pytest.mark.parametrize(("task", "letters"), [("1-2", "ABCD"), ("2-8", "ABCDE"), ("3-6", "ABCD")])
def test_every_gold_answer_of_lawbench(shared: Path, task: str, letters: str) -> None:
    rows = json.loads((shared / "law_lawbench" / f"{task}.json").read_text())
    assert len(rows) == 200
    for row in rows:
        assert is_right(row["answer"], row["answer"], letters=letters)
        assert len(chosen_letters(row["answer"], letters) or "") == 1
