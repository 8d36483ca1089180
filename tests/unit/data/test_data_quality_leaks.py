"""Held-out rows that training rows give away."""

import random

import pytest

from tuneloop.core.errors import ConfigError
from tuneloop.data.quality.leaks import Leak, LeakRules, find_leaks
from tuneloop.data.quality.ngrams import ngrams

CHANCE = random.Random(5)
WORDS = ["".join(CHANCE.choices("abcdefghijklm", k=CHANCE.randint(3, 8))) for _ in range(4000)]


def words(number):
    return " ".join(CHANCE.choice(WORDS) for _ in range(number))


def chinese(number):
    return "".join(chr(0x4E00 + CHANCE.randrange(5000)) for _ in range(number))


def test_each_kind_is_found_and_both_rows_are_named():
    same, near, told = words(12), words(40), words(40)
    train = [words(30), same.upper() + " !", words(30), near + " perhaps", f"{words(60)} {told} {words(60)}"]
    found = find_leaks(train, [words(30), same, near, told])
    assert [(leak.train, leak.eval, leak.kind) for leak in found] == [(1, 1, "exact"), (3, 2, "near"), (4, 3, "ngram")]
    assert found[0].similarity == found[2].similarity == 1.0
    assert 0.8 <= found[1].similarity < 1


def test_a_chinese_row_told_inside_a_longer_one_is_found():
    told = chinese(60)
    assert find_leaks([chinese(300), chinese(200) + told + chinese(200)], [chinese(60), told]) == [
        Leak(1, 1, "ngram", 1.0)
    ]


@pytest.mark.parametrize(("kept", "is_leak"), [(34, True), (20, False)])
def test_the_share_of_runs_decides(kept, is_leak):
    told = words(40).split()
    train = [f"{words(100)} {' '.join(told[:kept])} {words(100)}"]
    found = find_leaks(train, [" ".join(told)])
    assert bool(found) is is_leak
    if is_leak:
        assert found[0].similarity == pytest.approx((kept - 12) / 28)


def test_the_share_is_of_one_training_row():
    told = words(60).split()
    train = [f"{words(100)} {' '.join(told[start : start + 32])}" for start in (0, 28)]
    assert find_leaks(train, [" ".join(told)]) == []


def test_boilerplate_of_the_training_set_is_no_leak():
    boilerplate = words(30)
    train = [f"{words(30)} {boilerplate} {words(30)}" for _ in range(20)]
    held_out = [f"{boilerplate} {words(16)}"]
    assert len(find_leaks(train, held_out)) == 20
    assert find_leaks(train, held_out, LeakRules(boilerplate_rows=10)) == []


def test_what_is_left_beside_boilerplate_still_leaks():
    boilerplate, question = words(60), words(20)
    train = [f"{words(30)} {boilerplate} {words(30)}" for _ in range(20)] + [f"{words(90)} {question} {words(90)}"]
    found = find_leaks(train, [f"{boilerplate} {question}"], LeakRules(boilerplate_rows=10, min_share=0.35))
    assert [(leak.train, leak.kind) for leak in found] == [(20, "ngram")]


def test_boilerplate_of_the_held_out_rows_is_no_leak():
    boilerplate = words(30)
    held_out = [f"{boilerplate} {words(15)}" for _ in range(20)]
    train = [f"{words(60)} {boilerplate} {words(60)}"]
    assert find_leaks(train, held_out)
    assert find_leaks(train, held_out, LeakRules(boilerplate_rows=10)) == []


def test_every_copy_on_either_side_is_named():
    row = words(20)
    found = find_leaks([row, words(20), row], [words(20), row, row.title()])
    assert {(leak.train, leak.eval) for leak in found} == {(0, 1), (2, 1), (0, 2)}


def test_the_same_question_with_another_answer_leaks_by_its_prompt():
    question = words(15)
    whole = find_leaks([f"{question} {words(80)}"], [f"{question} {words(80)}"])
    prompts = find_leaks([question], [question])
    assert whole == []
    assert prompts == [Leak(0, 0, "exact", 1.0)]


def test_a_crowd_of_held_out_rows_hides_none_of_its_leaks():
    boilerplate = words(40)
    held_out = [f"{boilerplate} {words(3)}" for _ in range(300)]
    train = [f"{row} {words(1)}" for row in held_out]
    found = find_leaks(train, held_out, LeakRules(threshold=0.9))
    assert {leak.train for leak in found} == set(range(300))
    assert len({leak.eval for leak in found}) >= 297


def test_nothing_to_compare_is_no_leak():
    assert find_leaks([], []) == find_leaks(["a b c"], []) == find_leaks([], ["a b c"]) == []
    assert find_leaks(["", "  "], ["", " "]) == []


def test_the_order_of_training_rows_changes_only_their_numbers():
    held_out = [words(30) for _ in range(50)]
    train = [words(30) for _ in range(100)] + [row + " so" for row in held_out[::2]]
    order = list(range(len(train)))
    random.Random(1).shuffle(order)
    straight = {(leak.train, leak.eval, leak.kind) for leak in find_leaks(train, held_out)}
    mixed = find_leaks((train[i] for i in order), held_out)
    assert {(order[leak.train], leak.eval, leak.kind) for leak in mixed} == straight
    assert len(straight) == 25


@pytest.mark.parametrize("wrong", [{"min_share": 0}, {"words": 0}, {"threshold": 2}, {"boilerplate_rows": 0}])
def test_rules_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError):
        LeakRules(**wrong)


def test_runs_are_of_words_and_of_chinese_characters():
    texts = ["one two, three four", "one-two three four!", "一二三四五", "a一b", ""]
    found = ngrams(texts, words=3, characters=4)
    by_row = [set(found.hashes[found.row == row].tolist()) for row in range(len(texts))]
    assert [len(runs) for runs in by_row] == [2, 2, 2, 1, 0]
    assert by_row[0] == by_row[1]
    assert len(set.union(*by_row)) == 5
