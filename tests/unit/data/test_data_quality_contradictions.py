"""The same question with different answers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import DataError
from tuneloop.data.quality.contradictions import Contradiction, find_contradictions
from tuneloop.data.quality.shingles import normalise

SHORT = st.sampled_from(["", "a", "A ", "b", "你好", "你 好。", "?"])


@given(st.lists(st.tuples(SHORT, SHORT), max_size=12))
@settings(max_examples=200, deadline=None)
def test_it_finds_what_a_dictionary_finds(rows):
    asked = {}
    for row, (prompt, answer) in enumerate(rows):
        if normalise(prompt):
            asked.setdefault(normalise(prompt), []).append((row, normalise(answer)))
    expected = [
        Contradiction(
            tuple(row for row, _ in group),
            tuple(next(row for row, other in group if other == answer) for _, answer in group),
        )
        for group in asked.values()
        if len({answer for _, answer in group}) > 1
    ]
    found = find_contradictions((prompt for prompt, _ in rows), (answer for _, answer in rows))
    for item in found:
        firsts = {rows.index(rows[row]) for row in item.rows}
        assert firsts <= set(range(len(rows)))
    assert [item.rows for item in found] == [item.rows for item in expected]
    for ours, theirs in zip(found, expected, strict=True):
        # An answer may stand first in a row with another question; what counts is which rows agree.
        assert [ours.answers.index(a) for a in ours.answers] == [theirs.answers.index(a) for a in theirs.answers]


def test_rows_and_answers_are_named():
    prompts = ["Capital of France?", "2 + 2", "capital  of france", "Capital of France", "2+3"]
    answers = ["Paris", "4", "Lyon", "paris.", "5"]
    (found,) = find_contradictions(prompts, answers)
    assert found == Contradiction(rows=(0, 2, 3), answers=(0, 2, 0))
    assert found.num_answers == 2


def test_an_operator_is_part_of_the_question():
    assert find_contradictions(["5*3", "5/3", "5-3"], ["15", "1.67", "2"]) == []


def test_rows_without_a_question_contradict_nothing():
    assert find_contradictions(["", " ", ""], ["a", "b", "c"]) == []


@pytest.mark.parametrize(("prompts", "answers"), [(["a", "b"], ["x"]), ([], ["x"])])
def test_a_missing_side_is_an_error_that_counts(prompts, answers):
    with pytest.raises(DataError, match=f"first {min(len(prompts), len(answers))} rows"):
        find_contradictions(prompts, answers)
