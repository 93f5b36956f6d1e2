from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import Truth, frames

from analysis.estimates.clock_axis import axes
from analysis.estimates.collapse import Limits, collapse
from analysis.estimates.collapse_points import Points
from analysis.estimates.sensitivity import curves
from suite.declarations.config import RunConfig

Beta = Callable[[RunConfig], np.ndarray]
BATCHES = (16, 32, 64, 128)


def falls_on(axis: str) -> Beta:
    def beta(config: RunConfig) -> np.ndarray:
        reference = axes(config.with_(batch_size=64), 1000)
        return -0.1 * np.exp(-axes(config, 1000)[axis] / (0.2 * reference[axis][-1]))

    return beta


def falls_on_none(config: RunConfig) -> np.ndarray:
    tau = {16: 20, 32: 3, 64: 12, 128: 5}[config.batch_size]
    return -0.1 * np.exp(-np.arange(config.epochs) / tau)


def flat(config: RunConfig) -> np.ndarray:
    return np.full(config.epochs, -0.1)


def table(
    beta: Beta,
    seed: int = 0,
    batches: tuple[int, ...] = BATCHES,
    noise: float = 1.0,
    **options: object,
) -> pd.DataFrame:
    recipes = [{"batch_size": b, "epochs": 60} for b in batches]
    truth = Truth(beta=beta, run_noise=0.005 * noise, epoch_noise=0.003 * noise)
    runs, history = frames(recipes, truth, np.random.default_rng(seed))
    return collapse(curves(runs, history), **options).set_index("axis")


@pytest.mark.parametrize("axis", ["T_SGD", "T_adapt", "epoch"])
def test_the_axis_on_which_the_truth_was_made_is_preferred(axis: str) -> None:
    found = table(falls_on(axis))
    # At one rate and one λ, steps and T_adapt put the curves at the same places but for the cosine.
    same = {"T_adapt", "steps"} if axis == "T_adapt" else {axis}
    assert found.loc[axis, "verdict"] == "collapses"
    assert set(found.index[found["verdict"] == "collapses"]) <= same
    assert found["quality"].idxmin() in same
    assert found.loc[axis, "quality"] < 3
    assert found.loc[axis, "unexplained"] == pytest.approx(0, abs=0.05)


def test_no_axis_is_preferred_where_there_is_no_collapse() -> None:
    for seed in range(3):
        found = table(falls_on_none, seed)
        assert "collapses" not in set(found["verdict"])
        assert (found["quality"].dropna() > 10).all()


def test_flat_curves_are_undetermined() -> None:
    found = table(flat)
    assert (found["verdict"] == "undetermined").all()
    assert found.loc["T_SGD", "reason"].startswith("flat: contrast")


def test_curves_that_move_within_their_lines_width_are_undetermined() -> None:
    found = table(lambda config: -0.09 - 0.03 * np.exp(-np.arange(config.epochs) / 10.0))
    assert set(found["verdict"]) == {"undetermined"}
    assert found.loc["T_SGD", "reason"].startswith("flat: abs(β) spans 0.1")


def test_the_distance_of_curves_is_told_in_decades() -> None:
    """Two pairs of batch sizes, 0.2 decades apart everywhere: a point is 0.2 from half the rest."""

    def apart(config: RunConfig) -> np.ndarray:
        up = {16: 0.1, 32: -0.1, 64: 0.1, 128: -0.1}[config.batch_size]
        return -(10**up) * 0.05 / np.arange(1, config.epochs + 1) ** 0.5

    row = table(apart, noise=0.01).loc["epoch"]
    # Of three other curves two lie 0.2 away, all weigh alike, and the third is on its side.
    assert row["distance"] == pytest.approx(0.2 * 2 / 3, rel=0.1)
    assert row["distance"] == row["null_distance"]


def test_a_beta_that_changes_its_sign_has_no_collapse() -> None:
    def swings(config: RunConfig) -> np.ndarray:
        return 0.1 * np.cos(np.pi * np.log(np.arange(1, config.epochs + 1)) / np.log(60))

    found = table(swings)
    assert set(found["verdict"]) == {"undetermined"}
    assert found.loc["epoch", "reason"].startswith("β changes its sign")


def test_noise_of_the_other_sign_in_a_decayed_tail_is_no_change_of_sign() -> None:
    fast = [table(falls_on("T_SGD"), seed).loc["T_SGD", "reason"] for seed in range(5)]
    assert not any("sign" in reason for reason in fast)


