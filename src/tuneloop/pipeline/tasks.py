"""A model on a task, from its name to the record: the same for a run, a folder, an adapter and an endpoint."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuneloop.core.errors import ConfigError, DataError
from tuneloop.core.hooks import Hooks
from tuneloop.core.store import hash_file, hash_json, own_folder, read_jsonl, write_jsonl
from tuneloop.data.records import FileLedger
from tuneloop.data.schema import Problem
from tuneloop.evaluate.tasks.config import TaskConfig
from tuneloop.evaluate.tasks.local import LocalResponder
from tuneloop.evaluate.tasks.questions import Question, read_questions
from tuneloop.evaluate.tasks.records import TaskRecord, TaskSample
from tuneloop.evaluate.tasks.remote import EndpointResponder
from tuneloop.evaluate.tasks.responder import Responder
from tuneloop.evaluate.tasks.run import (
    Measured,
    ask_questions,
    build_samples,
    compare_measured,
    measure_outputs,
    score_measured,
    split_refused,
)
from tuneloop.evaluate.tasks.samples import Output, open_outputs
from tuneloop.evaluate.tasks.vllm import VllmResponder
from tuneloop.generate.endpoint import Endpoint
from tuneloop.generate.endpoint_config import EndpointConfig
from tuneloop.model.source import environment
from tuneloop.pipeline.opening import file_name, find_model

RECORD_FILE = "record.json"
SAMPLES_FILE = "samples.jsonl"
_OUTPUTS_FILE = "outputs.jsonl"
_CALLS_FILE = "calls.jsonl"
_VLLM = "vllm:"


@dataclass(frozen=True)
class TaskRun:
    """What is evaluated, where it leaves its files, and against what."""

    task: TaskConfig
    rows: Path
    out: Path
    limit: int | None = None
    seed: int = 0
    against: Path | None = None
    """The folder of an earlier evaluation on the same questions."""
    warnings: tuple[str, ...] = ()


def run_task(run: TaskRun, responder: Responder, hooks: Hooks) -> TaskRecord:
    """Ask, measure, record. Started again in the same folder, it goes on where it was cut off.

    Raises:
        DataError: rows that cannot be read or measured; `against` holds other questions.
        ConfigError: the folder holds another evaluation; the difference is named.
        StoppedError: an end was asked for.
    """
    with own_folder(run.out):
        read = read_questions(run.task, run.rows, limit=run.limit, seed=run.seed)
        questions, refused = split_refused(run.task, read.asked, responder)
        if not questions:
            raise DataError(f"no question of {run.rows} can be asked: {refused[0]}.")
        ledgers = _count_refused(read.ledgers, refused)
        hooks.emit("questions", asked=len(questions), files=[ledger.model_dump(mode="json") for ledger in ledgers])
        identity = {
            "task": run.task.hash,
            "questions": hash_json([question.hash for question in questions]),
            "seed": run.seed,
            "responder": responder.identity(),
        }
        begun = time.monotonic()
        with open_outputs(run.out / _OUTPUTS_FILE, identity) as log:
            if log.outputs:
                hooks.emit(
                    "resumed_outputs", done=len(log.outputs), total=len(questions) * run.task.generate.num_samples
                )
            ask_questions(run.task, questions, responder, log, seed=run.seed, hooks=hooks)
            outputs = log.by_question(len(questions))
        measured = measure_outputs(run.task, questions, outputs)
        samples = build_samples(questions, outputs, measured)
        write_jsonl(run.out / SAMPLES_FILE, [sample.model_dump(mode="json") for sample in samples])
        record = _record(run, responder, _Result(questions, outputs, measured, ledgers, time.monotonic() - begun))
        record.save(run.out / RECORD_FILE)
    return record


def _count_refused(ledgers: Sequence[FileLedger], refused: Sequence[Problem]) -> tuple[FileLedger, ...]:
    """The ledgers after the model, too, has left questions out."""
    counted = []
    for ledger in ledgers:
        num_refused = sum(problem.origin.file == ledger.path for problem in refused)
        problems = dict(ledger.problems) | ({"not_askable": num_refused} if num_refused else {})
        counted.append(ledger.replace(kept=ledger.kept - num_refused, problems=problems))
    return tuple(counted)


@dataclass(frozen=True)
class _Result:
    questions: Sequence[Question]
    outputs: Sequence[Sequence[Output]]
    measured: Sequence[Measured]
    ledgers: tuple[FileLedger, ...]
    wall_s: float


def _record(run: TaskRun, responder: Responder, result: _Result) -> TaskRecord:
    flat = [output for group in result.outputs for output in group]
    record = TaskRecord(
        created_at=datetime.now(UTC),
        plan=run.task.model_dump(mode="json"),
        seed=run.seed,
        task=run.task.name,
        version=run.task.version,
        task_sha256=run.task.hash,
        model=responder.description,
        identity_sha256=hash_json(responder.identity()),
        contract_hash=responder.contract_hash,
        questions_sha256=hash_json([question.hash for question in result.questions]),
        files=result.ledgers,
        scores=score_measured(result.measured, seed=run.seed),
        num_questions=len(result.questions),
        samples=SAMPLES_FILE,
        samples_sha256=hash_file(run.out / SAMPLES_FILE),
        wall_s=result.wall_s,
        generated_tokens=sum(output.output_tokens for output in flat),
        cut_outputs=sum(not output.finished for output in flat),
        warnings=run.warnings,
    )
    if run.against is None:
        return record
    return _compare(record, run, result)


def _compare(record: TaskRecord, run: TaskRun, result: _Result) -> TaskRecord:
    assert run.against is not None, "there is something to compare with"
    earlier = TaskRecord.load(run.against / RECORD_FILE)
    differing = [
        name for name in ("task_sha256", "questions_sha256") if getattr(earlier, name) != getattr(record, name)
    ]
    if differing:
        what = "another version of the task" if "task_sha256" in differing else "other questions"
        raise DataError(f"{run.against}: holds {what}. Evaluate both models on the same rows and settings.")
    if hash_file(run.against / SAMPLES_FILE) != earlier.samples_sha256:
        raise DataError(f"{run.against / SAMPLES_FILE}: was changed after it was written.")
    samples = [TaskSample.model_validate(values) for values in read_jsonl(run.against / SAMPLES_FILE)]
    outputs = [
        [
            Output(
                question=place,
                sample=number,
                text=text,
                prompt_tokens=sample.prompt_tokens,
                output_tokens=sample.output_tokens[number],
                finished=sample.finished[number],
            )
            for number, text in enumerate(sample.outputs)
        ]
        for place, sample in enumerate(samples)
    ]
    before = measure_outputs(run.task, result.questions, outputs)
    compared = compare_measured(before, result.measured, seed=run.seed)
    return record.replace(against=earlier.model, comparisons=compared)


def evaluate_named(source: str, run: TaskRun, hooks: Hooks, *, template: str | None = None) -> TaskRecord:
    """A model by path or name (`vllm:FOLDER` in vLLM) on a task.

    Raises:
        ModelError, ConfigError: there is no such model.
        And what `run_task` raises.
    """
    is_vllm = source.startswith(_VLLM)
    named = find_model(source.removeprefix(_VLLM), template=template)
    if is_vllm and named.adapter is not None:
        raise ConfigError(f"{source}: vLLM takes a plain folder. Export 'merged', or evaluate without vllm:.")
    sha256 = named.sha256()
    responder: Responder
    if is_vllm:
        responder = VllmResponder.load(named.weights, named.renderer, sha256=sha256)
    else:
        responder = LocalResponder(named.load(), named.renderer, source, sha256)
    return run_task(replace(run, warnings=named.warnings), responder, hooks)


def evaluate_endpoint(config: EndpointConfig, run: TaskRun, hooks: Hooks) -> TaskRecord:
    """A model behind an endpoint on a task; what was paid lies in `calls.jsonl` and is not paid again.

    Raises:
        EndpointError: it is down, or the budget is spent.
        And what `run_task` raises.
    """
    warnings = ("the server renders prompts by a template of its own, which may differ from that of the training.",)
    with Endpoint.open(config, run.out / _CALLS_FILE, environment(), seed=run.seed) as endpoint:
        return run_task(replace(run, warnings=warnings), EndpointResponder(endpoint), hooks)


def default_folder(task: str, model: str) -> Path:
    """`runs/eval/TASK/MODEL`, with what a file name cannot hold left out."""
    return Path("runs/eval") / task / (file_name(model) or "model")


def as_json(record: TaskRecord, folder: Path) -> dict[str, Any]:
    """What scripts are answered."""
    return {
        "task": record.task,
        "version": record.version,
        "model": record.model,
        "n": record.num_questions,
        "scores": [
            {"name": each.name, "filters": each.filters, "without_answer": each.without_answer}
            | each.score.model_dump(mode="json")
            for each in record.scores
        ],
        "against": record.against or None,
        "comparisons": [{"name": each.name} | each.comparison.model_dump(mode="json") for each in record.comparisons],
        "files": [ledger.model_dump(mode="json") for ledger in record.files],
        "contract_hash": record.contract_hash,
        "warnings": list(record.warnings),
        "wall_s": record.wall_s,
        "generated_tokens": record.generated_tokens,
        "cut_outputs": record.cut_outputs,
        "samples": str(folder / record.samples),
        "record": str(folder / RECORD_FILE),
    }
