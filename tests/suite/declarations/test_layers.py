"""The record of a run's layers: when it is made, and its way through a text."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from suite.declarations.layers import PIECE, LayerHistory, is_measured, layers_of, layers_tags


def history(layers: int, epochs: int) -> LayerHistory:
    values = np.random.default_rng(0).normal(size=(2, epochs, layers))
    found = LayerHistory(tuple(f"block{n}.kernel" for n in range(layers)))
    for epoch, (norms, cosines) in enumerate(zip(*values, strict=True)):
        found = found.with_epoch(epoch, norms.tolist(), cosines.tolist())
    return found


def test_layers_are_measured_twice_an_octave_and_at_the_last_epoch() -> None:
    measured = [epoch for epoch in range(1, 301) if is_measured(epoch, 300)]
    octaves = [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert measured == sorted([*octaves, 3, 6, 12, 24, 48, 96, 192, 300])


@pytest.mark.parametrize("layers", [1, 9, 110])
def test_a_history_comes_back_from_its_tags_none_of_which_is_too_long(layers: int) -> None:
    found = history(layers, 18)
    tags = layers_tags(found)
    assert layers_of({"fingerprint": "other", **dict(reversed(tags.items()))}) == found
    assert max(map(len, tags.values())) <= PIECE
    assert len(tags) == {1: 1, 9: 1, 110: 5}[layers]


def test_what_is_not_finite_comes_back_and_what_is_too_large_is_infinite() -> None:
    found = LayerHistory(("a", "b", "c")).with_epoch(0, [1e300, 0.0, 1.0], [math.nan, 1.0, -1.0])
    again = LayerHistory.from_text(found.to_text())
    assert again.norms == ((math.inf, 0.0, 1.0),)
    assert_array_equal(again.cosines, [[math.nan, 1.0, -1.0]])


def test_an_epoch_that_is_measured_late_takes_its_place() -> None:
    found = history(1, 2).with_epoch(9, [9.0], [0.9]).with_epoch(5, [5.0], [0.5])
    assert found.epochs == (0, 1, 5, 9)
    assert found.norms[2:] == ((5.0,), (9.0,))


def test_a_run_without_such_tags_has_no_history() -> None:
    assert layers_of({"fingerprint": "a"}) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"more": 1}, "must have"),
        ({"layers": ["a", "a"]}, "each once"),
        ({"layers": "ab"}, "must be names"),
        ({"epochs": [1, 0]}, "ascending"),
        ({"epochs": [-1, 0]}, "ascending"),
        ({"epochs": [0, 1, 2]}, "must have 6 numbers, got 4"),
        ({"norms": 1}, "must be base64"),
        ({"cosines": "AAAA!"}, "base64"),
    ],
)
def test_a_text_that_is_no_history_is_refused(changes: dict[str, object], reason: str) -> None:
    content = json.loads(history(2, 2).to_text()) | changes
    with pytest.raises(ValueError, match=reason):
        LayerHistory.from_text(json.dumps(content))
