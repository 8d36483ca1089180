"""The accepted model to folders that others can use, each checked before it is called done."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tuneloop.core.store import hash_file, write_folder, write_json, write_text
from tuneloop.data.records import DatasetRecord
from tuneloop.data.schema import Message, Row
from tuneloop.deploy.adapter import BASE_FILE, load_with_adapter, merge, write_adapter
from tuneloop.deploy.card import Quantisation, write_card
from tuneloop.deploy.contract import check_contract, write_contract
from tuneloop.deploy.merged import check_logits, load_merged, probe_logits, stored_type, write_merged
from tuneloop.deploy.records import ExportRecord
from tuneloop.evaluate.records import EvalRecord
from tuneloop.model.backbone import CausalModel
from tuneloop.model.quantize import rounding_error
from tuneloop.pipeline.rounds import load_round
from tuneloop.pipeline.session import Session
from tuneloop.plan import Plan
from tuneloop.train.records import CheckpointRecord
from tuneloop.tune.config import export_formats

_NUM_PROBES = 4
_GOLDEN = (Message("user", "Hello"),)


Format = Literal["adapter", "merged"]


def export_round(session: Session, plan: Plan, number: int, wanted: Sequence[Format]) -> list[ExportRecord]:
    """Export a round's model in every wanted format that its way of tuning has; where it has none, in one that it has.

    A folder that was exported from the same checkpoint before is left as it is.

    Raises:
        ContractError: an exported folder answers, or renders a prompt, differently from the trained model.
    """
    formats = _choose_formats(session, plan, wanted)
    checkpoint = CheckpointRecord.load(session.folder.record("checkpoint", number))
    missing = [name for name in formats if not _is_exported(session, name, checkpoint)]
    if missing:
        with session.phase("export", number):
            _export(session, plan, number, missing)
    return [ExportRecord.load(session.folder.record("export", name)) for name in formats]


def _choose_formats(session: Session, plan: Plan, wanted: Sequence[Format]) -> list[Format]:
    refusals = export_formats(plan.tune)
    had: list[Format] = [name for name, refusal in refusals.items() if refusal is None]
    chosen = [name for name in wanted if name in had]
    for name in wanted:
        if name not in had:
            session.log.emit("left_out", format=name, reason=refusals[name])
    return chosen or (had[:1] if wanted else [])


def _is_exported(session: Session, name: Format, checkpoint: CheckpointRecord) -> bool:
    path = session.folder.record("export", name)
    if not path.exists():
        return False
    record = ExportRecord.load(path)
    folder = session.folder.path / record.folder
    return checkpoint.hash in record.parents and all(
        (folder / file).is_file() and hash_file(folder / file) == sha256 for file, sha256 in record.files.items()
    )


def _export(session: Session, plan: Plan, number: int, formats: Sequence[Format]) -> None:
    model = load_round(session, plan, number)
    conversations = _probes_of(session.data.eval_rows) or [_GOLDEN]
    probes = [session.renderer.encode_prompt(messages) for messages in conversations]
    expected = probe_logits(model, probes)

    def describe(part: Path, *, adapter: bool) -> None:
        write_contract(session.renderer, session.base, part)
        write_text(part / "README.md", _card(session, number, quantisation, adapter=adapter))
        check_contract(session.renderer, part, conversations)

    measured = (0.0, 0.0)
    quantisation = _quantisation_of(model, plan)

    def fill_adapter(part: Path) -> None:
        nonlocal measured
        write_adapter(model, part, base=plan.model.source)
        base = {"source": _absolute(session), "sha256": session.base_hash}
        if quantisation is not None:
            base |= plan.model.model_dump(mode="json", include={"quantization", "double_quantization"})
        write_json(part / BASE_FILE, base)
        describe(part, adapter=True)
        measured = check_logits(load_with_adapter(session.base, part, plan.model), probes, expected, where=part)

    def fill_merged(part: Path) -> None:
        nonlocal measured
        dtype = stored_type(session.base, plan.deploy.dtype)
        write_merged(model, part, dtype=dtype)
        describe(part, adapter=False)
        measured = check_logits(load_merged(part, dtype=dtype), probes, expected, where=part)

    if "adapter" in formats:
        write_folder(session.folder.export("adapter"), fill_adapter)
        _record(session, plan, number, "adapter", measured, len(probes))
    if "merged" in formats:
        merge(model)
        write_folder(session.folder.export("merged"), fill_merged)
        _record(session, plan, number, "merged", measured, len(probes))
        if quantisation is not None:
            session.log.emit(
                "merged_quantised",
                round=number,
                quantisation=quantisation.name,
                rounding_error=quantisation.rounding_error,
                max_logit_difference=measured[0],
            )


def _record(
    session: Session,
    plan: Plan,
    number: int,
    name: Format,
    measured: tuple[float, float],
    num_probes: int,
) -> None:
    folder = session.folder.export(name)
    ExportRecord(
        **session.provenance(plan, CheckpointRecord.load(session.folder.record("checkpoint", number)).hash),
        format=name,
        folder=session.folder.relative(folder),
        files={path.name: hash_file(path) for path in sorted(folder.iterdir())},
        max_logit_difference=measured[0],
        logit_tolerance=measured[1],
        probes=num_probes,
    ).save(session.folder.record("export", name))


def _absolute(session: Session) -> str:
    """The base's source, so that it is found from any folder."""
    source = session.plan.model.source
    return source if ":" in source else str(session.base.resolve())


def _quantisation_of(model: CausalModel, plan: Plan) -> Quantisation | None:
    if plan.model.quantization is None:
        return None
    is_double = plan.model.quantization != "int8" and plan.model.double_quantization
    name = plan.model.quantization + (" with double quantisation" if is_double else "")
    return Quantisation(name, rounding_error(model.network))


def _card(session: Session, number: int, quantisation: Quantisation | None, *, adapter: bool) -> str:
    evaluation = session.folder.record("eval", number)
    return write_card(
        name=session.plan.name,
        dataset=DatasetRecord.load(session.folder.record("dataset", number)),
        checkpoint=CheckpointRecord.load(session.folder.record("checkpoint", number)),
        evaluation=EvalRecord.load(evaluation) if evaluation.exists() else None,
        adapter=adapter,
        quantisation=quantisation,
    )


def _probes_of(rows: Sequence[Row]) -> list[tuple[Message, ...]]:
    """Questions that any reader of the folder can ask: plain conversations."""
    plain = (row for row in rows if not row.is_text and not row.tools)
    return [row.before_answer() for row in itertools.islice(plain, _NUM_PROBES)]
