"""Runs of several experiments together: each configuration once, with its own history."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from store_helpers import CONFIGS, empty_store, write

from analysis.store.frames import Store, load
from analysis.store.pooled import pool
from benchmarks.synthetic_truth import Truth


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """Two experiments that share four of six configurations; the second has other curves."""
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    uri = empty_store(tmp_path)
    write(uri, CONFIGS[:6], experiment="first")
    write(uri, CONFIGS[2:8], experiment="second", truth=Truth(seed=3))
    return [load(name, uri) for name in ("first", "second")]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_configuration_counts_once_by_the_run_that_began_last(
    stores: list[Store], order: tuple[int, int]
) -> None:
    pooled = pool([stores[i] for i in order])
    assert pooled.repeated == 4
    assert set(pooled.runs["fingerprint"]) == {config.fingerprint for config in CONFIGS[:8]}
    assert pooled.runs["fingerprint"].is_unique
    second = set(stores[1].runs["run_id"])
    assert second <= set(pooled.runs["run_id"])
    assert len(set(pooled.runs["run_id"]) - second) == 2


def test_every_run_keeps_its_own_history(stores: list[Store]) -> None:
    pooled = pool(stores)
    both = pd.concat(
        [store.history.assign(run_id=store.history["run_id"].astype(str)) for store in stores]
    )
    by_run = dict(list(both.groupby("run_id")))
    assert len(pooled.history) == 6 * len(pooled.runs)
    codes = pooled.history["run_id"].cat.codes.to_numpy()
    ids = pooled.runs["run_id"].to_numpy()
    np.testing.assert_array_equal(ids[codes], pooled.history["run_id"].astype(str))
    for run_id, rows in pooled.history.groupby("run_id", observed=True):
        np.testing.assert_array_equal(rows["val_loss"], by_run[str(run_id)]["val_loss"])


def test_a_single_experiment_is_as_before(stores: list[Store]) -> None:
    pooled = pool(stores[:1])
    assert pooled.repeated == 0
    pd.testing.assert_frame_equal(pooled.runs, stores[0].runs)
    pd.testing.assert_frame_equal(pooled.history, stores[0].history)
