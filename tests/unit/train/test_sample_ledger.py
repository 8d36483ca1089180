"""Which rows each step learned from: killed at any step and begun again, none is missing and none comes twice."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tuneloop.batch import Batch
from tuneloop.core.events import Event
from tuneloop.train import stage as stage_module
from tuneloop.train.feed import Feed
from unit.train.training_kit import STAGE, Killed, Lab, Watch, random_rows, write_shallow_model

Ledger = dict[int, list[tuple[int, ...]]]
"""Step -> the tokens of each of its rows, in the order in which they were computed."""

SAVED = 3
EPOCH = 4
LAST = 8
PLACES = sorted({1, SAVED - 1, SAVED, SAVED + 1, EPOCH, LAST})


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shallow_model(tmp_path_factory.mktemp("shallow"))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, ...]]]:
    """The rows of each training step from now on, as they reach the model."""
    noted: list[list[tuple[int, ...]]] = []
    original = stage_module.train_step

    def note(model: Any, objective: Any, batches: list[Batch], *arguments: Any, **options: Any) -> Any:
        noted.append(
            [
                tuple(batch.ids_T[begin:end].tolist())
                for batch in batches
                for begin, end in zip(batch.bounds[:-1], batch.bounds[1:], strict=True)
            ]
        )
        return original(model, objective, batches, *arguments, **options)

    monkeypatch.setattr(stage_module, "train_step", note)
    return noted


def train(lab: Lab, computed: list[list[tuple[int, ...]]], ledger: Ledger, *, kill_at: int | None = None) -> None:
    """Train to the end or to a step; a step that is done again is written over."""

    def react(_: Watch, event: Event) -> None:
        if event["kind"] == "step":
            ledger[event["step"]] = computed[-1]
            if event["step"] == kill_at:
                raise Killed

    if kill_at is None:
        lab.fit(Watch(react))
        return
    with pytest.raises(Killed):
        lab.fit(Watch(react))


def lab_of(shallow: Path, folder: Path, micro_batch_tokens: int) -> Lab:
    return Lab(shallow, folder, stages=(STAGE.replace(micro_batch_tokens=micro_batch_tokens, save_steps=SAVED),))


def misread(ledger: Ledger, lab: Lab) -> list[str]:
    """Rows that an epoch left out or took twice."""
    every = Counter(tuple(row.ids.tolist()) for row in lab.rows)
    assert max(every.values()) == 1
    wrong = []
    for begin in (0, EPOCH):
        seen = Counter(row for step in range(begin + 1, begin + EPOCH + 1) for row in ledger.get(step, []))
        missing, repeated = (every - seen).total(), (seen - every).total()
        if missing or repeated:
            wrong.append(f"epoch from step {begin + 1}: {missing} missing, {repeated} repeated")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [64, 512])
def test_killed_at_a_step_every_row_comes_once_an_epoch(
    tokens: int, shallow: Path, tmp_path: Path, computed: list[list[tuple[int, ...]]]
) -> None:
    whole, expected = lab_of(shallow, tmp_path / "whole", tokens), Ledger()
    train(whole, computed, expected)
    assert list(expected) == list(range(1, LAST + 1))
    assert misread(expected, whole) == []
    for step in PLACES:
        lab, ledger = lab_of(shallow, tmp_path / str(step), tokens), Ledger()
        train(lab, computed, ledger, kill_at=step)
        before = dict(ledger)
        train(lab, computed, ledger)
        assert ledger == expected, step
        assert all(expected[number] == rows for number, rows in before.items())


def test_a_restart_that_begins_its_epoch_anew_is_caught(
    shallow: Path, tmp_path: Path, computed: list[list[tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: the rows of a restart are counted from its own first step."""
    lab, ledger = lab_of(shallow, tmp_path, 64), Ledger()
    train(lab, computed, ledger, kill_at=SAVED + 1)
    newest, _ = lab.checkpoints.newest()
    assert newest is not None
    batches, done = Feed.batches, newest.progress.step
    monkeypatch.setattr(Feed, "batches", lambda self, step, **options: batches(self, step - done, **options))
    train(lab, computed, ledger)
    assert misread(ledger, lab) != []


def test_rows_of_the_kit_all_differ() -> None:
    assert len({tuple(row.ids.tolist()) for row in random_rows(14)}) == 14
