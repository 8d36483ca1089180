"""Packs as a stream: each row once, whole, within the budget, and no window knows of another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_stores import byte_renderer, row, source_of, store_of, write_rows

from tuneloop.data.prompt import Renderer
from tuneloop.data.tokens.packed import iter_packs
from tuneloop.data.tokens.selected import StoredFile, TokenRows

NUM_ROWS = 40


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return byte_renderer(tmp_path_factory.mktemp("bytes"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, renderer: Renderer) -> TokenRows:
    """Lengths from 22 to 61 in no order."""
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder, "a.jsonl", *[row("q", "a" * (1 + at * 7 % NUM_ROWS)) for at in range(NUM_ROWS)])
    store = store_of(source_of(folder, "a.jsonl"), renderer, folder / "cache")
    return TokenRows([StoredFile("a.jsonl", store, 1.0)], np.zeros(NUM_ROWS), np.arange(NUM_ROWS))


@settings(derandomize=True, database=None, deadline=None, max_examples=40)
@given(budget=st.integers(1, 400), window=st.integers(1, 60))
def test_each_row_stands_in_one_pack(rows: TokenRows, budget: int, window: int) -> None:
    packs = list(iter_packs(rows, budget, window=window))
    placed = [int(each.origin.partition(":")[2]) - 1 for pack in packs for each in pack]
    assert sorted(placed) == list(range(NUM_ROWS))
    for pack in packs:
        assert len(pack) == 1 or sum(len(each.ids) for each in pack) <= budget
        assert len({(int(each.origin.partition(":")[2]) - 1) // window for each in pack}) == 1
        for each in pack:
            whole = rows[int(each.origin.partition(":")[2]) - 1]
            assert np.array_equal(each.ids, whole.ids)
            assert np.array_equal(each.weights, whole.weights)


def test_a_pack_is_full_where_rows_allow_it(rows: TokenRows) -> None:
    """22 + 61, 23 + 60 ...: twenty pairs of 83 tokens."""
    assert [sum(len(each.ids) for each in pack) for pack in iter_packs(rows, 83)] == [83] * 20


def test_windows_do_not_change_each_other(rows: TokenRows) -> None:
    def names(packs: list) -> list[list[str]]:
        return [[each.origin for each in pack] for pack in packs]

    head = TokenRows(rows.files, np.zeros(16), np.arange(16))
    first = names(list(iter_packs(head, 120, window=16)))
    assert names(list(iter_packs(rows, 120, window=16)))[: len(first)] == first


def test_no_rows_make_no_packs() -> None:
    assert list(iter_packs(TokenRows([], np.zeros(0), np.zeros(0)), 100)) == []
