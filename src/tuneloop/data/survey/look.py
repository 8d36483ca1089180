"""Looks at all rows of some files and says what is in them, and which of them should not stand together."""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tuneloop.core.stop import Stop
from tuneloop.data.ledger import Ledger
from tuneloop.data.quality.contradictions import find_contradictions
from tuneloop.data.quality.health import CODE_MEANINGS, check_answer, check_text
from tuneloop.data.quality.language import detect_language
from tuneloop.data.quality.leaks import LeakRules, find_leaks
from tuneloop.data.quality.near import near_duplicates
from tuneloop.data.quality.personal import KIND_MEANINGS, find_personal
from tuneloop.data.quality.texts import duplicate_groups
from tuneloop.data.rows import Source, iter_rows, row_key
from tuneloop.data.schema import Origin, Problem, Row
from tuneloop.data.survey.records import (
    DataReport,
    FileProfile,
    Finding,
    FindingGroup,
    FindingKind,
    Histogram,
    Mark,
)

_EXAMPLES = 5
_SHOWN_FINDINGS = 200
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True)
class SurveyOptions:
    """How closely to look."""

    near_threshold: float = 0.8
    max_near_rows: int = 2_000_000
    """With more rows near-duplicates are not looked for: they need about 1 KB of memory a row."""
    keep_duplicates: bool = False
    strict: bool = False
    seed: int = 0
    stop: Stop = field(default_factory=Stop)


@dataclass
class _FileCounts:
    rows: int = 0
    turns: Counter[int] = field(default_factory=Counter)
    characters: "array[int]" = field(default_factory=lambda: array("q"))
    languages: Counter[str] = field(default_factory=Counter)
    personal: dict[str, list[Origin]] = field(default_factory=dict)
    personal_rows: Counter[str] = field(default_factory=Counter)
    health: dict[str, list[Origin]] = field(default_factory=dict)
    health_rows: Counter[str] = field(default_factory=Counter)


