"""What is in files of rows, with or without a model, for the `data` commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.core.config import Source, parse_config
from tuneloop.data.config import DataConfig
from tuneloop.data.contract import load_renderer
from tuneloop.data.ledger import Ledger
from tuneloop.data.prepare import prepare_data, summarise
from tuneloop.data.prompt import Renderer
from tuneloop.data.records import FileLedger, SplitSummary
from tuneloop.data.rows import read_files
from tuneloop.data.schema import Problem
from tuneloop.model.source import cache_folder, environment, fetch_model
from tuneloop.plan import Plan, load_plan


@dataclass(frozen=True)
class CheckResult:
    """The answer of `data check`."""

    files: tuple[FileLedger, ...]
    problems: Sequence[Problem]
    train: SplitSummary | None = None
    eval: SplitSummary | None = None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Stable names for scripts."""
        return {
            "read": sum(file.read for file in self.files),
            "kept": sum(file.kept for file in self.files),
            "problems": [problem.as_json() for problem in self.problems],
            "files": [file.model_dump(mode="json") for file in self.files],
            "train": None if self.train is None else self.train.model_dump(mode="json"),
            "eval": None if self.eval is None else self.eval.model_dump(mode="json"),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class ShownRows:
    """The answer of `data show`."""

    template: str
    contract_hash: str
    rows: list[dict[str, Any]]
    notes: tuple[str, ...]


def check_files(section: dict[str, Any], model: str | None) -> CheckResult:
    """Check files; without a model only their structure, which needs no tokenizer."""
    config = parse_config(DataConfig, Source("the command line", section | {"eval_fraction": 0.0}))
    if model is not None:
        return _check(config, Path(), _renderer(config, model, Path()), seed=0)
    ledger = Ledger(strict=config.strict)
    rows = read_files(config.train, Path(), ledger, keep_duplicates=config.duplicates == "keep")
    return CheckResult(ledger.close(rows), ledger.problems)


def check_recipe(path: Path, overrides: Sequence[str]) -> CheckResult:
    """Check the rows of a recipe as its run would read them."""
    plan = load_plan(path, overrides)
    return _check(plan.data, path.parent, _renderer_of(plan, path.parent), seed=plan.seed)


def show_files(section: dict[str, Any], model: str | None, num_rows: int) -> ShownRows:
    """The first rows of files, token by token."""
    config = parse_config(DataConfig, Source("the command line", section | {"eval_fraction": 0.0}))
    source = model or Plan.model_fields["model"].get_default().source
    return _show(config, Path(), _renderer(config, source, Path()), num_rows)


def show_recipe(path: Path, overrides: Sequence[str], num_rows: int) -> ShownRows:
    """The first rows of a recipe, token by token."""
    plan = load_plan(path, overrides)
    return _show(plan.data, path.parent, _renderer_of(plan, path.parent), num_rows)


def _renderer(config: DataConfig, source: str, folder: Path) -> Renderer:
    base = fetch_model(source, cache=cache_folder(environment()), relative_to=folder)
    return load_renderer(base, template=config.template, train_on=config.train_on)


def _renderer_of(plan: Plan, folder: Path) -> Renderer:
    return _renderer(plan.data, plan.model.source, folder)


def _check(config: DataConfig, folder: Path, renderer: Renderer, *, seed: int) -> CheckResult:
    data = prepare_data(config, folder, renderer, seed=seed)
    held_out = summarise(data.eval) if data.eval else None
    return CheckResult(data.files, data.problems, summarise(data.train), held_out, data.notes)


def _show(config: DataConfig, folder: Path, renderer: Renderer, num_rows: int) -> ShownRows:
    data = prepare_data(config, folder, renderer, seed=0)
    rows = []
    for row in data.train[:num_rows]:
        tokens = [
            {"id": int(token_id), "text": piece, "weight": float(weight)}
            for token_id, piece, weight in zip(row.ids, renderer.pieces(row.ids), row.weights, strict=True)
        ]
        rows.append({"row": row.origin, "num_targets": row.num_targets, "tokens": tokens})
    return ShownRows(renderer.contract.template_name, renderer.contract.hash, rows, data.notes)
