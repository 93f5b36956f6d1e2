"""The machine's part of training: its device and its threads."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

from suite.basics.settings import ConfigError
from suite.data.splits import ImageData
from suite.declarations.config import OWN_WIDTH, RunConfig

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
# Numbers in the first layer's output for a batch, up to which one thread is enough.
SMALL_LAYER = 2**17


def torch_device(name: str) -> torch.device:
    """The device that `name` stands for.

    Raises
    ------
    ConfigError
        If this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[device.type]:
        raise ConfigError(f"device: must exist on this machine, got {name}; use auto or cpu")
    return device


def threads_for(config: RunConfig, data: ImageData) -> int:
    """How many CPU threads suit a run that trains alone, where none are set; 0 is all cores.

    A small network's operations are over before a second thread helps. Where another program uses
    that thread's core, each operation waits for it, and the run takes eight times as long
    (docs/LOG.md). The rule depends on the run alone: rounding depends on the number of threads.
    """
    if config.model not in OWN_WIDTH:  # of timm's we know no width
        return 0
    numbers = config.batch_size * data.height * data.width * config.channels
    return 1 if numbers <= SMALL_LAYER else 0


def set_threads(threads: int) -> None:
    """Give torch so many CPU threads; 0 is all cores this process may use."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Have malloc keep what training frees, for the next step, where the C library is glibc.

    By default every large tensor comes from the kernel anew and is cleared page by page: a fifth of
    the time of a fleet's step on a CPU (docs/LOG.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if sys.platform == "linux" and mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 2**26)
