"""Finished runs that are not what they say, made so as a person can, and what is said of it."""

from __future__ import annotations

import pytest
from mlflow_stores import Store

from suite.declarations.config import RunConfig
from suite.tracking import soundness
from suite.tracking.ledger import LedgerReader
from suite.tracking.metadata import DataDescription
from suite.tracking.runs import Tracker
from suite.tracking.soundness import doubts

CONFIGS = [RunConfig(seed=seed) for seed in range(3)]
DATA = DataDescription("digits", "0" * 16, "x", {"train": 1}, (1, 8, 8), ("0",))


@pytest.fixture(params=["database", "server"])
def tracker(
    store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Tracker:
    """Asked by SQL, and through MLflow's client as a server is."""
    if request.param == "server":
        monkeypatch.setattr(soundness, "engine_of", lambda _uri: None)
    return Tracker("sweep", store.uri)


def finish(tracker: Tracker, config: RunConfig) -> str:
    run_id = tracker.create(config, DATA, "cpu")
    tracker.finish(run_id, {"test_accuracy": 0.5}, 1, diverged=False)
    return run_id


def said(tracker: Tracker) -> list[str]:
    return doubts(tracker, LedgerReader(tracker).read(), CONFIGS)


def test_of_sound_runs_and_of_other_sweeps_nothing_is_said(tracker: Tracker) -> None:
    for config in CONFIGS[:2]:
        finish(tracker, config)
    odd = finish(tracker, RunConfig(seed=99))
    tracker.client.set_tag(odd, "config", "{}")
    tracker.create(CONFIGS[2], DATA, "cpu")  # not finished: it has no metric yet
    assert said(tracker) == []


def test_a_run_without_metrics_is_named(tracker: Tracker) -> None:
    run_id = tracker.create(CONFIGS[0], DATA, "cpu")
    tracker.client.set_terminated(run_id, "FINISHED")
    (line,) = said(tracker)
    assert line.startswith("finished runs: 1 are FINISHED in MLflow without any metric")
    assert f"such as {CONFIGS[0].run_name} (run {run_id}); delete them" in line


@pytest.mark.parametrize("edit", ["fingerprint", "config", "nonsense"])
def test_a_run_whose_settings_do_not_give_its_fingerprint_is_named(
    tracker: Tracker, edit: str
) -> None:
    run_id = finish(tracker, RunConfig(seed=99) if edit == "fingerprint" else CONFIGS[0])
    tag, value = {
        "fingerprint": ("fingerprint", CONFIGS[0].fingerprint),
        "config": ("config", CONFIGS[1].model_dump_json()),
        "nonsense": ("config", "[]"),
    }[edit]
    tracker.client.set_tag(run_id, tag, value)
    (line,) = said(tracker)
    assert line.startswith("finished runs: 1 have settings not those of their fingerprint")
    assert f"(run {run_id})" in line


def test_a_run_of_an_earlier_version_which_lacks_a_setting_is_sound(tracker: Tracker) -> None:
    run_id = finish(tracker, CONFIGS[0])
    earlier = CONFIGS[0].model_dump_json(exclude=set(RunConfig.implicits()))
    tracker.client.set_tag(run_id, "config", earlier.replace(",", ", "))
    assert said(tracker) == []


def test_of_two_finished_runs_the_one_that_counts_is_named(tracker: Tracker) -> None:
    first = finish(tracker, CONFIGS[0])
    tracker.delete(first)
    second = finish(tracker, CONFIGS[0])
    tracker.client.restore_run(first)
    (line,) = said(tracker)
    assert line.startswith("finished runs: 1 have other finished runs in MLflow, and the one whose")
    assert f"(run {second}); delete the others in MLflow" in line
