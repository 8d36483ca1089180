"""How well a step uses the machine: limits by name and by measure, shares of them, and what a cache saved."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_kit import STAGE, Lab, Watch, random_rows

from tuneloop.train import meter
from tuneloop.train.meter import matmul_flops, mean_utilisation, peak_flops
from tuneloop.train.records import TrainCost
from tuneloop.tune.config import FreezeConfig


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA RTX A6000", 154.8e12),
        # Namesakes that are slower, and parts of a card.
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA H200 MIG 1g.18gb", None),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_peaks_by_the_name_that_the_driver_gives(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_the_limit_weighs_shapes_by_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    # The wide matrix runs at 100, the other one at 25 and does a quarter of the work, twice.
    speeds = {(128, 256): 100.0, (128, 64): 25.0}
    monkeypatch.setattr(meter, "_speed", lambda left, right: speeds[left.shape[1], right.shape[0]])
    shapes = (((128, 256), 1), ((128, 64), 2))
    work = 128 * 256, 2 * 128 * 64
    expected = sum(work) / (work[0] / 100 + work[1] / 25)
    assert matmul_flops(shapes, 512, torch.float64, 1) == pytest.approx(expected)


def test_thin_matrices_of_adapters_do_not_lower_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "_speed", lambda left, _: 1.0 if left.shape[1] == 8 else 50.0)
    assert matmul_flops((((8, 256), 9), ((128, 256), 1)), 511, torch.float64, 1) == pytest.approx(50.0)
    # A model of thin ones alone has no other limit.
    assert matmul_flops((((8, 256), 9),), 511, torch.float64, 1) == pytest.approx(1.0)


def test_a_run_tells_limit_and_share(tiny_model: Path, tmp_path: Path) -> None:
    watch = Watch()
    Lab(tiny_model, tmp_path).fit(watch)
    (machine,) = watch.of_kind("machine")
    assert (machine["device"], machine["measured"], machine["threads"]) == ("cpu", True, torch.get_num_threads())
    assert machine["gflops"] > 0
    for step in watch.of_kind("step"):
        seconds = step["tokens"] / step["tokens_per_s"]
        assert step["target_tokens_per_s"] == pytest.approx(step["target_tokens"] / seconds)
        assert step["utilisation"] == pytest.approx(step["flops"] / seconds / machine["gflops"] / 1e9)
    # The rows of an epoch are the same: so is the work.
    flops = [step["flops"] for step in watch.of_kind("step")]
    assert sum(flops[:4]) == pytest.approx(sum(flops[4:]))


def test_from_the_second_epoch_on_cached_blocks_are_not_work(tiny_model: Path, tmp_path: Path) -> None:
    lab = Lab(tiny_model, tmp_path, tune=FreezeConfig(trainable_blocks=1), rows=random_rows(12))
    cached, plain = Watch(), Watch()
    lab.fit(cached)
    off = replace(lab, folder=tmp_path / "off", stages=(STAGE.replace(activation_cache="off"),))
    off.fit(plain)
    with_cache, without = ([step["flops"] for step in watch.of_kind("step")] for watch in (cached, plain))
    assert with_cache[:3] == pytest.approx(without[:3])
    assert all(less < 0.8 * more for less, more in zip(with_cache[3:], without[3:], strict=True))


def test_the_mean_is_over_time() -> None:
    fast = {"tokens": 100, "tokens_per_s": 100.0, "utilisation": 0.8}
    slow = {"tokens": 100, "tokens_per_s": 33.333333333333336, "utilisation": 0.4}
    assert mean_utilisation([fast, slow]) == pytest.approx((0.8 * 1 + 0.4 * 3) / 4)
    assert mean_utilisation([fast, {"tokens": 100, "tokens_per_s": 100.0}]) is None
    assert mean_utilisation([fast, fast | {"utilisation": None}]) is None
    assert mean_utilisation([]) is None


def test_records_from_before_still_load() -> None:
    old = {"wall_s": 1.0, "steps": 1, "tokens": 2, "target_tokens": 1, "tokens_per_s": 2.0, "peak_memory_bytes": 1}
    cost = TrainCost.model_validate(old)
    assert (cost.target_tokens_per_s, cost.utilisation) == (None, None)
