"""The sweep of rate and decay: what is laid beside it, and from which experiments."""

from __future__ import annotations

import numpy as np
import pytest
from exhibit_parts import panels, rows
from exhibit_stores import SPAN, paper

from analysis.exhibits.ablation import figure_4, table_4
from analysis.exhibits.source import Source
from analysis.exhibits.source_choice import Sources


@pytest.fixture(scope="module")
def sources() -> Sources:
    return {name: Source(store) for name, store in paper().items()}


def test_figure_4_lays_adam_and_long_training_beside_the_sweep(sources: Sources) -> None:
    exhibit = figure_4(sources)
    assert exhibit.experiment == "lr-l2, long, main"
    small = rows(exhibit, batch_size=16).set_index("line")["memory"]
    np.testing.assert_allclose(small["η=0.001, λ=0"], 0.1 * SPAN)
    np.testing.assert_allclose(small["η=0.01, λ=0.01"], 0.025 * SPAN)
    np.testing.assert_allclose(small["SGD, η=0.001, 5,000 epochs"], 0.1 * SPAN)
    np.testing.assert_allclose(small["Adam, η=0.001"], 0.01 * SPAN)
    assert len(small) == 6
    bars = panels(exhibit)[1]
    order = [text.get_text() for text in bars.get_yticklabels()]
    assert list(small[order]) == sorted(small)
    widths = [patch.get_width() for patch in bars.patches]
    np.testing.assert_allclose(widths, 100 * small[order])


def test_figure_4_says_which_baselines_it_has_not() -> None:
    alone = {"lr-l2": Source(paper()["lr-l2"])}
    assert "Without long training, which long supplies." in figure_4(alone).caption
    assert "Without the Adam baseline, which main supplies." in table_4(alone).caption


def test_table_4_has_every_rate_and_decay_with_its_spread(sources: Sources) -> None:
    table = rows(table_4(sources))
    assert list(table["experiment"].value_counts()[["lr-l2", "long", "main"]]) == [8, 2, 2]
    one = table.query("b == 128 and η == '0.01' and λ == '0' and experiment == 'lr-l2'").iloc[0]
    assert one["spread (pp)"] == pytest.approx(5 * SPAN)
    assert one["σw=2.5 (%)"] == pytest.approx(100 * (0.9 - 0.05 * 2.5))
    assert (one["σw=2.5 (%) sd"], one["n"]) == (pytest.approx(0, abs=1e-9), "3")
    long = table[table["experiment"] == "long"].iloc[0]
    assert (long["n"], np.isnan(long["spread (pp) low"])) == ("1", True)
