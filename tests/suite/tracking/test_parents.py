"""Parent runs: one for a recipe, whatever it is called, and ended when the recipe is."""

from __future__ import annotations

import pytest
from mlflow_stores import Store

from suite.declarations.config import parse
from suite.state.leases import FileLeases
from suite.tracking.parents import RECIPE_FINGERPRINT_TAG, RECIPE_TAG, Parents
from suite.tracking.runs import Tracker

SMALL = parse({"width": 8, "epochs": 10})
LARGE = parse({"width": 64, "epochs": 300, "sigma_b": 1})


@pytest.fixture
def tracker(store: Store) -> Tracker:
    return Tracker("sweep", store.uri)


@pytest.fixture
def parents(tracker: Tracker, store: Store) -> Parents:
    return Parents(tracker, FileLeases(store.path.parent / "state"))


def test_each_recipe_has_one_parent_for_all_its_scales_and_seeds(
    parents: Parents, store: Store
) -> None:
    runs = [c.with_(sigma_w=s, seed=n) for c in (SMALL, LARGE) for s in (0.5, 2) for n in (0, 1)]
    ids = parents.open(runs)
    assert ids.keys() == {SMALL.recipe_fingerprint, LARGE.recipe_fingerprint}
    assert store.rows("SELECT run_uuid, name FROM runs ORDER BY name") == [
        (ids[SMALL.recipe_fingerprint], "sgd b64 10 epochs"),
        (ids[LARGE.recipe_fingerprint], "sgd b64 width 64 σb=1 300 epochs"),
    ]
    assert parents.open(runs) == ids
    assert set(store.statuses().values()) == {"RUNNING"}


def test_recipes_of_one_name_have_parents_of_their_own(
    parents: Parents, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.declarations.config.RunConfig.recipe_name", "the same")
    assert len(set(parents.open([SMALL, LARGE]).values())) == 2


def test_only_the_parents_of_finished_recipes_end_and_run_again_when_there_is_more_to_do(
    parents: Parents, store: Store
) -> None:
    ids = parents.open([SMALL, LARGE])
    small, large = ids[SMALL.recipe_fingerprint], ids[LARGE.recipe_fingerprint]
    parents.end([SMALL.recipe_fingerprint], "FINISHED")
    assert store.statuses() == {small: "FINISHED", large: "RUNNING"}
    parents.end([LARGE.recipe_fingerprint], "KILLED")
    assert store.statuses() == {small: "FINISHED", large: "KILLED"}
    assert parents.open([SMALL]) == {SMALL.recipe_fingerprint: small}
    assert store.statuses() == {small: "RUNNING", large: "KILLED"}


def test_of_two_parents_of_a_recipe_all_take_the_older(
    parents: Parents, tracker: Tracker, store: Store
) -> None:
    tags = {RECIPE_TAG: "x", RECIPE_FINGERPRINT_TAG: SMALL.recipe_fingerprint}
    created = [
        tracker.client.create_run(tracker.experiment_id, start_time=time, tags=tags).info.run_id
        for time in (2, 1, 3)
    ]
    assert parents.open([SMALL]) == {SMALL.recipe_fingerprint: created[1]}


def test_a_parent_of_an_earlier_version_which_a_killed_sweep_left_running_is_ended(
    parents: Parents, tracker: Tracker, store: Store
) -> None:
    tags = {RECIPE_TAG: "sgd b64"}
    earlier = tracker.client.create_run(tracker.experiment_id, tags=tags).info.run_id
    own = parents.open([SMALL])[SMALL.recipe_fingerprint]
    assert own != earlier
    parents.end([], "FINISHED")
    assert store.statuses() == {earlier: "FINISHED", own: "RUNNING"}
