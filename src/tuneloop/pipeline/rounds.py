"""One round: train, evaluate; each step leaves its record, and a step whose record is there is not done again."""

import time
from typing import Any

from tuneloop.core.errors import ModelError
from tuneloop.core.events import last_by_step
from tuneloop.core.records import package_versions
from tuneloop.core.store import delete_files, hash_file, hash_json, write_json
from tuneloop.data.records import DatasetRecord
from tuneloop.data.stream import StreamedRows
from tuneloop.deploy.adapter import merge
from tuneloop.evaluate.records import EvalRecord
from tuneloop.evaluate.run import HeldOut, compare_samples, evaluate_model, score_samples
from tuneloop.evaluate.tasks.samples import open_outputs
from tuneloop.model.backbone import CausalModel
from tuneloop.model.hardware import peak_memory_bytes
from tuneloop.model.load import load_model
from tuneloop.model.quantize import bits_a_weight, library_of, num_quantised, rounding_error
from tuneloop.pipeline.planning import is_out_of_memory, memory_advice, out_of_memory
from tuneloop.pipeline.session import Session
from tuneloop.plan import Plan
from tuneloop.train.checkpoint import Checkpoints
from tuneloop.train.job import TrainJob, TrainResult
from tuneloop.train.loop import fit, restore_weights
from tuneloop.train.meter import mean_utilisation
from tuneloop.train.records import CheckpointRecord, TrainCost
from tuneloop.tune.build import Tuned, apply_tune
from tuneloop.tune.config import is_base_frozen


def evaluate_base(session: Session) -> EvalRecord:
    """Measure the model before any training."""
    if not session.folder.record("eval", 0).exists():
        model = load_model(session.base, session.hardware, session.plan.model)
        _evaluate(session, session.plan, model, number=0, parent=session.dataset_record(1, session.plan).hash)
    return session.folder.read_eval(0)


def train_round(session: Session, plan: Plan, number: int) -> CheckpointRecord:
    """Train one round from the base, or go on with it."""
    path = session.folder.record("checkpoint", number)
    if path.exists():
        return CheckpointRecord.load(path)
    dataset = session.dataset_record(number, plan)
    if advice := memory_advice(session, plan):
        session.log.emit("advice", round=number, text=advice)
    try:
        record = _train(session, plan, number, dataset)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(session, plan, error) from error
    record.save(path)
    return record


def _train(session: Session, plan: Plan, number: int, dataset: DatasetRecord) -> CheckpointRecord:
    model = load_model(session.base, session.hardware, plan.model, is_frozen=is_base_frozen(plan.tune))
    if plan.model.quantization is not None:
        session.log.emit(
            "quantised",
            round=number,
            quantisation=plan.model.quantization,
            weights=num_quantised(model.network),
            bits=bits_a_weight(model.network),
            rounding_error=rounding_error(model.network),
        )
    tuned = apply_tune(model, plan.tune, seed=plan.seed)
    session.log.emit(
        "tuned", round=number, description=tuned.description, trainable=tuned.num_trainable, total=tuned.total
    )
    checkpoints = Checkpoints(session.folder.checkpoints(number))
    with session.phase("train", number):
        result = fit(
            TrainJob(
                model=model,
                trainable=tuned.trainable,
                rows=session.data.train,
                eval_rows=list(session.data.eval),
                stages=plan.stages,
                learning_rates=plan.learning_rates(),
                seed=plan.seed,
                epochs=session.data.epochs,
                rate_factors=tuned.rate_factors,
            ),
            checkpoints,
            fingerprint=_fingerprint(session, plan, dataset),
            hooks=session.hooks(number),
            accept_changes=session.accept_changes,
        )
    if isinstance(session.data.train, StreamedRows):
        rows = session.data.train
        ledger = rows.counts.as_json(is_complete=rows.is_complete)
        write_json(session.folder.data(number) / "ledger.json", ledger)
    return _checkpoint_record(session, plan, dataset, tuned, result)


def evaluate_round(session: Session, plan: Plan, number: int) -> EvalRecord:
    """Measure a round's model as it will be deployed: merged, on the same rows as the base.

    On a quantised base the correction stays beside it: merged, the model would need the memory of full width.
    """
    if not session.folder.record("eval", number).exists():
        session.dataset_record(number, plan)
        checkpoint = CheckpointRecord.load(session.folder.record("checkpoint", number))
        model = load_round(session, plan, number)
        if plan.model.quantization is None:
            merge(model)
        _evaluate(session, plan, model, number=number, parent=checkpoint.hash)
    return session.folder.read_eval(number)


