"""A fleet's memory: its peak is seen, and forgotten when the next one starts."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from suite.engine import device_memory
from suite.engine.device import set_threads
from suite.engine.device_memory import (
    GpuMemory,
    LifetimePeak,
    PeakMemory,
    ResidentMemory,
    peak_memory,
)

MIB = 2**20
forgets = pytest.mark.skipif(
    not ResidentMemory.works(), reason="this system keeps a process's peak for good"
)


def fill(mebibytes: int, device: str = "cpu") -> None:
    """Take memory in pieces, as training does, and give it back."""
    pieces = [torch.ones(MIB // 4, device=device) for _ in range(mebibytes)]
    assert len(pieces) == mebibytes


def growth(memory: PeakMemory, mebibytes: int, device: str = "cpu") -> float:
    before = memory.reset()
    fill(mebibytes, device)
    return (memory.peak() - before) / MIB


@forgets
def test_the_peak_is_of_what_was_taken_since_the_reset_though_malloc_keeps_what_is_freed() -> None:
    set_threads(torch.get_num_threads())
    memory = peak_memory(torch.device("cpu"))
    assert isinstance(memory, ResidentMemory)
    for mebibytes in (96, 24, 48):
        assert growth(memory, mebibytes) == pytest.approx(mebibytes, abs=6)


@forgets
def test_the_first_peak_is_the_systems_own_count() -> None:
    memory = ResidentMemory()
    memory.reset()
    fill(64)
    # getrusage counts the same peak by itself, in kibibytes on Linux.
    assert memory.peak() / MIB == pytest.approx(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, abs=4
    )


def test_a_system_that_keeps_the_peak_is_told_apart_and_counts_from_the_first_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked() -> None:
        raise PermissionError

    monkeypatch.setattr(device_memory, "_forget_peak", locked)
    monkeypatch.setattr(LifetimePeak, "_at_first", None)
    memory = peak_memory(torch.device("cpu"))
    assert isinstance(memory, LifetimePeak)
    assert "no smaller than that" in memory.caveat
    peaks = iter([100, 160, 160])  # of a large fleet, and then of a small one
    monkeypatch.setattr(LifetimePeak, "peak", lambda _self: next(peaks))
    assert memory.reset() == 100
    assert memory.peak() - 100 == 60
    another = LifetimePeak()
    assert another.peak() - another.reset() == 60


class GivenGpu:
    """torch.cuda's counters of reserved memory, given by hand."""

    def __init__(self) -> None:
        self.reserved, self.cached, self.most = 30, 50, 80

    def empty_cache(self) -> None:
        self.cached = 0

    def reset_peak_memory_stats(self, _device: torch.device) -> None:
        self.most = self.memory_reserved(_device)

    def memory_reserved(self, _device: torch.device) -> int:
        return self.reserved + self.cached

    def max_memory_reserved(self, _device: torch.device) -> int:
        return self.most


def test_a_gpus_peak_begins_at_what_is_still_in_use_once_the_cache_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = GivenGpu()
    for name in (
        "empty_cache",
        "reset_peak_memory_stats",
        "memory_reserved",
        "max_memory_reserved",
    ):
        monkeypatch.setattr(torch.cuda, name, getattr(gpu, name))
    memory = peak_memory(torch.device("cuda"))
    assert isinstance(memory, GpuMemory)
    assert memory.peak() == 80
    assert memory.reset() == 30
    assert memory.peak() == 30


@pytest.mark.gpu
def test_a_gpus_peak_is_of_what_was_reserved_since_the_reset() -> None:
    memory = peak_memory(torch.device("cuda"))
    for mebibytes in (96, 24, 48):
        assert growth(memory, mebibytes, "cuda") == pytest.approx(mebibytes, abs=24)
    assert memory.total() == torch.cuda.mem_get_info()[1]
