"""What every stage of a run shares: plan, base model, contract, rows, hardware, folder."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tuneloop.core.errors import DataError
from tuneloop.core.events import EventLog
from tuneloop.core.hooks import Hooks
from tuneloop.core.stop import Stop
from tuneloop.core.store import hash_json, write_jsonl
from tuneloop.data.contract import load_renderer
from tuneloop.data.prepare import PreparedData, prepare_data, summarise
from tuneloop.data.prompt import Renderer
from tuneloop.data.records import DatasetRecord
from tuneloop.data.stream import StreamedRows
from tuneloop.data.streaming import prepare_stream
from tuneloop.model.hardware import Hardware, choose_hardware
from tuneloop.model.source import fetch_model, hash_model
from tuneloop.pipeline.folder import RunFolder
from tuneloop.plan import Plan


@dataclass(frozen=True)
class Session:
    """One process at work on one run."""

    plan: Plan
    recipe_folder: Path
    folder: RunFolder
    cache: Path
    log: EventLog
    stop: Stop
    accept_changes: bool = False
    """Go on although versions or threads differ from those of the checkpoint."""

    @cached_property
    def base(self) -> Path:
        """The local folder of the base model."""
        with self.phase("fetch"):
            return fetch_model(
                self.plan.model.source,
                cache=self.cache,
                revision=self.plan.model.revision,
                relative_to=self.recipe_folder,
            )

    @cached_property
    def base_hash(self) -> str:
        """SHA-256 over the base's config and weights."""
        return hash_model(self.base)

    @cached_property
    def renderer(self) -> Renderer:
        """The prompt contract, ready to render."""
        return load_renderer(self.base, template=self.plan.data.template, train_on=self.plan.data.train_on)

    @cached_property
    def data(self) -> PreparedData:
        """The rows, read and rendered."""
        with self.phase("data"):
            prepare = prepare_stream if self.plan.data.streaming else prepare_data
            return prepare(
                self.plan.data,
                self.recipe_folder,
                self.renderer,
                seed=self.plan.seed,
                cache=self.cache / "rows",
                stop=self.stop,
            )

    @cached_property
    def hardware(self) -> Hardware:
        """What this run is computed on."""
        return choose_hardware(self.plan.hardware)

    def hooks(self, number: int) -> Hooks:
        """Tell and ask, with the round's number on every event."""

        def emit(kind: str, **values: Any) -> None:
            self.log.emit(kind, round=number, **values)

        return Hooks(emit, self.stop)

    @contextmanager
    def phase(self, name: str, number: int = 1) -> Iterator[None]:
        """Measure how long a stage takes."""
        begun = time.perf_counter()
        self.log.emit("phase", name=name, round=number, state="begin")
        yield
        self.log.emit("phase", name=name, round=number, state="end", wall_s=time.perf_counter() - begun)

    def provenance(self, plan: Plan, *parents: str) -> dict[str, Any]:
        """The fields that every record has."""
        return {
            "created_at": datetime.now(UTC),
            "parents": parents,
            "plan": plan.model_dump(mode="json"),
            "seed": plan.seed,
        }

    def dataset_record(self, number: int, plan: Plan) -> DatasetRecord:
        """Write the ledger of a round, or check that the rows are still those of the ledger.

        Raises:
            DataError: the files have changed since the run began.
        """
        path = self.folder.record("dataset", number)
        data = self.data
        rows_sha256 = hash_json([data.train_sha256, data.eval.sha256])
        if path.exists():
            record = DatasetRecord.load(path)
            if record.rows_sha256 != rows_sha256:
                raise DataError(
                    f"{self.folder.path}: the rows have changed since this run began. Restore the files, or choose "
                    "another --out."
                )
            return record
        record = DatasetRecord(
            **self.provenance(plan),
            round=number,
            files=data.files,
            read=data.read,
            kept=data.kept,
            problems=data.problem_counts(),
            train=summarise(data.train),
            eval=summarise(data.eval),
            rows_sha256=rows_sha256,
            contract=self.renderer.contract.model_dump(mode="json"),
            contract_hash=self.renderer.contract.hash,
            notes=data.notes,
        )
        write_jsonl(self.folder.data(number) / "problems.jsonl", (problem.as_json() for problem in data.problems))
        write_jsonl(self.folder.data(number) / "rows.jsonl", self._row_origins())
        record.save(path)
        return record

    def _row_origins(self) -> Iterator[dict[str, Any]]:
        """Which rows were used, and for what."""
        for split, rows in (("train", self.data.train), ("eval", self.data.eval)):
            if isinstance(rows, StreamedRows):
                continue
            for index, (tokens, targets) in enumerate(zip(rows.lengths.tolist(), rows.targets.tolist(), strict=True)):
                yield {"row": str(rows.origin(index)), "split": split, "tokens": tokens, "target_tokens": targets}
