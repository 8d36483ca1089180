"""The model card: what it was made from, how, how well it does, and where that is written down."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tuneloop.data.records import DatasetRecord
from tuneloop.evaluate.records import EvalRecord
from tuneloop.train.records import CheckpointRecord


@dataclass(frozen=True)
class Quantisation:
    """How the base's weights were rounded for training."""

    name: str
    rounding_error: float
    """Root mean square of the change, relative to the weights."""


def write_card(
    *,
    name: str,
    dataset: DatasetRecord,
    checkpoint: CheckpointRecord,
    evaluation: EvalRecord | None,
    adapter: bool,
    quantisation: Quantisation | None = None,
) -> str:
    """README.md of an exported folder, as the hub reads it."""
    header: dict[str, Any] = {"base_model": checkpoint.base.removeprefix("hf:"), "pipeline_tag": "text-generation"}
    kind = str(checkpoint.plan.get("tune", {}).get("kind", "lora"))
    library = "tuneloop" if kind == "adapter" else "peft"
    header["library_name"] = library if adapter else "transformers"
    header["tags"] = ["tuneloop", "sft", *([kind] if adapter else [])]
    moved = f"{checkpoint.trainable_parameters:,} of {checkpoint.total_parameters:,} parameters moved"
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n",
        f"# {name}\n",
        f"{checkpoint.base}, fine-tuned with tuneloop: {checkpoint.tune}; {moved}.\n",
        *([_precision(quantisation, adapter=adapter)] if quantisation is not None else []),
        "## Data\n",
        _data_table(dataset),
        "## Scores\n",
        _score_table(evaluation),
        "## Lineage\n",
        _lineage(dataset, checkpoint, evaluation),
    ]
    return "\n".join(parts)


def _precision(quantisation: Quantisation, *, adapter: bool) -> str:
    begin = (
        f"Trained and measured on the base's linear layers in {quantisation.name}, which changed their weights by "
        f"{quantisation.rounding_error:.2%} (root mean square, relative). "
    )
    if adapter:
        return begin + "The adapter fits the base in full width too, but that is not quite the model measured here.\n"
    return (
        begin + "The correction is merged into the rounded weights, so that this folder answers as the model did in "
        "training; what rounding lost stays lost.\n"
    )


def _data_table(dataset: DatasetRecord) -> str:
    lines = ["| file | read | kept | left out | SHA-256 |", "|---|---|---|---|---|"]
    for file in dataset.files:
        left_out = ", ".join(f"{code} {number}" for code, number in file.problems.items()) or "none"
        lines.append(f"| {file.path} | {file.read} | {file.kept} | {left_out} | `{file.sha256[:16]}` |")
    lines.append(
        f"\n{dataset.train.rows} rows were trained on ({dataset.train.target_tokens:,} target tokens), "
        f"{dataset.eval.rows} held out.\n"
    )
    return "\n".join(lines)


def _score_table(evaluation: EvalRecord | None) -> str:
    if evaluation is None:
        return "Not measured.\n"
    before = {comparison.metric: comparison for comparison in evaluation.comparisons}
    lines = ["| metric | base | this model | 95 % interval | rows | what exactly |", "|---|---|---|---|---|---|"]
    for score in evaluation.scores:
        base = f"{before[score.metric].before:.3f}" if score.metric in before else ""
        interval = f"{score.interval.low:.3f} to {score.interval.high:.3f}" if score.interval else ""
        signature = score.signature.replace("|", "\\|")
        lines.append(f"| {score.metric} | {base} | {score.value:.3f} | {interval} | {score.n} | `{signature}` |")
    return "\n".join([*lines, ""])


def _lineage(dataset: DatasetRecord, checkpoint: CheckpointRecord, evaluation: EvalRecord | None) -> str:
    rows: Sequence[tuple[str, str]] = [
        ("dataset record", dataset.hash),
        ("checkpoint record", checkpoint.hash),
        ("evaluation record", evaluation.hash if evaluation else "none"),
        ("prompt contract", dataset.contract_hash),
        ("base weights", checkpoint.base_hash),
        ("tuned weights", checkpoint.weights_sha256),
    ]
    return "\n".join([*(f"* {label}: `{value}`" for label, value in rows), ""])
