"""What is in files of rows, with or without a model, for the `data` commands."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuneloop.core.config import Source, parse_config
from tuneloop.core.errors import DataError
from tuneloop.core.stop import Stop
from tuneloop.data.config import DataConfig
from tuneloop.data.contract import load_renderer
from tuneloop.data.convert import convert_file
from tuneloop.data.ledger import Ledger
from tuneloop.data.prepare import PreparedData, length_policy, prepare_data, summarise
from tuneloop.data.prompt import Renderer
from tuneloop.data.rows import open_sources
from tuneloop.data.schema import Problem
from tuneloop.data.survey.look import Survey, SurveyOptions, histogram
from tuneloop.data.survey.records import DataReport, TokenProfile
from tuneloop.model.source import cache_folder, environment, fetch_model
from tuneloop.plan import Plan, load_plan


@dataclass(frozen=True)
class CheckResult:
    """The answer of `data check`."""

    report: DataReport
    problems: Sequence[Problem]
    """Every row that is left out."""

    def as_json(self) -> dict[str, Any]:
        """Stable names for scripts."""
        report = self.report
        counts: dict[str, int] = {}
        for file in report.files:
            for code, number in file.problems.items():
                counts[code] = counts.get(code, 0) + number
        return {
            "read": report.read,
            "kept": report.kept,
            "problem_counts": dict(sorted(counts.items())),
            "problems": [problem.as_json() for problem in self.problems],
            **report.model_dump(mode="json"),
            "train": report.tokens.train.model_dump(mode="json") if report.tokens else None,
            "eval": report.tokens.eval.model_dump(mode="json") if report.tokens and report.tokens.eval else None,
        }


@dataclass(frozen=True)
class ShownRows:
    """The answer of `data show`."""

    template: str
    contract_hash: str
    rows: list[dict[str, Any]]
    notes: tuple[str, ...]


def check_files(section: dict[str, Any], model: str | None) -> CheckResult:
    """Check files; without a model all but what needs a tokenizer."""
    config = parse_config(DataConfig, Source("the command line", section | {"eval_fraction": 0.0}))
    return _check(config, Path(), None if model is None else _renderer(config, model, Path()), seed=0)


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


def rows_cache() -> Path:
    """Where encoded rows are kept."""
    return cache_folder(environment()) / "rows"


def _check(config: DataConfig, folder: Path, renderer: Renderer | None, *, seed: int) -> CheckResult:
    cache = rows_cache()
    sources = open_sources(config.train, folder, cache=cache, personal=config.personal)
    held_out = open_sources(config.eval, folder, cache=cache, personal=config.personal)
    options = SurveyOptions(
        near_threshold=config.near_threshold,
        keep_duplicates=config.duplicates == "keep",
        strict=config.strict,
        seed=seed,
        stop=Stop(),
    )
    survey = Survey(sources, held_out, options, Ledger(strict=config.strict))
    report = survey.run()
    if renderer is None:
        return CheckResult(report, survey.problems)
    # The ledger of the run itself counts what only a tokenizer can tell.
    data = prepare_data(config.replace(streaming=False), folder, renderer, seed=seed, cache=cache)
    tokens = _token_profile(config, renderer, data)
    return CheckResult(report.replace(files=data.files, tokens=tokens, notes=data.notes), data.problems)


def _token_profile(config: DataConfig, renderer: Renderer, data: PreparedData) -> TokenProfile:
    lengths, targets = data.candidates.lengths, data.candidates.column("targets")
    limit = length_policy(config, renderer).longest
    long = np.flatnonzero(lengths > limit)
    cut = sum(int(np.count_nonzero(row.weights[limit:])) for row in data.candidates.rows(long))
    return TokenProfile(
        template=renderer.contract.template_name,
        contract_hash=renderer.contract.hash,
        cutoff_len=limit,
        overlong=config.overlong,
        lengths=histogram(lengths),
        overlong_rows=len(long),
        target_tokens=int(targets.sum(dtype=np.int64)),
        lost_target_tokens=int(targets[long].sum(dtype=np.int64)),
        cut_target_tokens=cut,
        train=summarise(data.train),
        eval=summarise(data.eval) if len(data.eval) else None,
    )


def _show(config: DataConfig, folder: Path, renderer: Renderer, num_rows: int) -> ShownRows:
    data = prepare_data(config.replace(streaming=False), folder, renderer, seed=0, cache=rows_cache())
    rows = []
    for row in data.train[:num_rows]:
        tokens = [
            {"id": int(token_id), "text": piece, "weight": float(weight)}
            for token_id, piece, weight in zip(row.ids, renderer.pieces(row.ids), row.weights, strict=True)
        ]
        rows.append({"row": row.origin, "num_targets": row.num_targets, "tokens": tokens})
    return ShownRows(renderer.contract.template_name, renderer.contract.hash, rows, data.notes)


def prepare_recipe(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Encode the rows of a recipe into the cache, and say how many and how fast."""
    plan = load_plan(path, overrides)
    renderer = _renderer_of(plan, path.parent)
    begun = time.perf_counter()
    config = plan.data.replace(streaming=False)
    data = prepare_data(config, path.parent, renderer, seed=plan.seed, cache=rows_cache())
    return {
        "read": data.read,
        "kept": data.kept,
        "rows": len(data.train) + len(data.eval),
        "tokens": int(data.candidates.lengths.sum(dtype=np.int64)),
        "seconds": time.perf_counter() - begun,
        "cache": str(rows_cache()),
    }


def convert_rows(spec: dict[str, Any], to: str, out: Path, *, personal: str, force: bool) -> dict[str, Any]:
    """Write a file's rows in another format.

    Raises:
        DataError: `out` is there already, or the rows cannot be read.
    """
    if out.exists() and not force:
        raise DataError(f"{out}: is there already. Choose another --out, or pass --force.")
    config = parse_config(DataConfig, Source("the command line", {"train": [spec], "personal": personal}))
    ledger = convert_file(config.train[0], Path(), to, out, cache=rows_cache(), personal=config.personal)
    return {
        "read": ledger.read,
        "written": ledger.written,
        "problem_counts": dict(sorted(ledger.problems.items())),
        "problems": [problem.as_json() for problem in ledger.first_problems],
    }
