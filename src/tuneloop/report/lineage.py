"""Who was made from whom: every record with the parents that its hash list names, checked against the folder."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tuneloop.core.records import Record
from tuneloop.deploy.records import ExportRecord
from tuneloop.report import figures
from tuneloop.report.folder import RunFolder

NodeKind = Literal["files", "dataset", "base", "checkpoint", "eval", "decision", "export"]
_MOST_FILES = 5


@dataclass(frozen=True)
class Node:
    """One thing in the chain."""

    kind: NodeKind
    name: str
    """For people: a file, a model, `checkpoint-1`."""
    detail: str
    digest: str
    parents: tuple[str, ...] = ()
    """Names of the records that it was made from."""
    strangers: tuple[str, ...] = ()
    """Short hashes of parents that are not in this folder."""
    more: int = 0
    """How many further things of the kind stand behind this node."""


@dataclass(frozen=True)
class Chain:
    """The nodes of one round, in the order of making: groups of siblings, some of them empty."""

    round: int
    groups: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True)
class Lineage:
    """All chains, and the exports with their checks."""

    chains: tuple[Chain, ...]
    exports: tuple[ExportRecord, ...]


def lineage_of(run: RunFolder) -> Lineage:
    """The chains of a run, the base first."""
    names = {record.hash: name for name, record in run.records.items()}
    chains = []
    for number in [0, *run.rounds]:
        groups = tuple(tuple(group) for group in _groups(run, number, names))
        if any(groups):
            chains.append(Chain(number, groups))
    return Lineage(tuple(chains), tuple(run.exports.values()))


def _groups(run: RunFolder, number: int, names: dict[str, str]) -> Iterable[list[Node]]:
    """Siblings of one round, group by group, in the order of making."""
    details: tuple[tuple[NodeKind, dict[int, Any], Callable[[Any], str]], ...] = (
        ("dataset", run.datasets, lambda _: ""),
        ("checkpoint", run.checkpoints, lambda record: figures.count(record.step)),
        ("eval", run.evals, lambda _: ""),
        ("decision", run.decisions, lambda record: "accepted" if record.accepted else "rejected"),
    )
    yield _files(run, number)
    for kind, records, detail in details:
        record = records.get(number)
        own = [_node(kind, f"{kind}-{number}", detail(record), record, names)] if record else []
        yield [*(_base(run, number) if kind == "checkpoint" else ()), *own]
    yield [
        _node("export", f"export-{name}", record.folder, record, names)
        for name, record in run.exports.items()
        if _round_of(run, record) == number
    ]


def _base(run: RunFolder, number: int) -> list[Node]:
    checkpoint, measured = run.checkpoints.get(number), run.evals.get(0)
    if checkpoint:
        return [Node("base", checkpoint.base, "", checkpoint.base_hash)]
    if number == 0 and measured:
        known = next((item.base_hash for item in run.checkpoints.values()), "")
        return [Node("base", measured.model, "", known)]
    return []


def _files(run: RunFolder, number: int) -> list[Node]:
    record = run.datasets.get(number)
    files = record.files if record else ()
    nodes = [Node("files", file.path, f"{figures.count(file.read)}", file.sha256) for file in files[:_MOST_FILES]]
    if len(files) > _MOST_FILES:
        nodes.append(Node("files", "", "", "", more=len(files) - _MOST_FILES))
    return nodes


def _round_of(run: RunFolder, export: ExportRecord) -> int:
    """The round whose records an export names; without any, the last accepted one."""
    named = [
        number
        for group in (run.checkpoints, run.decisions, run.evals)
        for number, record in group.items()
        if record.hash in export.parents
    ]
    accepted = [number for number, decision in run.decisions.items() if decision.accepted]
    return max(named or accepted or list(run.checkpoints) or [0])


def _node(kind: NodeKind, name: str, detail: str, record: Record, names: dict[str, str]) -> Node:
    return Node(
        kind=kind,
        name=name,
        detail=detail,
        digest=record.hash,
        parents=tuple(names[parent] for parent in record.parents if parent in names),
        strangers=tuple(figures.short_hash(parent) for parent in record.parents if parent not in names),
    )
