from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figure_frames import by_label, panels

from analysis.figures.memory_by_epoch import memory_by_epoch_pages


def table(families: int = 1) -> pd.DataFrame:
    rows = [
        {
            "family": f"sgd η={family}",
            "batch_size": size,
            "own_clock": "T_SGD",
            "epoch": epoch,
            "T_SGD": 1e-4 * epoch / size,
            "corrected": 0.2 * np.exp(-epoch / size),
            "low": 0.19 * np.exp(-epoch / size),
            "high": 0.21 * np.exp(-epoch / size),
        }
        for family in range(families)
        for size in (16, 64)
        for epoch in (1, 3, 10, 30)
    ]
    return pd.DataFrame(rows)


def test_each_batch_size_has_a_line_in_pp_on_epochs_and_on_its_clock() -> None:
    (page,) = memory_by_epoch_pages(table(), "title")
    above, below = panels(page)
    for panel, axis in ((above, "epoch"), (below, "T_SGD")):
        for size in (16, 64):
            rows = table().query(f"batch_size == {size}")
            line = by_label(panel)[f"batch size {size}"]
            np.testing.assert_allclose(line.get_xdata(), rows[axis])
            np.testing.assert_allclose(line.get_ydata(), 100 * rows["corrected"])
        assert panel.get_xscale() == "log"
        assert panel.get_ylabel() == "memory (pp of validation accuracy)"
    assert above.get_xlabel() == "epoch"
    assert below.get_xlabel().startswith("T_SGD")


@pytest.mark.parametrize(("families", "pages"), [(3, 1), (4, 2)])
def test_three_families_share_a_page(families: int, pages: int) -> None:
    assert len(memory_by_epoch_pages(table(families), "title")) == pages
