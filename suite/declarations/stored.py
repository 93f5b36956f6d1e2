"""Reads back what a run has written of itself: its settings, its history, the seal on both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from suite.declarations.config import RunConfig, parse
from suite.declarations.metrics import EPOCH_METRIC_NAMES, EpochRecord

# What reading a text can raise that is damaged, or another version's. The recursion error is that
# of a text nested so deeply that no version has written it.
MALFORMED = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
REASON_LENGTH = 300  # characters of an error that a line repeats


def reason(error: BaseException) -> str:
    """Why something cannot be read, within a line."""
    text = " | ".join(str(error).split("\n")) or type(error).__name__
    if isinstance(error, RecursionError):
        return "it is nested more deeply than anything that a run writes"
    return f"it has no {text}" if isinstance(error, KeyError) else text[:REASON_LENGTH]


def table(content: object, what: str) -> Mapping[str, Any]:
    """The content if it is a table; `what` names it in the `ValueError` if it is not."""
    if not isinstance(content, dict):
        raise ValueError(f"{what}: must be a table, got a {type(content).__name__}")
    return content


def read_config(content: object) -> RunConfig:
    """The settings that some version wrote; what was added since has its implicit value.

    Raises
    ------
    ConfigError
        If this version does not know one of them, or refuses its value.
    ValueError
        If they are no table.
    """
    return parse({**RunConfig.implicits(), **table(content, "config")})


def read_history(content: object) -> list[EpochRecord]:
    """The epochs of a run in their order: 1, 2, … without a gap, and at least one.

    Raises
    ------
    TypeError, ValueError
        If they are not.
    """
    if not isinstance(content, list) or not content:
        raise ValueError(f"history: must be a list of epochs, got {content!r:.80}")
    history = [EpochRecord(**record) for record in content]
    epochs = [record.epoch for record in history]
    if epochs != list(range(1, len(history) + 1)):
        raise ValueError(f"history: must hold epochs 1 to {len(history)} in order, got {epochs}")
    for record in history:
        numbers = {"timestamp": record.timestamp, **record.metrics()}
        for name, value in numbers.items():
            if type(value) not in ((int, float) if name in EPOCH_METRIC_NAMES else (int,)):
                raise ValueError(
                    f"history: {name} of epoch {record.epoch} must be a number, got {value!r:.80}"
                )
    return history


def digest_of(content: object) -> str:
    """SHA-256 of what a JSON text says, however it is spaced and ordered; hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def require_digest(written: object, found: str) -> None:
    """Raise `ValueError` unless a content has the digest that was written with it."""
    if written != found:
        raise ValueError(
            f"digest: must be the SHA-256 of the content, {found[:16]}…, got {written!s:.16}…"
        )