def test_a_spread_that_seed_errors_do_not_know_does_not_make_s_large() -> None:
    """Curves 0.06 decades apart, measured so well that errors alone say a hundred."""

    def near(config: RunConfig) -> np.ndarray:
        up = {16: 0.03, 32: -0.03, 64: 0.03, 128: -0.03}[config.batch_size]
        return falls_on("epoch")(config) * 10**up

    found = table(near, noise=0.01).loc["epoch", "quality"]
    bare = table(near, limits=Limits(floor=0.0), noise=0.01).loc["epoch", "quality"]
    assert found < 2
    assert bare > 10 * found


def test_curves_that_hardly_overlap_are_undetermined() -> None:
    found = table(falls_on("epoch"), batches=(32, 250))
    assert found.loc["T_SGD", "verdict"] == "undetermined"
    assert "overlap" in found.loc["T_SGD", "reason"]
    assert found.loc["T_SGD", "overlap"] < 0.5
    assert found.loc["epoch", "overlap"] > 0.9
    assert found.loc["epoch", "verdict"] == "collapses"


def test_a_clock_that_stands_still_is_undetermined() -> None:
    assert table(falls_on("T_SGD")).loc["T_L2", "reason"] == "the clock stands still"


def test_epochs_are_their_own_null() -> None:
    found = table(falls_on("T_SGD"))
    assert found.loc["epoch", "log_ratio"] == 0
    assert found.loc["epoch", "quality"] == found.loc["epoch", "null_quality"]
    assert found.loc["T_SGD", "high"] < 0
    assert found.loc["T_SGD", "p_value"] < 0.01


def test_noise_that_hides_most_points_is_shown() -> None:
    recipes = [{"batch_size": b, "epochs": 60} for b in BATCHES]
    truth = Truth(beta=falls_on("T_SGD"), run_noise=0.1)
    runs, history = frames(recipes, truth, np.random.default_rng(0))
    found = collapse(curves(runs, history))
    assert (found["resolved"] < 0.7).all()


def test_few_common_seeds_are_undetermined() -> None:
    recipes = [{"batch_size": b} for b in (16, 64)]
    truth = Truth(beta=falls_on("T_SGD"))
    runs, history = frames(recipes, truth, np.random.default_rng(0), seeds=(0, 1))
    found = collapse(curves(runs, history))
    assert (found["reason"] == "fewer than 3 seeds in common").all()


def test_limits_decide_what_is_called_a_collapse() -> None:
    strict = table(falls_on("T_SGD"), limits=Limits(unexplained=-1))
    assert strict.loc["T_SGD", "verdict"] == "better"


def test_resampling_follows_its_seed_and_moves_the_uncertainty_alone() -> None:
    recipes = [{"batch_size": b} for b in (16, 64)]
    runs, history = frames(recipes, Truth(beta=falls_on("T_SGD")), np.random.default_rng(0))
    group = curves(runs, history)
    one, two, other = (collapse(group, seed=seed, resamples=50) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_series_equal(one["quality"], other["quality"])
    assert (one["low"] != other["low"])[1:3].any()


def test_bias_corrected_values_can_be_taken_instead() -> None:
    plain, corrected = (table(falls_on("T_SGD"), corrected=c) for c in (False, True))
    assert corrected.loc["T_SGD", "verdict"] == "collapses"
    assert (corrected["points"] == plain["points"])[["epoch", "T_SGD"]].all()
    assert corrected.loc["T_SGD", "quality"] != plain.loc["T_SGD", "quality"]
    # Of points above two standard errors at most a quarter of β² is taken off.
    ratio = corrected.loc["T_SGD", "quality"] / plain.loc["T_SGD", "quality"]
    assert 0.5 < ratio < 1.5


def test_errors_of_corrected_values_follow_from_those_of_beta() -> None:
    by_seed = np.array([[4.0], [5.0], [6.0]])
    error, points = by_seed.std(ddof=1) / np.sqrt(3), {}
    for corrected in (False, True):
        points[corrected] = Points({}, np.zeros(1, dtype=np.intp), by_seed, 1.0, corrected)
    same = np.full((1, 3), 1 / 3)
    assert points[False].log(same)[0, 0] == pytest.approx(np.log(5))
    assert points[True].log(same)[0, 0] == pytest.approx(np.log(np.sqrt(25 - error**2)))
    step = 1e-6  # the error is the slope of the logarithm times the error of β
    for corrected, made in points.items():
        noise = error**2 * corrected
        slope = (np.log((5 + step) ** 2 - noise) - np.log(25 - noise)) / 2 / step
        assert made.error[0] == pytest.approx(slope * error, rel=1e-5)
