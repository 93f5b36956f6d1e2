from __future__ import annotations

import numpy as np
import pytest
from cluster_reference import bias_reduced_band
from synthetic_frames import Truth, frames

from analysis.estimates.norm_memory import norm_memory


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
def test_the_made_slope_is_found(slope: float) -> None:
    runs, _ = frames([{}], Truth(norm_slope=slope), np.random.default_rng(0))
    row = norm_memory(runs).iloc[0]
    assert row["slope"] == pytest.approx(slope, abs=1e-6)
    assert row["kept"] == pytest.approx(slope, abs=1e-6)


def test_slope_and_error_are_the_bias_reduced_ones() -> None:
    rng = np.random.default_rng(0)
    runs, _ = frames([{}], Truth(), rng)
    runs["kernel_norm_best"] *= np.exp(0.1 * rng.standard_normal(len(runs)))
    norms = (np.log(runs[f"kernel_norm_{when}"].to_numpy()) for when in ("initial", "best"))
    row = norm_memory(runs).iloc[0]
    got = row[["slope", "standard_error", "low", "high"]].to_numpy(dtype=float)
    np.testing.assert_allclose(got, bias_reduced_band(*norms, runs["seed"].to_numpy()), rtol=1e-6)


def test_spreads_are_factors_between_scales() -> None:
    runs, _ = frames([{}], Truth(norm_slope=0.5), np.random.default_rng(0))
    row = norm_memory(runs).iloc[0]
    assert row["initial_spread"] == pytest.approx(25, rel=0.03)  # σw 0.1 to 2.5
    assert row["best_spread"] == pytest.approx(5, rel=0.03)


def test_seeds_without_all_scales_are_not_asked_for_a_range() -> None:
    runs, _ = frames([{}], Truth(), np.random.default_rng(0))
    part = runs[~((runs["sigma_w"] == 2.5) & (runs["seed"] == 0))].reset_index(drop=True)
    row = norm_memory(part).iloc[0]
    assert (row["kept_seeds"], row["seeds"], row["runs"]) == (4, 5, 24)
    assert row["kept"] == pytest.approx(0.5, abs=1e-6)
