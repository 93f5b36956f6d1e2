from __future__ import annotations

import math

import numpy as np
import pandas as pd
from figure_frames import panels

from analysis.figures.collapse import collapse_number, collapse_pages


def beta_table() -> pd.DataFrame:
    epoch = np.arange(1, 21)
    parts = []
    for size in (16, 32, 64):
        curve = 0.1 * np.exp(-epoch / (0.05 * size))
        clock = {"T_SGD": epoch / size**2, "T_L2": 0.0 * epoch, "T_adapt": epoch / size}
        parts.append(
            pd.DataFrame(
                {
                    "family": "adam",
                    "batch_size": size,
                    "own_clock": "T_adapt",
                    "epoch": epoch,
                    **clock,
                    "absolute": curve,
                    "floor_smooth": 1e-3,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def collapse_table() -> pd.DataFrame:
    shared = {"family": "adam", "reason": ""}
    return pd.DataFrame(
        [
            shared
            | {"axis": "epoch", "verdict": "no better", "quality": 432.1, "distance": 0.4}
            | {"quality_low": 400.0, "quality_high": 470.0},
            shared
            | {"axis": "T_adapt", "verdict": "collapses", "quality": 1.23, "distance": 0.03}
            | {"quality_low": 0.8, "quality_high": 1.9},
        ]
    )


def test_collapse_draws_each_batch_size_on_both_axes_with_its_floor() -> None:
    betas = beta_table()
    (figure,) = collapse_pages(betas, collapse_table(), "title")
    above, below = panels(figure)
    for panel, axis in ((above, "epoch"), (below, "T_adapt")):
        lines = {line.get_label(): line for line in panel.get_lines()}
        for size in (16, 32, 64):
            rows = betas[betas["batch_size"] == size]
            curve, floor = lines[f"batch size {size}"], lines[f"noise floor, batch size {size}"]
            np.testing.assert_allclose(curve.get_xdata(), rows[axis])
            clear = rows["absolute"] >= 1e-3
            np.testing.assert_allclose(curve.get_ydata()[clear], rows["absolute"][clear])
            assert np.isnan(np.asarray(curve.get_ydata())[~clear]).all()
            np.testing.assert_allclose(floor.get_ydata(), 1e-3)
            assert curve.get_color() == floor.get_color()
        assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")


def test_collapse_number_stands_on_its_panel() -> None:
    (figure,) = collapse_pages(beta_table(), collapse_table(), "title")
    above, below = panels(figure)
    assert above.get_title() == "Adam\nS = 432 [400, 470], 0.40 dex apart, no better"
    assert below.get_title() == "S = 1.2 [0.8, 1.9], 0.03 dex apart, collapses"
    assert below.get_xlabel().startswith("T_adapt")


def test_no_collapse_number_is_made_up() -> None:
    none = collapse_table().head(0)
    assert collapse_number(none, 1) == "one batch size: no collapse to measure"
    refused = (
        collapse_table()
        .head(1)
        .assign(verdict="undetermined", reason="overlap 0.1 is below 0.5", quality=math.nan)
    )
    assert collapse_number(refused, 3) == "undetermined: overlap 0.1 is below 0.5"


def test_collapse_has_three_families_on_a_page() -> None:
    betas = pd.concat([beta_table().assign(family=f"η={i}") for i in range(4)])
    pages = collapse_pages(betas, collapse_table(), "title")
    assert [len(panels(page)) for page in pages] == [6, 2]
