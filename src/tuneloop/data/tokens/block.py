"""Rows as token ids: one row, and many rows end to end."""

from dataclasses import dataclass, field

import numpy as np

from tuneloop.data.encoding import Pieces
from tuneloop.data.schema import RowError


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One conversation as the model sees it; a weight above 0 marks a target."""

    ids: np.ndarray
    """int32 [T]"""
    weights: np.ndarray
    """float32 [T]: how much token t counts as a target; 0 is context."""
    origin: str

    @property
    def num_targets(self) -> int:
        """Tokens that are trained on."""
        return int(np.count_nonzero(self.weights))


@dataclass(frozen=True, slots=True)
class TokenBlock:
    """R rows end to end, with the stretches of each that are trained on."""

    rows: np.ndarray
    """int64 [R]: which of the rows that were asked for; the others had errors."""
    ids: np.ndarray
    """int32 [T]"""
    bounds: np.ndarray
    """int64 [R + 1]: row r has the ids from bounds[r] to bounds[r + 1]."""
    run_bounds: np.ndarray
    """int64 [R + 1]: row r has the runs from run_bounds[r] to run_bounds[r + 1]."""
    run_spans: np.ndarray
    """int32 [S, 2]: first token of a run and the one after its last, counted from the row's begin."""
    run_weights: np.ndarray
    """float32 [S]"""

    @property
    def targets(self) -> np.ndarray:
        """int64 [R]: tokens of each row that are trained on."""
        sizes = np.concatenate([[0], np.cumsum(self.run_spans[:, 1] - self.run_spans[:, 0])])
        return sizes[self.run_bounds[1:]] - sizes[self.run_bounds[:-1]]

    def weights_of(self, row: int) -> np.ndarray:
        """float32 [T] of one row."""
        weights = np.zeros(int(self.bounds[row + 1] - self.bounds[row]), dtype=np.float32)
        for run in range(int(self.run_bounds[row]), int(self.run_bounds[row + 1])):
            begin, end = self.run_spans[run]
            weights[begin:end] = self.run_weights[run]
        return weights


@dataclass
class SplitRows:
    """Rows cut into pieces, waiting for their ids."""

    pieces: list[str] = field(default_factory=list)
    is_first: list[bool] = field(default_factory=list)
    errors: dict[int, RowError] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """Of each row: the piece after its last."""
    answers: list[tuple[int, int, float]] = field(default_factory=list)
    """(place in `rows`, piece that an answer begins with, weight)."""
    whole: set[int] = field(default_factory=set)
    """Places of rows that are learned to their end, with no end-of-turn token to look for."""

    def add(self, row: int, pieces: list[str], answers: list[tuple[int, float]], *, ends_itself: bool) -> None:
        """One more row."""
        place, first = len(self.rows), len(self.pieces)
        self.rows.append(row)
        self.pieces += pieces
        self.is_first += [number == 0 for number in range(len(pieces))]
        self.ends.append(len(self.pieces))
        self.answers += [(place, first + number, weight) for number, weight in answers]
        if ends_itself:
            self.whole.add(place)


def assemble(split: SplitRows, encoded: Pieces, end_of_turn: int) -> TokenBlock:
    """Pieces with their ids to rows; a row ends with the last token that is trained on.

    A row whose answer no end-of-turn token closes goes to `split.errors`, as does one without targets.
    """
    ids, bounds = encoded.ids, encoded.bounds
    starts = bounds[np.array([0, *split.ends[:-1]], dtype=np.int64)] if split.rows else np.zeros(0, dtype=np.int64)
    stops = bounds[np.array(split.ends, dtype=np.int64)] if split.rows else np.zeros(0, dtype=np.int64)
    closes = np.flatnonzero(ids == end_of_turn)
    runs: list[list[tuple[int, int, float]]] = [[] for _ in split.rows]
    for place, piece, weight in split.answers:
        begin = int(bounds[piece])
        if place in split.whole:
            # Nothing stands before the first token that could predict it.
            begin, end = begin + 1, int(stops[place])
        else:
            found = int(np.searchsorted(closes, begin))
            end = int(closes[found]) + 1 if found < len(closes) else int(stops[place]) + 1
        if begin >= end:
            continue
        if end > stops[place]:
            reason = "an answer is closed by no end-of-turn token of the template"
            split.errors.setdefault(split.rows[place], RowError("no_end_of_turn", reason))
        else:
            runs[place].append((begin - int(starts[place]), end - int(starts[place]), weight))
    for place, row in enumerate(split.rows):
        if not runs[place]:
            split.errors.setdefault(row, RowError("no_target", "nothing in it is trained on"))
    good = [place for place, row in enumerate(split.rows) if row not in split.errors]
    lengths = np.array([runs[place][-1][1] for place in good], dtype=np.int64)
    flat = [run for place in good for run in runs[place]]
    begins = starts[good] if good else np.zeros(0, dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    keep = np.repeat(begins - offsets[:-1], lengths) + np.arange(int(offsets[-1]))
    return TokenBlock(
        rows=np.array([split.rows[place] for place in good], dtype=np.int64),
        ids=ids[keep],
        bounds=offsets,
        run_bounds=np.concatenate([[0], np.cumsum([len(runs[place]) for place in good])]).astype(np.int64),
        run_spans=np.array([run[:2] for run in flat], dtype=np.int32).reshape(-1, 2),
        run_weights=np.array([run[2] for run in flat], dtype=np.float32),
    )
