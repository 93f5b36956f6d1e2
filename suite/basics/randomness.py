"""Every random draw of a run comes from a generator keyed by (seed, purpose, …).

Nothing is drawn from global state, so a run's batches and initial weights do not depend on its
company in a fleet, on resuming, or on which worker trains it. Draws are made on the CPU, where
the streams are the same for every device.
"""

from __future__ import annotations

import hashlib

import torch


def stream_key(seed: int, *purpose: object) -> int:
    """A 64-bit number for one purpose of one seed, e.g. ``stream_key(42, "order", epoch)``."""
    text = "|".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator for one purpose of one seed."""
    return torch.Generator().manual_seed(stream_key(seed, *purpose))


def batch_order(seed: int, epoch: int, train_images: int) -> torch.Tensor:
    """The order in which one epoch visits the training images: int64, shape (train_images,)."""
    return torch.randperm(train_images, generator=generator(seed, "order", epoch))
