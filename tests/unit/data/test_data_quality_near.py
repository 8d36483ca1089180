"""Exact copies and near-duplicates, against the definition with sets of strings."""
# ruff: noqa: RUF001  full-width and curly characters are what is tested

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from growth import is_linear
from tuneloop.core.errors import ConfigError
from tuneloop.data.quality.minhash import banding_for, estimates, signatures
from tuneloop.data.quality.near import NearDuplicates, jaccard, near_duplicates, shingle_sets
from tuneloop.data.quality.shingles import normalise
from tuneloop.data.quality.texts import duplicate_groups

ODD_TEXT = st.text(alphabet=st.sampled_from('ab5 .,!"?x你好吗、。“—…\u200bÉ²\n'), max_size=14)


def plain_shingles(text):
    """The definition, in strings."""

    def size(letter):
        return 3 if "\u3040" <= letter <= "\u30ff" or "\u3400" <= letter <= "\u9fff" else 5

    windows = {text[i : i + size(text[i])] for i in range(len(text)) if i + size(text[i]) <= len(text)}
    return windows or {text}


def plain_pairs(texts, threshold):
    sets = [plain_shingles(normalise(text)) for text in texts]
    found = {}
    for b in range(len(texts)):
        for a in range(b):
            similarity = len(sets[a] & sets[b]) / len(sets[a] | sets[b])
            if similarity >= threshold:
                found[a, b] = similarity
    return found


def as_dict(found):
    return dict(zip(map(tuple, found.pairs.tolist()), found.similarity.tolist(), strict=True))


