"""What a run is computed on."""

import os

import pytest
import torch

from tuneloop.core.errors import ConfigError
from tuneloop.model import hardware
from tuneloop.model.config import HardwareConfig
from tuneloop.model.hardware import choose_hardware, cpu_flags, peak_memory_bytes, usable_cores


@pytest.fixture(autouse=True)
def _one_thread_afterwards() -> object:
    yield
    torch.set_num_threads(1)


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("without_cuda")
def test_a_processor_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where it has bf16: only when asked for."""
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: True)
    found = choose_hardware(HardwareConfig(threads=1))
    assert (found.device.type, found.autocast_dtype, found.precision, found.threads) == ("cpu", None, "float32", 1)
    asked = choose_hardware(HardwareConfig(threads=1, precision="bf16"))
    assert (asked.autocast_dtype, asked.precision) == (torch.bfloat16, "bf16")


@pytest.mark.usefixtures("without_cuda")
def test_what_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: False)
    with pytest.raises(ConfigError, match=r"hardware\.device: no CUDA device"):
        choose_hardware(HardwareConfig(device="cuda"))
    with pytest.raises(ConfigError, match=r"hardware\.precision: this cpu has no bf16"):
        choose_hardware(HardwareConfig(precision="bf16"))


@pytest.mark.usefixtures("without_cuda")
def test_threads_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    choose_hardware(HardwareConfig(threads=3))
    choose_hardware(HardwareConfig())
    assert asked == [3, usable_cores()]
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_flags_of_the_processor_are_words() -> None:
    assert all(flag and " " not in flag for flag in cpu_flags())


def test_peak_memory_is_that_of_this_process() -> None:
    before = peak_memory_bytes(torch.device("cpu"))
    assert 50 << 20 < before < 1 << 40
    block = bytearray(os.urandom(1)) * (64 << 20)
    assert peak_memory_bytes(torch.device("cpu")) >= before
    del block
