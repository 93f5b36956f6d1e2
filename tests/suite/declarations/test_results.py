"""A result comes back as it was written, or is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import integers

from suite.declarations.config import parse
from suite.declarations.layers import LayerHistory
from suite.declarations.metrics import EpochRecord
from suite.declarations.results import RunResult
from suite.declarations.stored import MALFORMED

RESULT = RunResult(
    parse({"sigma_w": 0.1 + 0.2, "seed": 2**63 - 1}),
    [
        EpochRecord(1, 1_764_000_000_123, 2.3, 0.1, 1 / 3, 0.2, 5e-324, 1e-3),
        EpochRecord(2, 1_764_000_000_124, math.nan, 0.1, math.inf, 0.1, -math.inf, 1e-5),
    ],
    {"test_accuracy": 1 / 3, "best_epoch": 1, "clock_sgd": 1e-300},
    diverged=True,
    layers=LayerHistory(("stem", "head")).with_epoch(0, [1 / 3, 2.0], [1.0, math.nan]),
)
TEXT = RESULT.to_json()


def same(ours: RunResult) -> bool:
    return repr(ours) == repr(RESULT)  # NaN included


def unsealed(**changes: Any) -> str:
    """As versions without a digest wrote it, with other content."""
    content = {name: value for name, value in json.loads(TEXT).items() if name != "digest"}
    return json.dumps({name: v for name, v in (content | changes).items() if v is not None})


def test_a_result_comes_back_to_the_last_digit() -> None:
    assert same(RunResult.from_json(TEXT))


def test_spaces_and_order_do_not_matter() -> None:
    content = dict(reversed(json.loads(TEXT).items()))
    assert same(RunResult.from_json(json.dumps(content, indent=2)))


def test_a_result_of_a_version_without_digest_is_read() -> None:
    assert same(RunResult.from_json(unsealed()))


def test_a_result_of_a_version_without_layers_is_read() -> None:
    found = RunResult.from_json(unsealed(layers=None))
    assert found.layers is None
    assert repr(replace(found, layers=RESULT.layers)) == repr(RESULT)


@given(integers(0, 8 * len(TEXT.encode()) - 1))
def test_any_flipped_bit_is_refused_or_changes_nothing(bit: int) -> None:
    content = bytearray(TEXT.encode())
    content[bit // 8] ^= 1 << bit % 8
    try:
        found = RunResult.from_json(content.decode())
    except MALFORMED:
        return
    assert same(found)


HISTORY = json.loads(TEXT)["history"]
BROKEN = {
    "empty": "",
    "cut off": TEXT[: len(TEXT) // 2],
    "a list": "[]",
    "null": "null",
    "nested deeply": "[" * 100_000,
    "a flipped digit": TEXT.replace("0.1,", "0.3,", 1),
    "no summary": unsealed(summary=None),
    "more than there is": unsealed(mood="good"),
    "a setting of a later version": unsealed(config={"hue": 1}),
    "config is no table": unsealed(config=[1]),
    "no epoch": unsealed(history=[]),
    "a gap": unsealed(history=HISTORY[1:]),
    "a record of another version": unsealed(history=[{"epoch": 1}]),
    "a word for a number": unsealed(history=[HISTORY[0] | {"timestamp": "noon"}]),
    "a summary of words": unsealed(summary={"test_accuracy": "high"}),
    "a summary that is none": unsealed(summary=3),
    "diverged is a number": unsealed(diverged=3),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_what_is_no_result_is_refused(damage: str) -> None:
    with pytest.raises(MALFORMED):
        RunResult.from_json(BROKEN[damage])
