from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.estimates.crossing import first_fall, set_of_crossings, smoother, thinned


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.05, 2))
def test_smoothing_leaves_lines_alone(offset: float, slope: float, bandwidth: float) -> None:
    log = np.log(np.arange(1.0, 60.0))
    line = offset + slope * log
    np.testing.assert_allclose(smoother(log, log, bandwidth) @ line, line, atol=1e-6)


def test_smoothing_averages_noise_where_epochs_are_dense_and_only_there() -> None:
    log = np.log(np.arange(1.0, 301.0))
    weights = smoother(log, log, 0.3)
    variance = (weights**2).sum(1)
    np.testing.assert_allclose(variance[:3], 1)
    assert (variance[100:290] < 0.05).all()


def test_thinned_points_are_some_of_the_points_with_both_ends() -> None:
    log = np.log(np.arange(1.0, 5001.0))
    some = thinned(log, 100)
    assert 50 < some.size <= 100
    assert np.isin(some, log).all()
    assert (some[0], some[-1]) == (log[0], log[-1])


def test_a_dip_is_no_fall() -> None:
    x = np.arange(8.0)
    assert first_fall(x, np.array([3, 3, -1, 3, 2, 1, -1, -2.0])) == pytest.approx(5.5)


def test_a_curve_that_stays_above_never_falls() -> None:
    assert first_fall(np.arange(3.0), np.array([1, 0.5, 0.2])) == math.inf


def test_a_curve_that_starts_below_falls_at_once() -> None:
    assert first_fall(np.arange(3.0), np.array([-0.1, -0.5, -1])) == 0.0


def test_the_set_of_crossings_ends_where_the_band_meets_zero() -> None:
    x = np.arange(5.0)
    mean = 2.0 - x
    assert set_of_crossings(x, mean - 0.5, mean + 0.5) == (1.5, 2.5)


def test_a_set_that_reaches_the_last_point_is_open() -> None:
    x = np.arange(3.0)
    assert set_of_crossings(x, np.array([1, -1, -2.0]), np.array([3, 2, 1.0])) == (0.5, math.inf)
    assert set_of_crossings(x, np.ones(3), 2 * np.ones(3)) == (2.0, math.inf)
