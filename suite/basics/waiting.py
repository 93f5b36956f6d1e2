"""A line now and then while something takes long, so that nobody wonders whether it hangs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

FIRST_LINE_AFTER, SECONDS_BETWEEN_LINES = 3.0, 10.0

T = TypeVar("T")


def with_progress(items: Iterable[T], total: int, doing: str) -> Iterator[T]:
    """The items; once they take more than three seconds, standard error says how far it is.

    Parameters
    ----------
    total
        How many there are.
    doing
        What is being done to them, such as "listing the points".
    """
    due = time.monotonic() + FIRST_LINE_AFTER
    for done, item in enumerate(items):
        yield item
        if (now := time.monotonic()) > due:
            print(f"{doing}: {done + 1:,} of {total:,}", file=sys.stderr, flush=True)
            due = now + SECONDS_BETWEEN_LINES
