from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import Truth, frames

from analysis.estimates.histories import at_epoch, epoch_matrix, run_positions


@pytest.fixture(scope="module")
def store() -> tuple[pd.DataFrame, pd.DataFrame]:
    return frames([{"epochs": 7}], Truth(), np.random.default_rng(0))


def test_rows_find_their_run_by_category_and_by_text(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    runs, history = store
    np.testing.assert_array_equal(run_positions(runs, history), history["run"])
    text = history.assign(run_id=history["run_id"].astype(str))
    np.testing.assert_array_equal(run_positions(runs, text), history["run"])


def test_rows_of_runs_that_were_left_out_are_marked_and_dropped(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    runs, history = store
    some = runs.iloc[[3, 1]]
    assert set(run_positions(some, history)) == {-1, 0, 1}
    whole = epoch_matrix(runs, history, "val_loss")
    np.testing.assert_array_equal(epoch_matrix(some, history, "val_loss"), whole[[3, 1]])


def test_epoch_matrix_survives_any_order_and_leaves_holes_nan(
    store: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    runs, history = store
    whole = epoch_matrix(runs, history, "val_accuracy")
    mixed = history.sample(frac=1, random_state=0).query("not (run == 2 and epoch > 4)")
    matrix = epoch_matrix(runs, mixed, "val_accuracy")
    assert np.isnan(matrix[2, 4:]).all()
    matrix[2, 4:] = whole[2, 4:]
    np.testing.assert_array_equal(matrix, whole)


def test_at_epoch_reads_each_run_at_its_own_epoch() -> None:
    matrix = np.arange(12.0).reshape(4, 3)
    values = at_epoch(matrix, np.array([1.0, 3.0, np.nan, 4.0]))
    np.testing.assert_array_equal(values, [0.0, 5.0, np.nan, np.nan])
