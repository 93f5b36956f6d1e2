from __future__ import annotations

import numpy as np
import pytest
from synthetic_frames import SCALES, Truth, frames

from analysis.estimates.memory import estimate
from analysis.estimates.memory_by_epoch import memory_by_epoch
from suite.declarations.config import RunConfig


def decay(config: RunConfig) -> np.ndarray:
    return -0.1 * np.exp(-np.arange(config.epochs) / 5)


def test_memory_follows_sensitivity_where_accuracy_is_a_line() -> None:
    runs, history = frames([{}], Truth(beta=decay), np.random.default_rng(0))
    table = memory_by_epoch(runs, history).set_index("epoch")
    true = np.ptp(SCALES) * 0.1 * np.exp(-(table.index.to_numpy() - 1) / 5)
    assert ((table["low"] <= true) & (true <= table["high"])).mean() > 0.8
    assert table.loc[1, "memory"] == pytest.approx(0.24, abs=0.02)
    assert table["low"].iloc[-1] == 0
    assert (table["seeds"], table["scales"])[0].eq(5).all()


def test_an_epoch_s_memory_is_that_of_its_validation_accuracies() -> None:
    runs, history = frames([{}], Truth(beta=decay), np.random.default_rng(0))
    epoch = 7
    named = history.merge(runs[["run_id", "sigma_w", "seed"]].astype({"run_id": str}), on="run_id")
    wide = named[named["epoch"] == epoch].pivot_table(
        index="sigma_w", columns="seed", values="val_accuracy"
    )
    found = memory_by_epoch(runs, history).set_index("epoch").loc[epoch]
    expected = estimate(wide.to_numpy(), wide.index.to_numpy(), np.random.default_rng(0))
    for name in ("memory", "corrected", "low", "high"):
        assert found[name] == pytest.approx(expected[name])


def test_epochs_are_few_and_even_along_their_logarithm() -> None:
    runs, history = frames([{"epochs": 200}], Truth(), np.random.default_rng(0))
    epochs = memory_by_epoch(runs, history, points=12)["epoch"].to_numpy()
    assert len(epochs) <= 12
    assert (epochs[0], epochs[-1]) == (1, 200)
    ratios = epochs[-4:][1:] / epochs[-4:][:-1]
    np.testing.assert_allclose(ratios, 200 ** (1 / 11), rtol=0.05)


def test_runs_without_a_history_have_no_rows() -> None:
    runs, history = frames([{}], Truth(), np.random.default_rng(0))
    assert memory_by_epoch(runs, history.iloc[:0]).empty