def load_round(session: Session, plan: Plan, number: int) -> CausalModel:
    """The model of a round, its correction beside the base where the way of tuning has one."""
    checkpoint = CheckpointRecord.load(session.folder.record("checkpoint", number))
    if checkpoint.base_hash != session.base_hash:
        raise ModelError(
            f"{plan.model.source}: its weights are not those that round {number} was trained on. Restore them, or "
            "train again into another --out."
        )
    model = load_model(session.base, session.hardware, plan.model)
    tuned = apply_tune(model, plan.tune, seed=plan.seed)
    manifest = Checkpoints.read(session.folder.path / checkpoint.manifest)
    restore_weights(tuned.trainable, Checkpoints(session.folder.checkpoints(number)).load_weights(manifest))
    model.network.eval()
    return model


def _evaluate(session: Session, plan: Plan, model: CausalModel, *, number: int, parent: str) -> None:
    begun = time.perf_counter()
    held_out = HeldOut(session.data.eval_rows, list(session.data.eval))
    identity = {
        "base": session.base_hash,
        "parent": parent,
        "contract": session.renderer.contract.hash,
        "rows": session.data.eval.sha256,
        "generate": plan.evaluate.generate.model_dump(mode="json"),
        "seed": plan.seed,
        "hardware": [session.hardware.device.type, session.hardware.precision],
    }
    path = session.folder.samples(number)
    kept = path.with_name(f"outputs-{hash_json(identity)[:12]}.jsonl")
    with session.phase("evaluate", number), open_outputs(kept, identity) as log:
        samples = evaluate_model(
            model, session.renderer, held_out, plan.evaluate, seed=plan.seed, hooks=session.hooks(number), log=log
        )
    session.folder.write_samples(number, samples)
    delete_files(path.parent.glob("outputs-*.jsonl"))
    base_samples = session.folder.read_samples(0) if number else []
    EvalRecord(
        **session.provenance(plan, parent),
        round=number,
        model=plan.model.source if number == 0 else f"round {number} on {plan.model.source}",
        contract_hash=session.renderer.contract.hash,
        rows_sha256=session.data.eval.sha256,
        scores=score_samples(samples, plan.evaluate, seed=plan.seed),
        comparisons=compare_samples(base_samples, samples, plan.evaluate, seed=plan.seed) if number else (),
        num_samples=len(samples),
        samples=session.folder.relative(path),
        samples_sha256=hash_file(path),
        wall_s=time.perf_counter() - begun,
        generated_tokens=sum(sample.output_tokens for sample in samples),
    ).save(session.folder.record("eval", number))


def _fingerprint(session: Session, plan: Plan, dataset: DatasetRecord) -> dict[str, Any]:
    """What must be equal for a continuation to be the same, bit for bit."""
    versions = package_versions()
    quantised = {}
    if plan.model.quantization is not None:
        quantised = plan.model.model_dump(mode="json", include={"quantization", "double_quantization"})
        quantised["quantised_with"] = library_of(plan.model)
    return {
        **plan.model_dump(mode="json", include={"seed", "tune", "stages"}),
        **quantised,
        "rows": dataset.rows_sha256,
        "base": session.base_hash,
        "threads": session.hardware.threads,
        "device": session.hardware.device.type,
        "precision": session.hardware.precision,
        **{name: versions[name] for name in ("torch", "transformers", "peft")},
    }


def _checkpoint_record(
    session: Session, plan: Plan, dataset: DatasetRecord, tuned: Tuned, result: TrainResult
) -> CheckpointRecord:
    progress = result.progress
    checkpoints = Checkpoints(session.folder.checkpoints(dataset.round))
    return CheckpointRecord(
        **session.provenance(plan, dataset.hash),
        round=dataset.round,
        base=plan.model.source,
        base_hash=session.base_hash,
        step=result.manifest.progress.step,
        manifest=session.folder.relative(checkpoints.path_of(result.manifest)),
        weights_sha256=result.manifest.weights_sha256,
        tune=tuned.description,
        trainable_parameters=tuned.num_trainable,
        total_parameters=tuned.total,
        train_loss=result.manifest.progress.last_train_loss,
        validation_loss=result.manifest.progress.last_validation_loss,
        skipped_steps=progress.skipped,
        device=session.hardware.device.type,
        precision=session.hardware.precision,
        threads=session.hardware.threads,
        cost=TrainCost(
            wall_s=progress.wall_s,
            steps=progress.total_steps,
            tokens=progress.tokens,
            target_tokens=progress.target_tokens,
            tokens_per_s=progress.tokens / progress.step_s if progress.step_s else 0.0,
            peak_memory_bytes=peak_memory_bytes(session.hardware.device),
            target_tokens_per_s=progress.target_tokens / progress.step_s if progress.step_s else 0.0,
            utilisation=mean_utilisation(last_by_step(session.folder.round_events("step", dataset.round))),
        ),
    )
