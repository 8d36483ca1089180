"""The folder that a run leaves behind: what lies where, and whose it is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tuneloop.core.config import load_source, parse_config
from tuneloop.core.errors import ConfigError, DataError
from tuneloop.core.events import Event, EventLog, Listener, read_events
from tuneloop.core.store import own_folder, read_json, read_jsonl, write_json, write_jsonl, write_text
from tuneloop.evaluate.records import EvalRecord, Sample
from tuneloop.iterate.records import Decision
from tuneloop.plan import Plan, differences


@dataclass(frozen=True)
class RunFolder:
    """Paths and records of one run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved plan."""
        return self.path / "recipe.yaml"

    @property
    def events(self) -> Path:
        """Everything that happened."""
        return self.path / "events.jsonl"

    def record(self, kind: str, label: object) -> Path:
        """The file of a record: `eval-1.json`."""
        return self.path / "records" / f"{kind}-{label}.json"

    def checkpoints(self, number: int) -> Path:
        """The checkpoints of a round."""
        return self.path / f"round-{number}" / "checkpoints"

    def samples(self, number: int) -> Path:
        """The samples of a round's evaluation; round 0 is the base."""
        return self.path / f"round-{number}" / "eval" / "samples.jsonl"

    def data(self, number: int) -> Path:
        """The rows of a round."""
        return self.path / f"round-{number}" / "data"

    def export(self, kind: str) -> Path:
        """An exported folder."""
        return self.path / "export" / kind

    @contextmanager
    def work(self, plan: Plan, recipe_folder: Path, listeners: tuple[Listener, ...] = ()) -> Iterator[EventLog]:
        """Own the folder for one plan; a second start with the same plan goes on where the first one ended.

        Raises:
            ConfigError: the folder belongs to another recipe; the difference is named.
            LockedError: another process is at work in it.
        """
        with own_folder(self.path):
            if self.recipe.exists():
                changed = differences(load_source(self.recipe).values, plan.model_dump(mode="json"), where="recipe")
                if changed:
                    listing = "\n  ".join(changed)
                    raise ConfigError(
                        f"{self.path} holds a run of another recipe:\n  {listing}\n"
                        "Choose another --out, or undo the change."
                    )
            else:
                write_json(self.path / "origin.json", {"recipe_folder": str(recipe_folder.resolve())})
                write_text(
                    self.recipe, yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
                )
            log = EventLog(self.events, listeners)
            try:
                yield log
            finally:
                log.close()

    def load_plan(self) -> Plan:
        """The resolved plan of a run.

        Raises:
            ConfigError: this is no run folder.
        """
        if not self.recipe.exists():
            raise ConfigError(f"{self.path}: no run folder (it has no recipe.yaml).")
        return parse_config(Plan, load_source(self.recipe))

    def recipe_folder(self) -> Path:
        """The folder that the plan's paths are relative to."""
        return Path(read_json(self.path / "origin.json")["recipe_folder"])

    def write_samples(self, number: int, samples: Sequence[Sample]) -> None:
        """Keep every sample of an evaluation."""
        write_jsonl(self.samples(number), [sample.model_dump(mode="json") for sample in samples])

    def read_samples(self, number: int) -> list[Sample]:
        """The samples of an evaluation."""
        path = self.samples(number)
        if not path.exists():
            raise DataError(f"{path}: no such file: the evaluation of round {number} is not there.")
        return [Sample.model_validate(values) for values in read_jsonl(path)]

    def read_eval(self, number: int) -> EvalRecord:
        """The record of an evaluation."""
        return EvalRecord.load(self.record("eval", number))

    def round_events(self, kind: str, number: int) -> Iterator[Event]:
        """Events of one kind and round."""
        return (event for event in read_events(self.events, kind) if event.get("round") == number)

    def relative(self, path: Path) -> str:
        """A path as records name it."""
        return str(path.relative_to(self.path))

    def rounds(self, kind: str) -> list[int]:
        """The rounds that have a record of a kind, in order."""
        paths = (self.path / "records").glob(f"{kind}-*.json")
        return sorted(int(path.stem.rpartition("-")[2]) for path in paths)

    def decisions(self) -> list[Decision]:
        """The decisions so far, in order."""
        return [Decision.load(self.record("decision", number)) for number in self.rounds("decision")]

    def accepted_round(self) -> int | None:
        """The last round that was accepted."""
        accepted = [decision.round for decision in self.decisions() if decision.accepted]
        return accepted[-1] if accepted else None
