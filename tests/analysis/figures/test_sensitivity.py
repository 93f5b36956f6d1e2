from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figure_frames import LOOKS, by_label

from analysis.figures.sensitivity import SensitivityPanel, sensitivity_page


def betas(line: str, clock: str = "epoch") -> pd.DataFrame:
    epoch = np.arange(1, 21)
    curve = 0.1 * np.exp(-epoch / 3)
    return pd.DataFrame(
        {
            "line": line,
            "epoch": epoch,
            clock: epoch if clock == "epoch" else epoch / 10,
            "absolute": curve,
            "absolute_low": np.maximum(0, curve - 2e-3),
            "absolute_high": curve + 2e-3,
            "floor_smooth": 1e-3,
        }
    )


def test_sensitivity_is_faint_below_its_floor_and_shares_one_axis() -> None:
    rows = [
        [SensitivityPanel("SGD family", "epoch", betas("SGD"))],
        [
            SensitivityPanel("SGD", "T_SGD", betas("SGD", "T_SGD")),
            SensitivityPanel("Adam", "T_adapt", betas("Adam", "T_adapt")),
        ],
    ]
    figure = sensitivity_page(rows, LOOKS, "title")
    first, second, third = figure.axes
    curve = by_label(first)["SGD"]
    clear = 0.1 * np.exp(-np.arange(1, 21) / 3) >= 1e-3
    assert np.isnan(np.asarray(curve.get_ydata())[~clear]).all()
    np.testing.assert_allclose(by_label(first)["SGD, noise"].get_ydata(), 1e-3)
    assert {axes.get_ylim() for axes in figure.axes} == {first.get_ylim()}
    assert first.get_ylim()[0] == pytest.approx(5e-4)
    assert [axes.get_xlabel().split()[0] for axes in (second, third)] == ["T_SGD", "T_adapt"]
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    np.testing.assert_allclose(by_label(third)["Adam"].get_xdata(), np.arange(1, 21) / 10)
