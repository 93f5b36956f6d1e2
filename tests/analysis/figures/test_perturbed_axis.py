"""Where the values of a perturbed setting stand along an axis."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.figures.perturbed_axis import PerturbedAxis
from suite.declarations.perturbation import perturbation


@pytest.mark.parametrize(
    ("name", "values", "scale"),
    [
        ("sigma_w", [0.1, 0.5, 1.0, 1.8, 2.5], "linear"),
        ("sigma_b", [0.0, 0.2, 2.5], "linear"),  # 0 has no logarithm
        ("layer_scaling", [-1.0, 0.0, 1.0], "linear"),
        ("head_scale", [0.1, 1.0, 10.0], "log"),
        ("kernel_distribution", ["normal", "uniform"], "linear"),
    ],
)
def test_positive_numbers_over_decades_stand_by_their_logarithm(
    name: str, values: list[object], scale: str
) -> None:
    table = pd.DataFrame({name: values})
    axis = PerturbedAxis.of(perturbation(name), [table])
    panel = Figure().subplots()
    panel.plot(axis.places(table), np.zeros(len(values)))
    axis.label(panel)
    assert panel.get_xscale() == scale
    assert panel.get_xlabel() == perturbation(name).label
