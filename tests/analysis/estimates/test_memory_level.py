from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.estimates.memory_level import half_of_largest, holm


def test_half_of_the_largest_memory_that_is_no_noise() -> None:
    table = pd.DataFrame({"corrected": [0.3, 0.1, 0.05], "low": [0.0, 0.08, 0.01], "seeds": 5})
    assert half_of_largest(table) == pytest.approx(0.05)
    assert math.isnan(half_of_largest(table.assign(low=0.0)))
    assert math.isnan(half_of_largest(table.assign(low=np.nan)))


@pytest.mark.parametrize("seeds", [3, 5])
def test_recipes_without_memory_seldom_have_a_level(seeds: int) -> None:
    """Paired t intervals of twelve recipes: one is above 0 by chance in a quarter of the sweeps."""
    rng, found, one_above = np.random.default_rng(7), 0, 0
    for _ in range(200):
        pairs = 0.02 * rng.standard_normal((12, seeds))
        half = stats.t.ppf(0.975, seeds - 1) * pairs.std(1, ddof=1) / math.sqrt(seeds)
        low = np.maximum(0, pairs.mean(1) - half)
        table = pd.DataFrame({"corrected": pairs.mean(1), "low": low, "seeds": seeds})
        one_above += (low > 0).any()
        found += math.isfinite(half_of_largest(table))
    assert one_above > 30
    assert found <= 14  # of 5 % at most (half of 5 % are above 0), 3 binomial errors above 2.5 %


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=20, deadline=None)
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    found = holm(np.array(p_values), 0.05)
    assert found.tolist() == multipletests(p_values, 0.05, method="holm")[0].tolist()


def test_less_than_a_point_of_accuracy_is_no_memory_however_sure() -> None:
    table = pd.DataFrame({"corrected": [0.008, 0.001], "low": [0.0079, 0.0], "seeds": 10})
    assert math.isnan(half_of_largest(table))
    assert half_of_largest(table * [2, 2, 1]) == pytest.approx(0.008)