@dataclass
class Survey:
    """The good rows of some sources, seen once; what compares rows reads the files again."""

    sources: Sequence[Source]
    held_out: Sequence[Source]
    options: SurveyOptions
    ledger: Ledger
    _counts: dict[str, _FileCounts] = field(default_factory=dict)
    _file_of: "array[int]" = field(default_factory=lambda: array("i"))
    _lines: "array[int]" = field(default_factory=lambda: array("q"))
    _keys: bytearray = field(default_factory=bytearray)

    @property
    def problems(self) -> list[Problem]:
        """The rows that are left out."""
        return self.ledger.problems

    def run(self) -> DataReport:
        """Look at everything.

        Raises:
            DataError: `strict` is on and a row is bad.
            StoppedError: an end was asked for.
        """
        kept = self._look()
        skipped = []
        findings: list[_Found] = []
        if len(kept.train) + len(kept.eval) <= self.options.max_near_rows:
            findings += self._near(kept.train)
        else:
            skipped.append(
                f"near-duplicates: {len(kept.train):,} rows are more than {self.options.max_near_rows:,}; look at "
                "fewer files at a time"
            )
        findings += self._contradictions(kept.train)
        if self.held_out:
            findings += self._leaks(kept)
        else:
            skipped.append("leaks: no held-out rows were given")
        return DataReport(
            files=self.ledger.close(self._kept_counts(kept)),
            profiles=tuple(self._profile(source.name) for source in (*self.sources, *self.held_out)),
            findings=self._group(findings),
            skipped=tuple(skipped),
        )

    def _look(self) -> "_Kept":
        """One pass over everything: counts, and which rows are not copies of earlier ones."""
        sources = (*self.sources, *self.held_out)
        for number, source in enumerate(sources):
            self.ledger.open_file(source.name, sha256=source.sha256, format_name=source.format)
            counts = self._counts.setdefault(source.name, _FileCounts())
            for found in iter_rows(source):
                self.options.stop.check()
                self.ledger.count(source.name)
                if isinstance(found, Problem):
                    self.ledger.leave_out(found)
                    continue
                _count_row(counts, found)
                self._file_of.append(number)
                self._lines.append(found.origin.line)
                self._keys += row_key(found)
        first = np.arange(len(self._lines))
        is_eval = np.frombuffer(self._file_of, dtype=np.int32) >= len(self.sources)
        if not self.options.keep_duplicates:
            keys = np.frombuffer(bytes(self._keys), dtype=np.uint64).reshape(-1, 2)
            for side in (np.flatnonzero(~is_eval), np.flatnonzero(is_eval)):
                first[side] = side[duplicate_groups(keys[side])]
            for row in np.flatnonzero(first != np.arange(len(first))).tolist():
                text = f"the same conversation as {self._origin(int(first[row]))}"
                self.ledger.leave_out(Problem(self._origin(row), "duplicate", text))
        self._keys.clear()
        is_first = first == np.arange(len(first))
        return _Kept(train=np.flatnonzero(is_first & ~is_eval), eval=np.flatnonzero(is_first & is_eval))

    def _origin(self, row: int) -> Origin:
        return Origin((*self.sources, *self.held_out)[self._file_of[row]].name, self._lines[row])

    def _read(self, rows: np.ndarray) -> Iterator[Row]:
        """Some of the good rows again, in order."""
        wanted = np.zeros(len(self._lines), dtype=bool)
        wanted[rows] = True
        every = (found for source in (*self.sources, *self.held_out) for found in iter_rows(source))
        for row, is_wanted in zip((found for found in every if isinstance(found, Row)), wanted, strict=True):
            self.options.stop.check()
            if is_wanted:
                yield row

    def _near(self, rows: np.ndarray) -> "Iterator[_Found]":
        found = near_duplicates(
            map(_whole_text, self._read(rows)), threshold=self.options.near_threshold, seed=self.options.seed
        )
        for (first, second), similarity in zip(found.pairs.tolist(), found.similarity.tolist(), strict=True):
            yield _Found("near_duplicate", (int(rows[first]), int(rows[second])), similarity)

    def _contradictions(self, rows: np.ndarray) -> "Iterator[_Found]":
        found = find_contradictions(map(_prompt_text, self._read(rows)), map(Row.answer, self._read(rows)))
        for each in found:
            yield _Found("contradiction", tuple(int(rows[row]) for row in each.rows[:_EXAMPLES]), None)

    def _leaks(self, kept: "_Kept") -> "Iterator[_Found]":
        """The same question is a leak whatever its answer; so is a held-out row told inside another."""
        kinds: dict[str, FindingKind] = {"exact": "leak_exact", "near": "leak_near", "ngram": "leak_ngram"}
        rules = LeakRules(threshold=self.options.near_threshold)
        seen = set()
        for text_of in (_prompt_text, _whole_text):
            train, held_out = map(text_of, self._read(kept.train)), map(text_of, self._read(kept.eval))
            for leak in find_leaks(train, held_out, rules, seed=self.options.seed):
                pair = int(kept.train[leak.train]), int(kept.eval[leak.eval])
                if pair not in seen:
                    seen.add(pair)
                    yield _Found(kinds[leak.kind], pair, leak.similarity)

    def _group(self, findings: "Sequence[_Found]") -> tuple[FindingGroup, ...]:
        """Findings by kind; the first ones with the beginning of what they say."""
        by_kind = {
            kind: [each for each in findings if each.kind == kind] for kind in dict.fromkeys(f.kind for f in findings)
        }
        shown = sorted({each.rows[0] for group in by_kind.values() for each in group[:_SHOWN_FINDINGS]})
        read = self._read(np.array(shown, dtype=np.int64)) if shown else ()
        texts = {index: _beginning(row) for index, row in zip(shown, read, strict=True)}
        return tuple(
            FindingGroup(
                kind=kind,
                count=len(group),
                rows=len({row for each in group for row in each.rows}),
                examples=tuple(
                    Finding(
                        kind=kind,
                        rows=tuple(str(self._origin(row)) for row in each.rows),
                        similarity=each.similarity,
                        text=texts[each.rows[0]],
                    )
                    for each in group[:_SHOWN_FINDINGS]
                ),
            )
            for kind, group in by_kind.items()
        )

    def _kept_counts(self, kept: "_Kept") -> Iterator[Row]:
        for row in (*kept.train.tolist(), *kept.eval.tolist()):
            yield Row((), self._origin(row))

    def _profile(self, name: str) -> FileProfile:
        counts = self._counts[name]
        return FileProfile(
            path=name,
            rows=counts.rows,
            turns={str(turns): number for turns, number in sorted(counts.turns.items())},
            characters=histogram(np.array(counts.characters, dtype=np.int64)),
            languages=dict(counts.languages.most_common()),
            personal=_marks(counts.personal_rows, counts.personal, KIND_MEANINGS),
            health=_marks(counts.health_rows, counts.health, CODE_MEANINGS),
        )


