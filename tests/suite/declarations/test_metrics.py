"""What a run's history says about it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.declarations.metrics import (
    EPOCH_METRIC_NAMES,
    EPOCH_METRICS,
    SUMMARY_METRIC_NAMES,
    SUMMARY_METRICS,
    EpochRecord,
    best_record,
    summarize,
)

NAN, INFINITY = math.nan, math.inf


def record(epoch: int, val_loss: float, train_accuracy: float = 0.5, **others: Any) -> EpochRecord:
    fields = {"val_accuracy": epoch / 100, "kernel_norm": 10.0 + epoch, "train_loss": 1.0}
    return EpochRecord(
        epoch=epoch,
        timestamp=1000 * epoch,
        val_loss=val_loss,
        train_accuracy=train_accuracy,
        learning_rate=0.1,
        **(fields | others),
    )


def history(
    *val_losses: float, train_accuracy: dict[int, float] | None = None
) -> list[EpochRecord]:
    fitted = train_accuracy or {}
    return [
        record(epoch, loss, fitted.get(epoch, 0.5)) for epoch, loss in enumerate(val_losses, 1)
    ]  # fmt: skip


def test_the_best_epoch_has_the_lowest_val_loss() -> None:
    summary = summarize(history(3.0, 1.0, 2.0))
    assert summary == {"epochs_trained": 3, "best_epoch": 2, "kernel_norm_best": 12.0}


def test_the_earliest_of_equals_is_best() -> None:
    assert summarize(history(2.0, 1.0, 1.0, 1.5, 1.0))["best_epoch"] == 2


def test_interpolation_is_the_first_epoch_at_99_point_5_percent() -> None:
    fitted = {2: 0.9949999, 3: 0.995, 4: 0.9, 5: 1.0}
    summary = summarize(history(5, 4, 3, 2, 1, train_accuracy=fitted))
    assert summary["interpolation_epoch"] == 3
    assert summary["repair_gap"] == pytest.approx(0.05 - 0.03)


def test_the_repair_gap_is_negative_if_the_best_epoch_came_first() -> None:
    summary = summarize(history(1, 2, 3, train_accuracy={3: 1.0}))
    assert summary["repair_gap"] == pytest.approx(0.01 - 0.03)


def test_a_run_that_never_interpolates_has_neither_epoch_nor_gap() -> None:
    assert not {"interpolation_epoch", "repair_gap"} & set(summarize(history(3, 2, 1)))


def test_epochs_that_are_not_numbers_are_passed_over() -> None:
    assert summarize(history(NAN, 2.0, NAN, 1.0, INFINITY))["best_epoch"] == 4


@pytest.mark.parametrize("loss", [NAN, INFINITY])
def test_without_any_finite_val_loss_there_is_no_best_epoch(loss: float) -> None:
    assert best_record(history(loss, loss)) is None
    assert summarize(history(loss, loss)) == {"epochs_trained": 2}


def test_a_run_without_best_epoch_may_have_interpolated() -> None:
    summary = summarize(history(NAN, NAN, train_accuracy={1: 1.0}))
    assert summary == {"epochs_trained": 2, "interpolation_epoch": 1}


@given(st.lists(st.floats(0, 10) | st.sampled_from([NAN, INFINITY]), min_size=1, max_size=30))
def test_the_best_epoch_is_numpys_nanargmin(val_losses: list[float]) -> None:
    best = best_record(history(*val_losses))
    finite = np.where(np.isfinite(val_losses), val_losses, np.nan)
    if np.isnan(finite).all():
        assert best is None
    else:
        assert best is not None
        assert best.epoch == np.nanargmin(finite) + 1


def test_a_record_gives_every_epoch_metric_and_nothing_else() -> None:
    made = EpochRecord(1, 2, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    assert made.metrics() == {
        "train_loss": 3.0,
        "train_accuracy": 4.0,
        "val_loss": 5.0,
        "val_accuracy": 6.0,
        "kernel_norm": 7.0,
        "learning_rate": 8.0,
    }
    assert tuple(made.metrics()) == EPOCH_METRIC_NAMES


def test_every_metric_has_a_unit_a_definition_and_a_name_of_its_own() -> None:
    assert all(metric.unit and metric.definition for metric in (*EPOCH_METRICS, *SUMMARY_METRICS))
    names = (*EPOCH_METRIC_NAMES, *SUMMARY_METRIC_NAMES)
    assert len(set(names)) == len(names)
    every = summarize(history(2, 1, train_accuracy={1: 1.0}))
    assert set(every) <= set(SUMMARY_METRIC_NAMES)
