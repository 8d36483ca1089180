"""Every moment of a profile belongs to one kind of work, and to the part of the model that it was done for."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from training_kit import STAGE, Lab, Watch

from tuneloop.core.events import Event
from tuneloop.pipeline import profile as profiling
from tuneloop.pipeline.profile import Profiler, part_of
from tuneloop.pipeline.profile_times import PART_LABEL, Call, sum_times
from tuneloop.report.profile_page import Profile
from tuneloop.train.meter import DATA_LABEL, SAVING_LABEL
from tuneloop.tune.config import FullConfig, LoraConfig

MS = 1_000_000


def call(name: str, begin: int, end: int, *inside: Call, node: int = -1, kernel: int = 0, **more: Any) -> Call:
    """From and to in milliseconds."""
    return Call(name, begin * MS, end * MS, sequence_number=node, inside=list(inside), kernel_ns=kernel * MS, **more)


BACK = "autograd::engine::evaluate_function: "
STEP = [
    call(DATA_LABEL, 0, 10, call("aten::mm", 1, 4)),
    call(
        PART_LABEL + "attention",
        10,
        40,
        call("aten::linear", 11, 21, call("aten::mm", 12, 20, node=7), node=7),
        call("aten::scaled_dot_product_attention", 22, 38, call("aten::bmm", 23, 30), node=8),
    ),
    call("aten::cat", 40, 42),
    call("_TokenNLL", 45, 55, call("aten::mm", 46, 54), node=9),
    call(BACK + "_TokenNLLBackward", 55, 57, call("aten::mul", 55, 57), node=9),
    call(BACK + "MmBackward0", 60, 80, call("aten::mm", 61, 79), node=7),
    call("Optimizer.step#AdamW.step", 80, 90, call("aten::mul", 81, 89)),
    call(SAVING_LABEL, 95, 99),
]


def test_a_step_by_hand() -> None:
    times = sum_times(STEP, wall_s=0.1, is_cpu=True)
    milliseconds = {kind: round(1000 * seconds) for kind, seconds in times.kinds.items()}
    # 100 in all; what nobody named lies between the calls, and inside of the label and of nodes.
    assert milliseconds == {
        "data": 10,
        "matmul": 8 + 18,
        "attention": 16,
        "copy": 2,
        "elementwise": 2,
        "head": 12,
        "optimizer": 10,
        "saving": 4,
        "host": 18,
    }
    parts = {part.part: (round(1000 * part.forward_s), round(1000 * part.backward_s)) for part in times.parts}
    assert parts["attention"] == (10 + 16, 18)
    assert parts["head"] == (10, 2)
    assert parts["other"] == (2, 0)


def test_the_last_call_of_a_number_made_the_node() -> None:
    early = call(PART_LABEL + "norm", 0, 10, call("aten::mul", 1, 2, node=3))
    late = call(PART_LABEL + "feed_forward", 10, 20, call("aten::mm", 11, 12, node=3))
    backward = call(BACK + "MmBackward0", 20, 30, call("aten::mm", 20, 30), node=3)
    times = sum_times([early, late, backward], wall_s=0.03, is_cpu=True)
    assert {part.part: part.backward_s for part in times.parts if part.backward_s} == {"feed_forward": 0.01}


def test_work_of_other_threads_is_not_the_trainings_time() -> None:
    times = sum_times([*STEP, call("aten::mm", 0, 60, thread=2)], wall_s=0.1, is_cpu=True)
    assert times.kinds == sum_times(STEP, wall_s=0.1, is_cpu=True).kinds


def test_a_card_counts_by_its_kernels() -> None:
    roots = [call("aten::linear", 0, 5, call("aten::mm", 1, 4, kernel=30)), call("aten::mul", 5, 6, kernel=10)]
    times = sum_times(roots, wall_s=0.1, is_cpu=False)
    assert {kind: round(1000 * seconds) for kind, seconds in times.kinds.items() if seconds} == {
        "matmul": 30,
        "elementwise": 10,
        "host": 60,
    }


def test_products_of_all_micro_batches_have_one_name() -> None:
    shapes = [[[7, 16], [16, 32]], [[9, 16], [16, 32]], [[9, 32], [7, 16], [16, 32], []]]
    roots = [
        call("aten::embedding", 0, 1, shapes=[[100, 16], [1, 7]]),
        call("aten::embedding", 1, 2, shapes=[[100, 16], [1, 9]]),
        *(call("aten::mm", 2 + i, 3 + i, shapes=shape) for i, shape in enumerate(shapes[:2])),
        call("aten::addmm_", 4, 5, shapes=shapes[2]),
        call("aten::bmm", 5, 6, shapes=[[3, 4, 5], [3, 5, 6]]),
        call("aten::mm", 6, 7),
    ]
    found = {item.name: (item.calls, item.flops) for item in sum_times(roots, wall_s=1.0, is_cpu=True).products}
    assert found == {
        "tokens × 16 × 32": (3, 2 * 16 * 32 * (7 + 9 + 7)),  # noqa: RUF001
        "3 of 4 × 5 × 6": (1, 2 * 3 * 4 * 5 * 6),  # noqa: RUF001
    }


def test_parts_are_known_by_the_names_of_their_classes() -> None:
    from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2Attention
    from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRotaryEmbedding

    names: list[Any] = [GPT2Attention, GPT2MLP, LlamaMLP, LlamaRotaryEmbedding, nn.LayerNorm, nn.Embedding, nn.Linear]
    parts = [part_of(cls.__new__(cls)) for cls in names]
    assert parts == ["attention", "feed_forward", "feed_forward", None, "norm", "embedding", None]


def profiled(
    base: Path, folder: Path, steps: int, monkeypatch: pytest.MonkeyPatch, **lab: object
) -> tuple[Profile | None, list[str]]:
    """Train with a profiler that listens; what it found, and what it said."""
    found: list[Profile] = []
    said: list[str] = []
    monkeypatch.setattr(profiling, "write_profile_page", lambda _, profile: found.append(profile))
    with Profiler(folder / "profile", steps, said.append) as profiler:

        def react(_: Watch, event: Event) -> None:
            profiler(event)

        Lab(base, folder / "checkpoints", **lab).fit(Watch(react))
    return (found[0] if found else None), said


@pytest.mark.slow
def test_steps_of_a_training_add_up(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile, said = profiled(tiny_model, tmp_path, 3, monkeypatch, tune=LoraConfig(rank=2))
    assert profile is not None
    assert (profile.first_step, profile.last_step, profile.num_steps) == (2, 4, 3)
    assert sum(profile.kinds.values()) == pytest.approx(profile.wall_s, rel=0.01)
    # Steps 2 to 4 of eight hold one validation with its checkpoint.
    for kind in ("matmul", "attention", "head", "elementwise", "optimizer", "data", "saving", "validation", "host"):
        assert profile.kinds.get(kind, 0.0) > 0, kind
    seen = {part.part: part for part in profile.parts}
    for part in ("attention", "feed_forward", "norm"):
        assert seen[part].forward_s > 0
        assert seen[part].backward_s > 0
    assert any(item.name.startswith("tokens × 32 × ") for item in profile.products)  # noqa: RUF001
    (text,) = said
    assert text.startswith("Where the time of steps 2 to 4 went")
    trace = json.loads(gzip.decompress((tmp_path / "profile" / "trace.json.gz").read_bytes()))
    names = {event.get("name") for event in trace["traceEvents"]}
    assert {PART_LABEL + "attention", DATA_LABEL, "aten::mm"} <= names


@pytest.mark.slow
def test_products_are_all_the_work_there_is(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile, _ = profiled(tiny_model, tmp_path, 2, monkeypatch, tune=FullConfig())
    assert profile is not None
    done = sum(item.flops for item in profile.products)
    # A head that learns computes its logits again on the way back; attention is no matrix product here.
    assert 0.9 < done / profile.flops < 1.15


@pytest.mark.slow
def test_a_training_that_is_shorter_is_profiled_to_its_end(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = (STAGE.replace(max_steps=3),)
    profile, said = profiled(tiny_model, tmp_path, 100, monkeypatch, stages=stages)
    assert profile is not None
    assert (profile.first_step, profile.last_step) == (2, 3)
    assert len(said) == 1


def test_a_training_that_is_done_says_that_nothing_was_profiled(tmp_path: Path) -> None:
    said: list[str] = []
    with Profiler(tmp_path, 2, said.append):
        pass
    assert said == ["Nothing was profiled: that begins after the first step, and no second one was done."]
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_no_profile_and_no_hooks(tiny_model: Path, tmp_path: Path) -> None:
    from torch.nn.modules import module

    said: list[str] = []

    def fail_at_3() -> None:
        with Profiler(tmp_path / "profile", 9, said.append) as profiler:

            def react(_: Watch, event: Event) -> None:
                profiler(event)
                if event["kind"] == "step" and event["step"] == 3:
                    raise KeyboardInterrupt

            Lab(tiny_model, tmp_path / "checkpoints").fit(Watch(react))

    with pytest.raises(KeyboardInterrupt):
        fail_at_3()
    assert said == []
    assert not (tmp_path / "profile").exists()
    assert not module._global_forward_pre_hooks
    assert not module._global_forward_hooks
