"""The machine's part of training: its device and its threads."""

from __future__ import annotations

import ctypes
import os
import sys

import torch
from torch.utils.flop_counter import FlopCounterMode

from suite.basics.settings import ConfigError
from suite.data.splits import ImageData
from suite.declarations.config import RunConfig
from suite.declarations.network_settings import OWN_WIDTH
from suite.models import build
from suite.models.initialization import initial_buffer

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
# Numbers in the first layer's output for a batch, up to which one thread is enough.
SMALL_LAYER = 2**17
# The same for a timm model, of which no width is known: FLOPs for a batch in its average layer. By
# this measure, too, the ResNet-9 of 8 channels on 8×8 images has one thread in batches of 256 (16
# million), and the ResNet-56 on CIFAR-10 has all cores in batches of 16 (69 million).
SMALL_WORK = 2**25


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

    Raises
    ------
    ConfigError
        If there is no such network for these images.
    """
    if config.model not in OWN_WIDTH:
        return 1 if work_of_a_layer(config, data) <= SMALL_WORK else 0
    numbers = config.batch_size * data.height * data.width * config.channels
    return 1 if numbers <= SMALL_LAYER else 0


def work_of_a_layer(config: RunConfig, data: ImageData) -> float:
    """FLOPs of the forward pass of one batch, in the average layer that has a kernel."""
    network = build(config, data.channels, data.height, data.width, data.num_classes)
    parameters = {spec.name: torch.zeros(1, *spec.shape) for spec in network.parameters}
    buffers = {b.name: initial_buffer(b, torch.float32).unsqueeze(0) for b in network.buffers}
    image = torch.zeros(1, 1, data.channels, data.height, data.width)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.logits(parameters, buffers, image, training=False)
    layers = sum(spec.kind == "kernel" for spec in network.parameters)
    return float(config.batch_size * counter.get_total_flops() / layers)


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
