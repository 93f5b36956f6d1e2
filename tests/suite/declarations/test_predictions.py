"""Kept predictions come back as they were, of that very run, or are refused; their calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from damage import with_flipped_bit
from hypothesis import given
from hypothesis import strategies as st

from suite.declarations.predictions import (
    UNREADABLE,
    Predictions,
    class_type,
    decoded,
    encoded,
)

KEY = "0123456789abcdef"


def some(images: int = 200, classes: int = 10, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    kind = class_type(classes)
    return Predictions(
        labels=rng.integers(classes, size=images).astype(kind),
        predicted=rng.integers(classes, size=images).astype(kind),
        confidence=rng.uniform(1 / classes, 1, images).astype(np.float16),
        classes=classes,
    )


def same(ours: Predictions, theirs: Predictions) -> bool:
    names = ("labels", "predicted", "confidence")
    pairs: list[tuple[Any, Any]] = [(getattr(ours, n), getattr(theirs, n)) for n in names]
    return ours.classes == theirs.classes and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs
    )


@pytest.mark.parametrize(("classes", "kind"), [(10, "uint8"), (256, "uint8"), (257, "uint16")])
def test_predictions_come_back_in_the_smallest_type_that_holds_a_class(
    classes: int, kind: str
) -> None:
    found = decoded(encoded(some(classes=classes), KEY), KEY)
    assert same(found, some(classes=classes))
    assert (found.labels.dtype, found.predicted.dtype) == (kind, kind)


def test_equal_predictions_are_equal_files_and_those_of_cifar10_take_30_kb() -> None:
    content = encoded(some(10_000), KEY)
    assert content == encoded(some(10_000), KEY)
    assert len(content) < 32_000


def test_predictions_of_another_run_are_refused() -> None:
    with pytest.raises(ValueError, match="fingerprint: must be f"):
        decoded(encoded(some(), KEY), "f" * 16)


CONTENT = encoded(some(50), KEY)


@given(st.integers(0, 8 * len(CONTENT) - 1))
def test_any_flipped_bit_is_refused_or_changes_nothing(bit: int) -> None:
    try:
        found = decoded(with_flipped_bit(CONTENT, bit), KEY)
    except UNREADABLE:
        return
    assert same(found, some(50))


def test_a_test_set_is_told_by_its_labels_their_order_and_the_number_of_classes() -> None:
    one = some()
    others = [
        Predictions(one.labels[::-1], one.predicted, one.confidence, 10),
        Predictions(one.labels, one.predicted, one.confidence, 11),
    ]
    assert len({p.test_set for p in (one, *others)}) == 3
    assert Predictions(one.labels, one.labels, one.confidence, 10).test_set == one.test_set


def test_the_calibration_error_is_that_of_fifteen_bins_one_by_one() -> None:
    found = some(500, seed=3)
    confidence, right = found.confidence.astype(float), found.labels == found.predicted
    expected = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    assert found.calibration_error == pytest.approx(expected, rel=1e-12)


def test_a_sure_model_that_is_always_right_has_no_calibration_error() -> None:
    labels = np.arange(8, dtype=np.uint8)
    sure = np.ones(8, dtype=np.float16)
    assert Predictions(labels, labels, sure, 8).calibration_error == 0.0
    assert Predictions(labels, labels[::-1], sure, 8).calibration_error == 1.0
