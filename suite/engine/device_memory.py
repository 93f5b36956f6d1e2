"""How much memory training takes, and how what a fleet leaves behind is given back."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Protocol

import torch

FORGET_PEAK = "5"  # proc(5), /proc/pid/clear_refs


class PeakMemory(Protocol):
    """Memory that this process takes of one device, in bytes.

    Attributes
    ----------
    caveat
        What is wrong with the numbers on this system, in words; empty: nothing.
    """

    caveat: str

    def reset(self) -> int:
        """Give free memory back and forget the peak; what is still taken."""
        ...

    def peak(self) -> int:
        """The most that was taken since the last :meth:`reset`."""
        ...

    def total(self) -> int:
        """What the device has."""
        ...


def peak_memory(device: torch.device) -> PeakMemory:
    """The memory of a device: a GPU's, or else this process's in the machine's."""
    if device.type == "cuda":
        return GpuMemory(device)
    return ResidentMemory() if ResidentMemory.works() else LifetimePeak()


class GpuMemory:
    """What torch has reserved of a GPU; what a captured step holds is free for nothing else."""

    caveat = ""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset(self) -> int:
        """See :meth:`PeakMemory.reset`."""
        release_memory(None)
        torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.memory_reserved(self.device)

    def peak(self) -> int:
        """See :meth:`PeakMemory.peak`."""
        return torch.cuda.max_memory_reserved(self.device)

    def total(self) -> int:
        """See :meth:`PeakMemory.total`."""
        return int(torch.cuda.get_device_properties(self.device).total_memory)


class ResidentMemory:
    """This process's resident memory where its peak can be forgotten: on Linux."""

    caveat = ""

    @staticmethod
    def works() -> bool:
        """Whether this system forgets a peak: some containers show no such file, or lock it."""
        try:
            _forget_peak()
        except OSError:
            return False
        return True

    def reset(self) -> int:
        """See :meth:`PeakMemory.reset`."""
        release_memory(None)
        # Training has malloc keep what it frees (suite/engine/device.py); a fleet that found its
        # memory there would seem to take none.
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)
        _forget_peak()
        return _status("VmRSS")

    def peak(self) -> int:
        """See :meth:`PeakMemory.peak`."""
        return _status("VmHWM")

    def total(self) -> int:
        """See :meth:`PeakMemory.total`."""
        return _machine_memory()


class LifetimePeak:
    """The peak since the process began, for systems that know no other.

    What is *still taken* is then what was taken before the first :meth:`reset` of all, so that a
    small fleet after a large one counts as no smaller than that: too much rather than too little.
    """

    caveat = (
        "memory: this system keeps the peak of a process for good, so a fleet that is measured "
        "after a larger one counts as no smaller than that; give --fleet to choose a size yourself"
    )
    _at_first: int | None = None  # of the process, so one for all objects

    def reset(self) -> int:
        """See :meth:`PeakMemory.reset`."""
        release_memory(None)
        if LifetimePeak._at_first is None:
            LifetimePeak._at_first = self.peak()
        return LifetimePeak._at_first

    def peak(self) -> int:
        """See :meth:`PeakMemory.peak`."""
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024

    def total(self) -> int:
        """See :meth:`PeakMemory.total`."""
        return _machine_memory()


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text(FORGET_PEAK, encoding="ascii")


def _status(name: str) -> int:
    """A number of bytes out of /proc/self/status, which gives kibibytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def release_memory(error: BaseException | None) -> None:
    """Give back what the frames hold through which an error came, and torch's cache of it.

    An error keeps the frames that it left, and they keep the fleet: without this, its halves would
    start beside it. None: there was no error, and what is in nobody's hands is given back.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    torch.cuda.empty_cache()
