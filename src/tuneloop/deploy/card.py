"""The model card: what it was made from, how, how well it does, and where that is written down."""

from collections.abc import Sequence
from typing import Any

import yaml

from tuneloop.data.records import DatasetRecord
from tuneloop.evaluate.records import EvalRecord
from tuneloop.train.records import CheckpointRecord


def write_card(
    *, name: str, dataset: DatasetRecord, checkpoint: CheckpointRecord, evaluation: EvalRecord | None, adapter: bool
) -> str:
    """README.md of an exported folder, as the hub reads it."""
    header: dict[str, Any] = {"base_model": checkpoint.base.removeprefix("hf:"), "pipeline_tag": "text-generation"}
    header["library_name"] = "peft" if adapter else "transformers"
    header["tags"] = ["tuneloop", "sft", *(["lora"] if adapter else [])]
    moved = f"{checkpoint.trainable_parameters:,} of {checkpoint.total_parameters:,} parameters moved"
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n",
        f"# {name}\n",
        f"{checkpoint.base}, fine-tuned with tuneloop: {checkpoint.tune}; {moved}.\n",
        "## Data\n",
        _data_table(dataset),
        "## Scores\n",
        _score_table(evaluation),
        "## Lineage\n",
        _lineage(dataset, checkpoint, evaluation),
    ]
    return "\n".join(parts)


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
