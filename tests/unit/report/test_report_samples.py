from itertools import pairwise

import pytest
from fake_runs import cases, make_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from growth import is_linear
from tuneloop.report import figures
from tuneloop.report.diff import align, compare
from tuneloop.report.samples import choose, pair_up


def marked(output: str, reference: str) -> str:
    pieces, relation = compare(output, reference)
    signs = {"same": "{}", "extra": "+{}+", "missing": "-{}-"}
    return relation + ": " + "".join(signs[piece.kind].format(piece.text) for piece in pieces)


def test_marks_words_not_letters():
    assert marked("Penalty: 40 marks.", "Penalty: 50 marks.") == "near: Penalty: -50-+40+ marks."


def test_marks_chinese_sign_by_sign():
    assert marked("依据：第七条第二款。", "依据：第七条第一款。") == "near: 依据：第七条第-一-+二+款。"  # noqa: RUF001


def test_changed_words_in_a_row_are_one_mark():
    assert marked("no fine, second time here", "no fine, first offence here") == (
        "near: no fine, -first offence-+second time+ here"
    )


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="abc", max_size=12), st.text(alphabet="abc", max_size=12))
def test_alignment_is_a_longest_common_subsequence(one, two):
    lengths = [[0] * (len(two) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one, 1):
        for j, b in enumerate(two, 1):
            lengths[i][j] = lengths[i - 1][j - 1] + 1 if a == b else max(lengths[i - 1][j], lengths[i][j - 1])
    matches = align(one, two)
    assert len(matches) == lengths[-1][-1]
    assert all(one[i] == two[j] for i, j in matches)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(matches))


def test_looping_answers_are_marked_at_once():
    assert compare("好" * 1500, "好的" * 700)[1] == "near"
    assert is_linear(lambda length: compare("好" * (2 * length), "好的" * length), 1000)


def test_same_and_far_answers_stay_plain():
    assert marked(" yes ", "yes") == "same:  yes "
    assert marked("I cannot say", "Charge: false flag. Penalty: 30 marks.") == "far: I cannot say"
    assert compare("", "yes") == ((), "far")
    assert compare("a b " * 2000, "a c " * 2000)[1] == "long"


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_pieces_give_back_both_texts(output, reference):
    pieces, relation = compare(output, reference)
    assert "".join(piece.text for piece in pieces if piece.kind != "missing") == output
    if relation == "near":
        assert "".join(piece.text for piece in pieces if piece.kind != "extra") == reference


def test_improved_come_first_then_the_worst_and_none_comes_twice():
    rows = cases(64)
    pairs = pair_up(make_samples(rows, None, 1), make_samples(rows, 0.7, 2))
    chosen = choose(pairs, "exact_match", higher_is_better=True, seed=7)
    groups = [group for group, _ in chosen]
    assert groups[:12] == ["improved"] * 4 + ["worst"] * 4 + ["random"] * 4
    assert len(chosen) == 60
    assert len({pair.after.row for _, pair in chosen}) == 60
    assert all(pair.after.scores["exact_match"] == 1 for group, pair in chosen if group == "improved")
    assert all(pair.after.scores["exact_match"] == 0 for group, pair in chosen if group == "worst")
    assert chosen == choose(pairs, "exact_match", higher_is_better=True, seed=7)
    assert chosen != choose(pairs, "exact_match", higher_is_better=True, seed=8)


def test_rows_that_got_worse_are_the_worst_and_not_the_improved():
    rows = cases(20)
    good, bad = make_samples(rows, 1.0, 1), make_samples(rows, None, 2)
    after = [*bad[:3], *good[3:]]
    chosen = choose(pair_up(good, after), "exact_match", higher_is_better=True, seed=1)
    assert {pair.after.row for group, pair in chosen if group == "worst"} >= {row for row, _, _ in rows[:3]}
    assert not [group for group, _ in chosen if group == "improved"]


def test_loss_counts_downwards():
    rows = cases(9)
    pairs = pair_up(make_samples(rows, None, 1), make_samples(rows, 0.5, 2))
    chosen = choose(pairs, "loss", higher_is_better=False, seed=1)
    drops = [pair.before.loss - pair.after.loss for pair in pairs]
    assert chosen[0][0] == "improved"
    assert chosen[0][1].loss_drop == max(drops)


def test_rows_without_a_partner_are_the_best_not_the_improved():
    chosen = choose(pair_up([], make_samples(cases(9), 0.5, 2)), "exact_match", higher_is_better=True, seed=1)
    assert chosen[0][0] == "best"
    assert choose([], None, higher_is_better=True, seed=1) == []


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.count(1_234_567), "1,234,567"),
        (figures.score(-0.001), "0.00"),
        (figures.signed(0.81), "+0.81"),
        (figures.signed(-0.05), "\N{MINUS SIGN}0.05"),
        (figures.significant(1234.5), "1,234"),
        (figures.significant(2e-5), "2e\N{MINUS SIGN}5"),
        (figures.loss(0.2), "0.200"),
        (figures.plain(1e-6), "1e-6"),
        (figures.plain(0.0002), "0.0002"),
        (figures.percent(0.0344), "3.4\N{NO-BREAK SPACE}%"),
        (figures.percent(0.00071), "0.071\N{NO-BREAK SPACE}%"),
        (figures.duration(192), "3 min 12 s"),
        (figures.duration(59.7), "1 min 0 s"),
        (figures.duration(7325), "2 h 2 min"),
        (figures.duration(0.42), "0.4 s"),
        (figures.size(1_934_000_000), "1.80 GiB"),
        (figures.size(93_000_000), "88.7 MiB"),
        (figures.language_of("港口条例"), "zh"),
        (figures.language_of("みなと"), "ja"),
        (figures.language_of("harbour"), None),
        (figures.clean("全角\u3000👩‍⚖️ ok"), "全角\u3000👩‍⚖️ ok"),
    ],
)
def test_figures(shown, expected):
    assert shown == expected
