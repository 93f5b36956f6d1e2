"""What a fleet that ran out of memory still holds, and how it gives it back."""

from __future__ import annotations

import gc
import traceback

import torch


def release_memory(error: BaseException | None) -> None:
    """Give back what the frames hold through which an error came, and torch's cache of it.

    An error keeps the frames that it left, and they keep the fleet: without this, its halves would
    start beside it.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    torch.cuda.empty_cache()
