"""A network's memory is held against that of the same network, and of no other."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.testing import assert_frame_equal
from synthetic_frames import Truth, frames

from analysis.estimates.networks import phases_by_network
from analysis.estimates.overview import estimate_phases
from suite.declarations.config import RunConfig

BATCHES = (16, 32, 64, 128)
SHALLOW: list[dict[str, object]] = [{"batch_size": b} for b in BATCHES]
DEEP: list[dict[str, object]] = [{"batch_size": b, "model": "resnet56"} for b in BATCHES[:2]]


def accuracy(config: RunConfig, scales: np.ndarray) -> np.ndarray:
    """Three times the memory in the deeper network."""
    most = 0.6 if config.model == "resnet56" else 0.2
    return 0.9 - most * config.batch_size / 128 * (scales - scales.min()) / np.ptp(scales)


def made(recipes: list[dict[str, object]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return frames(recipes, Truth(test_accuracy=accuracy), np.random.default_rng(0))


def test_each_network_has_a_level_and_boundaries_of_its_own() -> None:
    together = phases_by_network(*made(SHALLOW + DEEP), resamples=10)
    assert list(together) == ["resnet9", "resnet56"]
    for found, recipes in zip(together.values(), (SHALLOW, DEEP), strict=True):
        largest = found.recipes["corrected"].max()
        assert found.level == largest / 2
        assert len(found.recipes) == len(recipes)
    assert together["resnet56"].level < together["resnet9"].level * 2.5  # b=32 against b=128
    words = dict(zip(BATCHES, together["resnet9"].recipes["verdict"], strict=True))
    assert words[128] == "remembers"
    assert words[16] == "forgets"


def test_a_networks_numbers_are_those_without_the_other_networks() -> None:
    runs, history = made(SHALLOW + DEEP)
    found = phases_by_network(runs, history, resamples=10)["resnet56"]
    theirs = runs[runs["model"] == "resnet56"].reset_index(drop=True)
    epochs = history[history["run_id"].isin(theirs["run_id"])].reset_index(drop=True)
    epochs["run_id"] = pd.Categorical(epochs["run_id"].astype(str), theirs["run_id"])
    alone = estimate_phases(theirs, epochs, resamples=10)
    assert_frame_equal(found.recipes, alone.recipes)
    assert_frame_equal(found.boundaries, alone.boundaries)


def test_recipes_of_one_network_need_no_name_for_it() -> None:
    runs, history = made(SHALLOW)
    (name, found), *others = phases_by_network(runs, history, resamples=10).items()
    assert (name, others) == ("", [])
    assert_frame_equal(found.recipes, estimate_phases(runs, history, resamples=10).recipes)
