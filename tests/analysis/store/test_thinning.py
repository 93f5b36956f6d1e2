"""What thinning keeps of the histories, and that no estimate or verdict changes by it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from exports import assert_same_problems, export
from store_helpers import CONFIGS, FAULTS

from analysis.claims.command import judge
from analysis.estimates.forgetting_by_recipe import forgetting_times
from analysis.estimates.overview import Estimates, estimate
from analysis.estimates.scale_table import by_scale
from analysis.store.frames import load
from analysis.store.history import Slots
from analysis.store.thinning import EXACT, WHOLE, Thinning, kept_rows, log_spaced
from benchmarks.synthetic_store import reduced, write
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.metrics import EPOCH_METRIC_NAMES

LONG = reduced(EXPERIMENTS["demo"], seeds=2)


def test_thinning_keeps_runs_problems_and_validation_accuracy_and_says_so(
    uri: str, tmp_path: Path
) -> None:
    write(uri, LONG.configs(), faults=FAULTS, experiment="demo")
    expected = load("demo", uri, cache=False)
    found = load("demo", str(export(uri, tmp_path / "out", "demo", "--thin")))
    pd.testing.assert_frame_equal(found.runs, expected.runs)
    pd.testing.assert_frame_equal(found.layers, expected.layers)
    assert_same_problems(found, expected)
    same = ["run_id", "epoch", *WHOLE]
    pd.testing.assert_frame_equal(found.history[same], expected.history[same])
    assert found.origin.endswith(str(Thinning()))


def test_what_thinning_keeps_is_exact_or_in_single_precision(uri: str, tmp_path: Path) -> None:
    write(uri, LONG.configs(), experiment="demo")
    expected = load("demo", uri, cache=False).history
    found = load("demo", str(export(uri, tmp_path / "out", "demo", "--thin"))).history
    for name in EPOCH_METRIC_NAMES:
        kept = found[name].notna().to_numpy()
        values = expected[name].to_numpy()
        single = values.astype(np.float32).astype(np.float64)
        np.testing.assert_array_equal(
            found[name].to_numpy()[kept], (values if name in EXACT else single)[kept], name
        )
    assert found["val_loss"].notna().mean() < 0.9


def test_every_run_keeps_its_best_its_interpolating_its_first_and_its_last_epoch(
    uri: str, tmp_path: Path
) -> None:
    write(uri, LONG.configs(), experiment="demo")
    store = load("demo", str(export(uri, tmp_path / "out", "demo", "--thin")))
    there = store.history[store.history["train_loss"].notna()]
    kept = there.groupby("run_id", observed=True)["epoch"].agg(set)
    for row in store.runs.to_dict("records"):
        wanted = {1, row["epochs_trained"], row["best_epoch"], row["interpolation_epoch"]}
        assert {epoch for epoch in wanted if not np.isnan(epoch)} <= kept[row["run_id"]]


def same_estimates(found: Estimates, expected: Estimates) -> None:
    for name in ("recipes", "scales", "boundaries", "betas", "collapses"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name))


def test_every_estimate_of_a_thinned_export_is_that_of_the_store(uri: str, tmp_path: Path) -> None:
    axes = {"optimizer": ("sgd", "adam"), "batch_size": (16, 64), "sigma_w": (0.1, 1.0, 2.5)}
    settings = {"dataset": "digits", "epochs": 120, "learning_rate": 1e-2}
    configs = [
        CONFIGS[0].with_(**settings, optimizer=o, batch_size=b, sigma_w=s, seed=seed)
        for o in axes["optimizer"]
        for b in axes["batch_size"]
        for s in axes["sigma_w"]
        for seed in (0, 1, 42)
    ]
    write(uri, configs, experiment="long enough")
    expected = load("long enough", uri, cache=False)
    found = load("long enough", str(export(uri, tmp_path / "out", "long enough", "--thin")))
    same_estimates(*(estimate(store, resamples=50) for store in (found, expected)))
    for make in (by_scale, forgetting_times):
        frames = [make(store.runs, store.history) for store in (found, expected)]
        pd.testing.assert_frame_equal(*frames)


def test_every_verdict_on_the_paper_is_the_same_from_a_thinned_export(
    uri: str, tmp_path: Path
) -> None:
    sweep = EXPERIMENTS["lr-l2"]
    points = [
        {"learning_rate": 1e-2, "kernel_l2": 0.0, "batch_size": 16, "sigma_w": scale, "seed": seed}
        for scale in sweep.axes["sigma_w"]
        for seed in sweep.axes["seed"][:5]
    ]
    write(uri, [sweep.config(point) for point in points], experiment="lr-l2")
    expected = judge({"lr-l2": load("lr-l2", uri, cache=False)})
    found = judge({"lr-l2": load("lr-l2", str(export(uri, tmp_path / "out", "lr-l2", "--thin")))})
    pd.testing.assert_frame_equal(found, expected)
    assert (expected["n"] == 5).any()


def test_log_spaced_epochs_hold_both_ends_and_are_no_more_than_asked() -> None:
    for last in (1, 2, 25, 200, 5000):
        epochs = log_spaced(last, 40)
        assert (epochs[0], epochs[-1]) == (1, last)
        assert len(epochs) <= 40
    assert log_spaced(10, 40).tolist() == list(range(1, 11))


def test_a_run_without_epochs_keeps_none(uri: str) -> None:
    slots = Slots(["a", "b"], [0, 3])
    for name in EPOCH_METRIC_NAMES:
        slots.put(name, np.arange(3), np.ones(3))
    runs = pd.DataFrame({"best_epoch": [np.nan, 2.0], "interpolation_epoch": [np.nan, np.nan]})
    table = slots.table([(0, 0, 0)] * 2)
    assert kept_rows(table, runs, Thinning(points=2)).tolist() == [True, True, True]


def test_the_record_of_thinning_comes_back_as_it_was() -> None:
    again = Thinning(**json.loads(json.dumps(asdict(Thinning()))))
    assert str(again) == str(Thinning())
