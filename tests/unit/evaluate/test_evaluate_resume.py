"""An evaluation of held-out rows that was cut off goes on: no answer is lost, none is asked for twice."""

from pathlib import Path

import pytest

from tuneloop.core.events import Event
from tuneloop.core.hooks import Hooks
from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message, Origin, Row
from tuneloop.evaluate.config import EvaluateConfig
from tuneloop.evaluate.records import Sample
from tuneloop.evaluate.run import HeldOut, evaluate_model
from tuneloop.evaluate.tasks.samples import open_outputs
from tuneloop.model.backbone import CausalModel
from unit.train.training_kit import Killed, Watch, load

CONFIG = EvaluateConfig.model_validate(
    {"metrics": ["exact_match"], "generate": {"max_new_tokens": 6, "batch_size": 2, "temperature": 1.2}}
)


@pytest.fixture(scope="module")
def renderer(tiny_model: Path) -> Renderer:
    return load_renderer(tiny_model)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> CausalModel:
    return load(tiny_model)


@pytest.fixture(scope="module")
def held_out(renderer: Renderer) -> HeldOut:
    rows = [
        Row(
            (Message("user", f"the cat {'sat ' * number}?"), Message("assistant", "on the mat")), Origin("rows", number)
        )
        for number in range(1, 10)
    ]
    return HeldOut(rows, [renderer.encode_row(row.messages) for row in rows])


def evaluate(model: CausalModel, renderer: Renderer, held_out: HeldOut, path: Path, hooks: Hooks) -> list[Sample]:
    with open_outputs(path, {"of": "this test"}) as log:
        return evaluate_model(model, renderer, held_out, CONFIG, seed=3, hooks=hooks, log=log)


def test_killed_again_and_again(model: CausalModel, renderer: Renderer, held_out: HeldOut, tmp_path: Path) -> None:
    whole = evaluate_model(model, renderer, held_out, CONFIG, seed=3, hooks=Hooks())
    answered: list[int] = []

    def kill(watch: Watch, event: Event) -> None:
        if event["kind"] == "generated":
            answered.append(event["done"])
            if len(watch.of_kind("generated")) == 2:
                raise Killed

    path, kills, samples = tmp_path / "outputs.jsonl", 0, None
    while samples is None:
        before = path.read_bytes() if path.exists() else b""
        try:
            samples = evaluate(model, renderer, held_out, path, Watch(kill).hooks)
        except Killed:
            kills += 1
        assert path.read_bytes().startswith(before)
    assert kills >= 2
    assert samples == whole
    assert len(path.read_text().splitlines()) == 1 + len(held_out.rows)


def test_nothing_is_asked_where_all_is_answered(
    model: CausalModel, renderer: Renderer, held_out: HeldOut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "outputs.jsonl"
    whole = evaluate(model, renderer, held_out, path, Hooks())
    monkeypatch.setattr("tuneloop.evaluate.run.Engine", None)
    watch = Watch()
    assert evaluate(model, renderer, held_out, path, watch.hooks) == whole
    assert [(event["done"], event["total"]) for event in watch.of_kind("resumed_outputs")] == [(9, 9)]
