"""Reads a run folder as it lies there; a part that is missing or damaged is noted, never a crash."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tuneloop.core.config import load_source
from tuneloop.core.errors import TuneloopError
from tuneloop.core.events import Event, read_events
from tuneloop.core.records import Record
from tuneloop.core.store import hash_file, read_jsonl
from tuneloop.data.records import DatasetRecord
from tuneloop.deploy.records import ExportRecord
from tuneloop.evaluate.records import EvalRecord, Sample
from tuneloop.iterate.records import Decision
from tuneloop.train.records import CheckpointRecord

RecordT = TypeVar("RecordT", bound=Record)
T = TypeVar("T")

_MOST_PROBLEMS = 200


@dataclass(frozen=True)
class ProblemRow:
    """One row that was left out."""

    file: str
    line: str
    code: str
    reason: str


@dataclass(frozen=True)
class RunFolder:
    """All that a run left behind, by round."""

    name: str
    recipe: str | None
    plan: dict[str, Any]
    datasets: dict[int, DatasetRecord]
    checkpoints: dict[int, CheckpointRecord]
    evals: dict[int, EvalRecord]
    decisions: dict[int, Decision]
    exports: dict[str, ExportRecord]
    events: tuple[Event, ...]
    samples: dict[int, tuple[Sample, ...]]
    changed_samples: tuple[str, ...]
    """Sample files whose bytes differ from the hash in their record."""
    problems: dict[int, tuple[ProblemRow, ...]]
    damage: tuple[str, ...]
    """What could not be read, in the words of the error."""

    def of_kind(self, kind: str) -> list[Event]:
        """The events of one kind, in the order of writing."""
        return [event for event in self.events if event.get("kind") == kind]

    @property
    def records(self) -> dict[str, Record]:
        """Every record by its file's name without the ending: `eval-1`."""
        groups: tuple[tuple[str, dict[Any, Any]], ...] = (
            ("dataset", self.datasets),
            ("checkpoint", self.checkpoints),
            ("eval", self.evals),
            ("decision", self.decisions),
            ("export", self.exports),
        )
        return {f"{kind}-{number}": record for kind, group in groups for number, record in group.items()}

    @property
    def rounds(self) -> list[int]:
        """The numbers of all rounds that left anything, the base (0) not among them."""
        seen = {*self.datasets, *self.checkpoints, *self.evals, *self.decisions}
        seen |= {number for event in self.events if isinstance(number := event.get("round"), int)}
        return sorted(number for number in seen if number > 0)


def read_folder(folder: Path) -> RunFolder:
    """Read what is there."""
    reader = _Reader(folder, [])
    evals = reader.by_round("eval", EvalRecord)
    datasets = reader.by_round("dataset", DatasetRecord)
    checkpoints = reader.by_round("checkpoint", CheckpointRecord)
    decisions = reader.by_round("decision", Decision)
    samples, changed = reader.all_samples(evals)
    recipe = folder / "recipe.yaml"
    plan = reader.attempt(lambda: load_source(recipe).values) if recipe.is_file() else None
    latest = max([*checkpoints.values(), *datasets.values(), *evals.values()], key=_made_at, default=None)
    plan = plan or (latest.plan if latest else {})
    name = plan.get("name")
    return RunFolder(
        name=name if isinstance(name, str) and name else folder.resolve().name,
        recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else None,
        plan=plan,
        datasets=datasets,
        checkpoints=checkpoints,
        evals=evals,
        decisions=decisions,
        exports=reader.by_name("export", ExportRecord),
        events=tuple(
            event for event in reader.until_broken(read_events(folder / "events.jsonl")) if isinstance(event, dict)
        ),
        samples=samples,
        changed_samples=changed,
        problems={number: reader.problem_rows(number) for number in datasets},
        damage=tuple(reader.damage),
    )


def _made_at(record: Record) -> float:
    return record.created_at.timestamp()


@dataclass(frozen=True)
class _Reader:
    folder: Path
    damage: list[str]

    def attempt(self, read: Callable[[], T]) -> T | None:
        """What `read` gives; where it fails, the error is kept and None comes back."""
        try:
            return read()
        except (TuneloopError, ValidationError, ValueError, KeyError, TypeError, OSError) as error:
            text = str(error) if isinstance(error, TuneloopError) else f"{type(error).__name__}: {error}"
            self.damage.append(text.replace(f"{self.folder}/", ""))
            return None

    def until_broken(self, values: Iterator[T]) -> Iterator[T]:
        """Values up to the first line that cannot be read."""
        while (item := self.attempt(lambda: next(values, None))) is not None:
            yield item

    def by_name(self, kind: str, cls: type[RecordT]) -> dict[str, RecordT]:
        paths = sorted((self.folder / "records").glob(f"{kind}-*.json"))
        loaded = {path.stem.partition("-")[2]: self.attempt(lambda path=path: cls.load(path)) for path in paths}
        return {name: record for name, record in loaded.items() if record is not None}

    def by_round(self, kind: str, cls: type[RecordT]) -> dict[int, RecordT]:
        named = self.by_name(kind, cls)
        return {int(name): named[name] for name in sorted(named, key=_number) if re.fullmatch(r"\d+", name)}

    def all_samples(self, evals: dict[int, EvalRecord]) -> tuple[dict[int, tuple[Sample, ...]], tuple[str, ...]]:
        samples, changed = {}, []
        for number, record in evals.items():
            path = (self.folder / record.samples).resolve()
            if not path.is_relative_to(self.folder.resolve()):
                self.damage.append(f"eval-{number}.json: names a file outside the run folder: {record.samples}")
            elif path.is_file():
                rows = self.attempt(lambda path=path: tuple(Sample.model_validate(row) for row in read_jsonl(path)))
                samples[number] = rows or ()
                if hash_file(path) != record.samples_sha256:
                    changed.append(record.samples)
        return samples, tuple(changed)

    def problem_rows(self, number: int) -> tuple[ProblemRow, ...]:
        path = self.folder / f"round-{number}" / "data" / "problems.jsonl"
        rows: list[ProblemRow] = []
        if path.is_file():
            for row in self.until_broken(read_jsonl(path)):
                if len(rows) == _MOST_PROBLEMS:
                    break
                if isinstance(row, dict):
                    rows.append(ProblemRow(*(str(row.get(key, "")) for key in ("file", "line", "code", "reason"))))
        return tuple(rows)


def _number(name: str) -> int:
    return int(name) if name.isdecimal() else -1