@dataclass(frozen=True)
class _Kept:
    train: np.ndarray
    eval: np.ndarray


@dataclass(frozen=True, slots=True)
class _Found:
    kind: FindingKind
    rows: tuple[int, ...]
    similarity: float | None


def _beginning(row: Row) -> str:
    text = " ".join((_prompt_text(row) or _whole_text(row)).split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _count_row(counts: _FileCounts, row: Row) -> None:
    counts.rows += 1
    turns = [message for message in row.messages if message.role != "system"]
    counts.turns[len(turns)] += 1
    counts.characters.append(sum(len(message.content) for message in row.messages))
    counts.languages[detect_language(_whole_text(row))] += 1
    personal = {found.kind for message in row.messages for found in find_personal(message.content)}
    for kinds, numbers, examples in (
        (personal, counts.personal_rows, counts.personal),
        (_health_of(row), counts.health_rows, counts.health),
    ):
        for kind in kinds:
            numbers[kind] += 1
            if len(examples.setdefault(kind, [])) < _EXAMPLES:
                examples[kind].append(row.origin)


def _health_of(row: Row) -> set[str]:
    found: set[str] = set()
    for before, message in zip((None, *row.messages), row.messages, strict=False):
        is_answer = message.role == "assistant" and message.content and not row.is_text
        asked = before.content if before else ""
        found.update(check_answer(asked, message.content) if is_answer else check_text(message.content))
    return found


def _marks(
    numbers: Counter[str], examples: dict[str, list[Origin]], meanings: Mapping[Any, tuple[str, str]]
) -> tuple[Mark, ...]:
    return tuple(
        Mark(
            code=code,
            rows=number,
            meaning=meanings[code][0],
            meaning_zh=meanings[code][1],
            examples=tuple(map(str, examples[code])),
        )
        for code, number in numbers.most_common()
    )


def _whole_text(row: Row) -> str:
    return "\n".join(message.content for message in row.messages)


def _prompt_text(row: Row) -> str:
    """What is asked; of plain text nothing is."""
    return "\n".join(message.content for message in row.before_answer() if message.role != "system")


def histogram(values: np.ndarray, bins: int = 24) -> Histogram:
    """Counts over equal widths up to the 99.5th percentile; the last bin holds the rest."""
    if not len(values):
        return Histogram(edges=(), counts=())
    low, high = int(values.min()), int(np.percentile(values, 99.5))
    # Whole numbers fall into bins of a whole width, else some bins would hold one number more than others.
    width = max(1, -(-(high + 1 - low) // bins))
    edges = np.arange(low, high + 1 + width, width, dtype=np.float64)
    counts, _ = np.histogram(np.minimum(values, edges[-1]), bins=edges)
    edges[-1] = max(edges[-1], float(values.max()))
    return Histogram(edges=tuple(np.round(edges, 1).tolist()), counts=tuple(counts.tolist()))
