from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api
from synthetic_frames import SCALES, SEEDS, Truth, frames

from analysis.estimates.variance import of_array, variance_shares

PARTS = ("sigma_w", "seed", "rest")
X = np.array(SCALES)


def made(
    memory: float, seed: float, noise: np.ndarray, seeds: int, rng: np.random.Generator
) -> np.ndarray:
    means = -memory * (X - X[0]) / np.ptp(X)
    left = noise[:, None] * rng.standard_normal((X.size, seeds))
    return means[:, None] + left + seed * rng.standard_normal((1, seeds))


def test_variances_are_those_of_a_mixed_model() -> None:
    """REML of a balanced table is what mean squares give, where none is below 0."""
    values = made(3.0, 1.5, np.ones(5), 12, np.random.default_rng(0))
    long = pd.DataFrame(values).rename_axis("scale").reset_index()
    long = long.melt("scale", var_name="seed", value_name="y")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = statsmodels.formula.api.mixedlm("y ~ C(scale)", long, groups="seed").fit(reml=True)
    seed, rest = float(fit.cov_re.iloc[0, 0]), float(fit.scale)
    means = values.mean(1).var(ddof=1) - rest / 12
    found = of_array(X, values)
    expected = np.array([means, seed, rest]) / (means + seed + rest)
    np.testing.assert_allclose([found[part] for part in PARTS], expected, rtol=0.02)
    assert found["deviation"] == pytest.approx(math.sqrt(means + seed + rest), rel=0.01)


@pytest.mark.parametrize(("memory", "seed"), [(3.0, 0.7), (0.0, 1.0), (20.0, 0.5), (3.0, 0.0)])
def test_intervals_hold_the_shares(memory: float, seed: float) -> None:
    rng, recipes = np.random.default_rng(1), 200
    noise = np.geomspace(0.2, 2, 5)
    means = made(memory, 0.0, 0 * noise, 1, rng)[:, 0]
    parts = np.array([means.var(ddof=1), seed**2, (noise**2).mean()])
    held = np.zeros(3)
    for _ in range(recipes):
        found = of_array(X, made(memory, seed, noise, 8, rng))
        for place, part in enumerate(PARTS):
            share = parts[place] / parts.sum()
            held[place] += found[f"{part}_low"] <= share <= found[f"{part}_high"]
    assert (held / recipes >= 0.904).all()  # three binomial errors below 95 %


def test_noise_that_grows_over_scales_has_a_trend_and_equal_noise_has_none() -> None:
    rng = np.random.default_rng(0)
    noise = np.geomspace(0.5, 2, 5)
    growing = [of_array(X, made(3, 1, noise, 10, rng)) for _ in range(40)]
    assert np.mean([one["trend"] <= 0.05 for one in growing]) > 0.3
    assert np.median([one["trend_factor"] for one in growing]) == pytest.approx(4, rel=0.25)
    equal = [of_array(X, made(3, 1, np.ones(5), 10, rng))["trend"] <= 0.05 for _ in range(300)]
    assert np.mean(equal) <= 0.088


def test_a_share_of_zero_is_not_known_to_be_zero() -> None:
    rng = np.random.default_rng(0)
    found = [of_array(X, made(0, 0, np.ones(5), 5, rng)) for _ in range(20)]
    (first, *_) = [one for one in found if one["sigma_w"] == 0]
    assert first["sigma_w_low"] == 0
    assert first["sigma_w_high"] > 0.1


def test_every_recipe_has_shares_that_add_up_and_few_seeds_have_none() -> None:
    truth = Truth(test_accuracy=lambda _, scales: 0.9 - 0.05 * scales)
    runs = frames([{}, {"optimizer": "adam"}], truth, np.random.default_rng(0))[0]
    table = variance_shares(runs)
    np.testing.assert_allclose(table[list(PARTS)].sum(axis=1), 1)
    assert set(table["seeds"]) == {len(SEEDS)}
    few = runs[runs["seed"].isin(SEEDS[:2])].reset_index(drop=True)
    assert variance_shares(few)[[*PARTS, "trend"]].isna().all(axis=None)
    three = variance_shares(runs[runs["seed"].isin(SEEDS[:3])].reset_index(drop=True))
    assert three["trend"].isna().all()
    assert three[list(PARTS)].notna().all(axis=None)