def some_rows(number, seed=0):
    """Rows in twos: the second is an edited first, from hardly to heavily."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcdefghij", k=chance.randint(2, 8))) for _ in range(300)]
    rows = []
    for i in range(number // 2):
        is_chinese = i % 3 == 0
        units = [chr(0x4E00 + chance.randrange(900)) if is_chinese else chance.choice(words) for _ in range(40)]
        edited = list(units)
        for _ in range(chance.randint(1, 5)):
            edited[chance.randrange(len(edited))] = chance.choice(units)
        rows += [("" if is_chinese else " ").join(part) for part in (units, edited)]
    return rows


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("What is  a\tcell?", "what is a cell"),
        ("“Hello,” he said.", '"Hello" he said'),
        ("使用 Python 编程", "使用python编程"),
        ("你好，世界。", "你好世界"),
        ("ＡＢＣ　１２３", "abc 123"),
        ("zero\u200bwidth", "zerowidth"),
        ("It’s", "it's"),
        ("STRASSE", "straße"),
        ("Hi! — there…", "hi there"),
    ],
)
def test_texts_that_a_reader_calls_the_same_have_one_normal_form(left, right):
    assert normalise(left) == normalise(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("5*3", "5/3"),
        ("What is 3.5?", "What is 35?"),
        ("-5", "5"),
        ("x!=y", "x=y"),
        ("ratio 1:5", "ratio 1.5"),
        ("What is 5!", "What is 5"),
        ("a.b()", "a b()"),
        ("得3.5分", "得35分"),
        ("?", "!"),
        ("...", ""),
    ],
)
def test_texts_that_mean_something_else_keep_their_difference(left, right):
    assert normalise(left) != normalise(right)


@given(ODD_TEXT | st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_a_normal_form_is_its_own_normal_form(text):
    assert normalise(normalise(text)) == normalise(text)


@given(st.lists(ODD_TEXT, min_size=2, max_size=8))
@settings(max_examples=150, deadline=None)
def test_similarity_is_that_of_the_sets_of_strings(texts):
    pairs = np.array([(a, b) for a in range(len(texts)) for b in range(len(texts))])
    sets = [plain_shingles(text) for text in texts]
    expected = [len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a, b in pairs]
    assert jaccard(shingle_sets(texts), pairs).tolist() == expected


@given(st.lists(st.text(alphabet="ab你好", max_size=9), max_size=10), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
@settings(max_examples=100, deadline=None)
def test_every_reported_pair_is_true_and_every_copy_is_joined(texts, threshold):
    found = near_duplicates(texts, threshold=threshold)
    true = plain_pairs(texts, threshold)
    assert as_dict(found).items() <= true.items()
    clusters = found.clusters()
    assert all(
        clusters[a] == clusters[b]
        for b in range(len(texts))
        for a in range(b)
        if normalise(texts[a]) == normalise(texts[b])
    )


@pytest.fixture(scope="module")
def known_rows():
    rows = some_rows(500)
    return rows, plain_pairs(rows, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
def test_nearly_all_pairs_are_found_and_none_is_invented(known_rows, threshold):
    rows, half_alike = known_rows
    true = {pair: value for pair, value in half_alike.items() if value >= threshold}
    found = as_dict(near_duplicates(rows, threshold=threshold))
    assert len(true) > 20
    assert found.items() <= true.items()
    assert len(found) >= 0.985 * len(true)


def test_the_order_of_rows_does_not_change_the_pairs():
    rows = some_rows(600)
    order = np.random.default_rng(0).permutation(len(rows))
    pairs = {frozenset(pair) for pair in near_duplicates(rows).pairs.tolist()}
    shuffled = near_duplicates([rows[i] for i in order]).pairs
    assert {frozenset(pair) for pair in order[shuffled].tolist()} == pairs


def test_the_same_seed_gives_the_same_result_and_another_seed_other_hashes():
    rows = some_rows(400)
    first, again = near_duplicates(rows, seed=7), near_duplicates(iter(rows), seed=7)
    assert first.pairs.tobytes() == again.pairs.tobytes()
    assert first.similarity.tobytes() == again.similarity.tobytes()
    assert not np.array_equal(signatures(rows, 1), signatures(rows, 2))


def test_pairs_are_in_order_and_differ():
    pairs = [tuple(pair) for pair in near_duplicates(some_rows(400)).pairs.tolist()]
    assert all(a < b for a, b in pairs)
    assert pairs == sorted(set(pairs))


def test_a_long_line_of_marks_takes_linear_time():
    assert is_linear(lambda length: normalise("你" + "." * 2 * length + "x" + "! " * length), 25_000)


def test_signatures_agree_as_often_as_the_texts_are_similar():
    rows = some_rows(600)
    pairs = np.arange(len(rows)).reshape(-1, 2)
    values = signatures(rows, 3)
    error = estimates(values[pairs[:, 0]], values[pairs[:, 1]]) - jaccard(shingle_sets(rows), pairs)
    # 128 numbers: a standard error of at most 0.044 each, and of 0.003 for the mean of 300.
    assert abs(error.mean()) < 0.012
    assert error.std() < 0.05


def test_a_row_copied_many_times_is_one_cluster_in_linear_time():
    found = near_duplicates(["The same row, again."] * 5_000 + ["Something else entirely."])
    assert found.pairs[:, 0].tolist() == [0] * 4_999
    assert found.clusters().tolist() == [0] * 5_000 + [5_000]
    assert is_linear(lambda copies: near_duplicates(["The same row, again."] * copies), 5_000)


def test_a_crowd_that_shares_its_boilerplate_is_joined_without_pairing_all():
    chance = random.Random(0)
    boilerplate = " ".join("".join(chance.choices("abcdefgh", k=6)) for _ in range(40))
    rows = [f"{boilerplate} {i}" for i in range(2000)]
    found = near_duplicates(rows)
    assert len(np.unique(found.clusters())) == 1
    assert len(found.pairs) < 64 * len(rows)


def test_texts_shorter_than_a_shingle_are_the_same_or_nothing():
    found = near_duplicates(["yes", "Yes.", "yet", "是", "否", "是。", "", "  "])
    assert as_dict(found) == {(0, 1): 1.0, (3, 5): 1.0, (6, 7): 1.0}


@pytest.mark.parametrize(
    "texts", [[], ["one"], ["", ""], ["half \ud800 of a pair, twice", "half \ud800 of a pair, twice"]]
)
def test_few_and_odd_rows_are_no_trouble(texts):
    found = near_duplicates(texts)
    assert found.pairs.shape == (max(0, len(texts) - 1), 2)
    assert len(found.clusters()) == len(texts)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(ConfigError, match="threshold"):
        near_duplicates(["a", "b"], threshold=threshold)


def test_bands_lose_little_at_the_threshold_and_skip_what_is_far_below():
    plan = banding_for(0.8)
    assert plan.recall(0.8) >= 0.995
    assert plan.recall(0.4) < 0.1
    assert (plan.rows, plan.bands) == (6, 21)


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)).filter(lambda pair: pair[0] < pair[1]), max_size=40))
@settings(max_examples=150, deadline=None)
def test_a_cluster_is_named_by_its_smallest_row(edges):
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
    expected = list(range(30))
    for _ in range(30):
        for a, b in edges:
            expected[a] = expected[b] = min(expected[a], expected[b])
    assert NearDuplicates(30, pairs, np.ones(len(pairs))).clusters().tolist() == expected


def test_a_long_chain_is_one_cluster():
    order = np.random.default_rng(0).permutation(50_000)
    pairs = np.sort(np.stack([order[1:], order[:-1]], axis=1), axis=1)
    assert not NearDuplicates(50_000, pairs, np.ones(len(pairs))).clusters().any()


@given(st.lists(st.integers(0, 5), max_size=30), st.booleans())
@settings(max_examples=100, deadline=None)
def test_each_row_names_the_first_with_its_key(values, as_bytes):
    keys = np.array([[value % 2, value] for value in values], dtype=np.uint64).reshape(-1, 2)
    given_keys = keys.view(np.uint8).reshape(-1, 16) if as_bytes else keys
    assert duplicate_groups(given_keys).tolist() == [values.index(value) for value in values]
