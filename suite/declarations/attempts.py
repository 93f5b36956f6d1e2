"""Which of several runs of one configuration counts, by a rule that reads no clock.

Clocks are set back, and two machines never agree, so when runs began or ended says little about
which training was asked for last. Each run is therefore numbered when its training is asked for,
one higher than every other run of its configuration, deleted ones included: they can be restored.
The highest number counts. Equal ones, of machines that do not see each other's leases or of
versions that numbered none, are told apart by MLflow's id, so that everybody takes the same run.
"""

from __future__ import annotations

from collections.abc import Iterable

ATTEMPT_TAG = "attempt"
RULE = "the one whose training was asked for last counts"  # for a person


def attempt_of(tag: str | None) -> int:
    """The number of a run from its tag; 0 without one, or if somebody wrote something else."""
    return int(tag) if tag is not None and tag.isdecimal() else 0


def next_attempt(others: Iterable[int]) -> int:
    """The number of a training that is asked for now, given those of the other runs."""
    return 1 + max(others, default=0)


def rank(attempt: int, run_id: str) -> tuple[int, str]:
    """Sorts runs of one configuration; the last of them counts."""
    return attempt, run_id
