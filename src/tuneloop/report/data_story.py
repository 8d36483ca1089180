"""What a look at the data comes to: a verdict in a few sentences, and sums over all files."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Literal

from tuneloop.data.records import FileLedger
from tuneloop.data.survey.records import DataReport, FindingGroup, FindingKind, Mark
from tuneloop.report import figures
from tuneloop.report.words import Words

State = Literal["fine", "look", "mend", "empty"]

_SECRETS = frozenset({"key", "url_credentials"})
_HINTS = frozenset({"cut_off"})
"""Too often wrong to be part of a verdict."""
_CHOSEN = frozenset({"duplicate", "near_duplicate", "leak", "personal"})
"""Rows that are left out because they are not wanted, not because they are broken."""
_MANY = 0.2
"""From this share of the rows on, what is left out has to be looked at before training."""
_PLACES = 5
_KINDS: tuple[FindingKind, ...] = ("leak_exact", "leak_near", "leak_ngram", "contradiction", "near_duplicate")


@dataclass(frozen=True)
class Concern:
    """Something to do, in one sentence."""

    level: Literal["mend", "look"]
    section: str
    """The part of the page that says more."""
    text: str


@dataclass(frozen=True)
class MarkTotal:
    """A mark over all files."""

    code: str
    meaning: str
    rows: int
    share: float
    """Of all rows that can be read."""
    files: int
    places: str
    """`train.jsonl:3, 17; more.jsonl:5`."""


@dataclass(frozen=True)
class DataStory:
    """A report, ready to be told."""

    report: DataReport
    title: str
    state: State
    account: str
    """How many rows were read, and how many can be used."""
    concerns: tuple[Concern, ...]
    """The worst first."""
    total: FileLedger
    """All files as one; the commonest reason first."""
    rows: int
    """Rows that can be read."""
    turns: dict[str, int]
    languages: dict[str, int]
    personal: tuple[MarkTotal, ...]
    health: tuple[MarkTotal, ...]
    groups: tuple[FindingGroup, ...]
    """Leaks before contradictions before what is nearly the same."""
    names: "Names"


class Names:
    """Paths as short as they can be and still differ: `train.jsonl` for `/data/train.jsonl`."""

    def __init__(self, paths: Iterable[str]) -> None:
        known = list(dict.fromkeys(paths))
        depth = max((path.count("/") for path in known), default=0) + 1
        self._short: dict[str, str] = {}
        for kept in range(1, depth + 1):
            tails = {path: "/".join(path.split("/")[-kept:]) for path in known if path not in self._short}
            times = Counter(tails.values())
            self._short |= {path: tail for path, tail in tails.items() if times[tail] == 1 and tail}

    def file(self, path: str) -> str:
        """The short name of a file."""
        return self._short.get(path, path)

    def row(self, place: str) -> str:
        """`file:line` with the short name."""
        path, colon, line = place.rpartition(":")
        return f"{self.file(path)}{colon}{line}"

    def rows(self, places: Sequence[str]) -> str:
        """Several, each file named once: `train.jsonl:3, 17; more.jsonl:5`."""
        lines: dict[str, list[str]] = {}
        for place in places:
            path, _, line = place.rpartition(":")
            lines.setdefault(self.file(path), []).append(line)
        return "; ".join(
            f"{name}:{', '.join(numbers)}" if name else ", ".join(numbers) for name, numbers in lines.items()
        )


def tell_data(report: DataReport, words: Words) -> DataStory:
    """Sum up a report and judge it."""
    names = Names([*(file.path for file in report.files), *(profile.path for profile in report.profiles)])
    rows = sum(profile.rows for profile in report.profiles)
    personal = _totals([profile.personal for profile in report.profiles], rows, names, words)
    health = _totals([profile.health for profile in report.profiles], rows, names, words)
    total = _total(report)
    concerns = (
        *_leaks(report.findings, total, words),
        *_personal([mark for mark in personal if mark.code in _SECRETS], "secrets", words),
        *_left_out(report, total, words),
        *_texts([mark for mark in health if mark.code not in _HINTS], words),
        *_answers(report.findings, words),
        *_personal([mark for mark in personal if mark.code not in _SECRETS], "personal", words),
    )
    concerns = tuple(sorted(concerns, key=lambda concern: concern.level != "mend"))
    return DataStory(
        report=report,
        title=_title([names.file(file.path) for file in report.files], words),
        state=_state(report, concerns),
        account=_account(report, words),
        concerns=concerns,
        total=total,
        rows=rows,
        turns=_sum(profile.turns for profile in report.profiles),
        languages=_sum(profile.languages for profile in report.profiles),
        personal=personal,
        health=health,
        groups=tuple(sorted(report.findings, key=lambda group: _KINDS.index(group.kind))),
        names=names,
    )


def turn_bars(turns: dict[str, int], words: Words, most: int = 7) -> list[tuple[str, int]]:
    """Rows by number of turns, what is beyond `most` bars taken together."""
    known = sorted((int(number), rows) for number, rows in turns.items())
    bars = [(words("check.turns.1") if n == 1 else words("check.turns.n", n=n), rows) for n, rows in known]
    if len(known) <= most:
        return bars
    rest = sum(rows for _, rows in known[most - 1 :])
    return [*bars[: most - 1], (words("check.turns.more", n=known[most - 1][0]), rest)]


def language_bars(languages: dict[str, int], words: Words, most: int = 6) -> list[tuple[str, int]]:
    """Rows by language, the commonest first, what is beyond `most` bars taken together."""
    known = sorted(languages.items(), key=lambda pair: -pair[1])
    bars = [(words.tongue(code), rows) for code, rows in known]
    if len(known) <= most:
        return bars
    return [*bars[: most - 1], (words("check.other"), sum(rows for _, rows in bars[most - 1 :]))]


def _title(names: list[str], words: Words) -> str:
    match names:
        case []:
            return words("check.title.none")
        case [name]:
            return name
        case _:
            return words("check.title.n", n=figures.count(len(names)))


def _state(report: DataReport, concerns: Sequence[Concern]) -> State:
    if not report.read:
        return "empty"
    if not report.kept or any(concern.level == "mend" for concern in concerns):
        return "mend"
    return "look" if concerns else "fine"


def _account(report: DataReport, words: Words) -> str:
    read, kept = report.read, report.kept
    if not read:
        return words("check.read.none")
    added = sum(file.added for file in report.files)
    if kept == read + added:
        return words(f"check.read.all.{'1' if read == 1 else 'n'}", n=figures.count(read))
    if not kept:
        return words(f"check.read.useless.{'1' if read == 1 else 'n'}", n=figures.count(read))
    return words(f"check.read.some.{'1' if kept == 1 else 'n'}", n=figures.count(read), kept=figures.count(kept))


def _leaks(groups: Sequence[FindingGroup], total: FileLedger, words: Words) -> Iterable[Concern]:
    leaks = [group for group in groups if group.kind.startswith("leak_") and group.examples]
    if not leaks:
        return
    train, held_out = (
        {finding.rows[side] for group in leaks for finding in group.examples if finding.rows} for side in (0, -1)
    )
    # Only the first findings of a kind are in the report.
    is_whole = all(group.count == len(group.examples) for group in leaks)
    # A run leaves a training row out by itself where the whole conversation is held out.
    gone = total.problems.get("leak", 0)
    if is_whole and gone >= len(train):
        yield Concern("look", "findings", words.many("check.leaks.gone", gone))
        return
    if is_whole:
        text = words.many("check.leaks", len(held_out))
    else:
        text = words("check.leaks.n", n=words("check.at_least", n=figures.count(len(held_out))))
    yield Concern("mend", "findings", text + (words.many("check.leaks.some", gone) if gone else ""))


def _left_out(report: DataReport, total: FileLedger, words: Words) -> Iterable[Concern]:
    broken = {code: rows for code, rows in total.problems.items() if code not in _CHOSEN}
    long = broken.pop("overlong", 0) if report.tokens else 0
    read = total.read + total.added
    if long and report.tokens:
        share, limit = figures.percent(long / read), figures.count(report.tokens.cutoff_len)
        yield Concern(_level(long / read), "tokens", _many(words, "check.overlong", long, share=share, limit=limit))
    if broken:
        rows, code = sum(broken.values()), next(iter(broken))
        reason, share = words.reason(code) or code, figures.percent(rows / read)
        yield Concern(_level(rows / read), "rows", _many(words, "check.broken", rows, share=share, reason=reason))


def _level(share: float) -> Literal["mend", "look"]:
    return "mend" if share >= _MANY else "look"


def _texts(marks: Sequence[MarkTotal], words: Words) -> Iterable[Concern]:
    if marks:
        # Of one kind only, the commonest: a row may have several.
        most = marks[0]
        yield Concern("look", "texts", _many(words, "check.damaged", most.rows, what=most.meaning))


def _answers(groups: Sequence[FindingGroup], words: Words) -> Iterable[Concern]:
    for kind, key in (("contradiction", "check.contradictions"), ("near_duplicate", "check.near")):
        for group in groups:
            if group.kind == kind:
                yield Concern("look", "findings", words.many(key, group.count))


def _personal(marks: Sequence[MarkTotal], key: str, words: Words) -> Iterable[Concern]:
    if marks:
        level: Literal["mend", "look"] = "mend" if key == "secrets" else "look"
        # Of one kind only, the commonest: a row may hold several.
        yield Concern(level, "personal", _many(words, f"check.{key}", marks[0].rows, what=marks[0].meaning))


def _many(words: Words, key: str, number: int, **values: object) -> str:
    return words(f"{key}.1" if number == 1 else f"{key}.n", n=figures.count(number), **values)


def _total(report: DataReport) -> FileLedger:
    problems = _sum(file.problems for file in report.files)
    return FileLedger(
        path="",
        sha256="",
        format="",
        read=report.read,
        kept=report.kept,
        problems=dict(sorted(problems.items(), key=lambda pair: (-pair[1], pair[0]))),
        added=sum(file.added for file in report.files),
        truncated=sum(file.truncated for file in report.files),
        streamed=any(file.streamed for file in report.files),
    )


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total.most_common())


def _totals(files: Sequence[Sequence[Mark]], rows: int, names: Names, words: Words) -> tuple[MarkTotal, ...]:
    by_code: dict[str, list[Mark]] = {}
    for mark in chain.from_iterable(files):
        by_code.setdefault(mark.code, []).append(mark)
    totals = []
    for code, marks in by_code.items():
        # In turn from each file, so that no file hides the others.
        turns = chain.from_iterable(zip_longest(*(mark.examples for mark in marks)))
        places = [place for place in turns if place is not None][:_PLACES]
        number = sum(mark.rows for mark in marks)
        meaning = marks[0].meaning if words.language == "en" else marks[0].meaning_zh
        share = number / rows if rows else 0.0
        totals.append(MarkTotal(code, meaning, number, share, len(marks), names.rows(places)))
    return tuple(sorted(totals, key=lambda total: -total.rows))
