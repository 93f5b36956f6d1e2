from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from synthetic_frames import Truth, frames

from analysis.estimates.norm_memory import norm_memory


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
def test_the_made_slope_is_found(slope: float) -> None:
    runs, _ = frames([{}], Truth(norm_slope=slope), np.random.default_rng(0))
    row = norm_memory(runs).iloc[0]
    assert row["slope"] == pytest.approx(slope, abs=1e-6)
    assert row["kept"] == pytest.approx(slope, abs=1e-6)


def test_slope_and_error_equal_statsmodels() -> None:
    rng = np.random.default_rng(0)
    runs, _ = frames([{}], Truth(), rng)
    runs["kernel_norm_best"] *= np.exp(0.1 * rng.standard_normal(len(runs)))
    design = sm.add_constant(np.log(runs["kernel_norm_initial"]))
    fit = sm.OLS(np.log(runs["kernel_norm_best"]), design).fit(
        cov_type="cluster", cov_kwds={"groups": runs["seed"]}, use_t=True
    )
    row = norm_memory(runs).iloc[0]
    np.testing.assert_allclose(row["slope"], fit.params.iloc[1])
    np.testing.assert_allclose(row["standard_error"], fit.bse.iloc[1])
    np.testing.assert_allclose([row["low"], row["high"]], fit.conf_int().iloc[1])


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
