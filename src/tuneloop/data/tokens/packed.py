"""Encoded rows as packs of a fixed budget, as a stream: for whoever wants full sequences rather than steps of rows."""

from collections.abc import Iterator

from tuneloop.data.pack import pack_rows
from tuneloop.data.tokens.block import TokenRow
from tuneloop.data.tokens.selected import TokenRows

PACKING_WINDOW = 4096


def iter_packs(rows: TokenRows, budget: int, *, window: int = PACKING_WINDOW) -> Iterator[list[TokenRow]]:
    """Whole rows in packs of at most `budget` tokens; memory holds one window of rows.

    Rows are packed within consecutive windows, so that a pack depends on its window alone. A row longer than the
    budget is a pack of its own.
    """
    for begin in range(0, len(rows), window):
        held = list(rows.read(begin, min(begin + window, len(rows))))
        for pack in pack_rows([len(row.ids) for row in held], budget):
            yield [held[index] for index in pack]
