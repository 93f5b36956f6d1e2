from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from analysis.figures import style
from analysis.figures.forgetting import forgetting_times_figure, law_figure, term_name


def times() -> pd.DataFrame:
    rows = [
        ("sgd b16", "sgd", "T_SGD", math.nan, 0.8, math.inf, "never", 1.0),
        ("sgd b128", "sgd", "T_SGD", math.nan, 0.0, math.inf, "undetermined", 0.1),
        ("adam b16", "adam", "T_adapt", 3.0, 2.0, 4.0, "crossed", 90.0),
    ]
    names = ["recipe", "optimizer", "axis", "time", "low", "high", "status", "horizon"]
    return pd.DataFrame(rows, columns=names)


def test_forgetting_times_stand_on_the_clock_of_their_recipe() -> None:
    sgd, adam = forgetting_times_figure(times(), "title").axes
    assert [t.get_text() for t in sgd.get_yticklabels()] == ["SGD b16", "SGD b128"]
    assert [text.get_text() for text in sgd.texts] == ["not within training", "undetermined"]
    assert not adam.texts
    (segment,) = adam.collections[0].get_segments()
    np.testing.assert_allclose(segment[:, 0], [2, 4])
    points = {line.get_marker(): line for line in adam.get_lines()}
    assert list(points["^"].get_xdata()) == [3.0]
    assert list(points["|"].get_xdata()) == [90.0]
    assert adam.get_xlabel().startswith("T_adapt")


def test_open_intervals_end_in_arrows() -> None:
    sgd, adam = forgetting_times_figure(times(), "title").axes
    markers = [line.get_marker() for line in sgd.get_lines()]
    assert (markers.count(">"), markers.count("<")) == (2, 1)
    assert not {">", "<"} & {line.get_marker() for line in adam.get_lines()}


def test_a_recipe_of_diverged_runs_has_a_row_and_no_time() -> None:
    gone = times().head(1).assign(status="undetermined", low=math.nan, high=math.nan)
    (panel,) = forgetting_times_figure(gone.assign(horizon=math.nan), "title").axes
    assert [text.get_text() for text in panel.texts] == ["undetermined"]
    assert len(panel.get_yticklabels()) == 1


def law() -> tuple[pd.DataFrame, pd.DataFrame]:
    predicted = pd.DataFrame(
        {
            "recipe": ["sgd b16", "adam b16", "alone"],
            "optimizer": ["sgd", "adam", "sgd"],
            "observed": [0.2, 0.01, 0.1],
            "memory": [0.25, 0.02, math.nan],
            "low": [0.1, 0.012, math.nan],
            "high": [0.6, 0.05, math.nan],
            "inside": [True, False, False],
            "unseen": [False, True, False],
            "observed_high": [0.25, 0.015, 0.12],
        }
    )
    coefficients = pd.DataFrame(
        {
            "term": ["intercept", "log_T_SGD", "model=resnet56"],
            "factor": [0.2, 0.5, 1.5],
            "factor_low": [0.1, 0.4, 0.9],
            "factor_high": [0.3, 0.6, 2.4],
        }
    )
    return predicted, coefficients


def test_predictions_stand_against_observations_with_their_interval() -> None:
    left, _ = law_figure(*law(), "title").axes
    sgd, adam = left.containers
    assert (sgd.lines[0].get_xdata()[0], sgd.lines[0].get_ydata()[0]) == (20.0, 25.0)
    (segment,) = sgd.lines[2][0].get_segments()
    np.testing.assert_allclose(segment[:, 1], [10, 60])
    assert to_rgba(sgd.lines[0].get_color()) == to_rgba(style.optimizer_look("sgd").colour)
    assert adam.lines[0].get_markerfacecolor() == "white"
    assert left.get_title().startswith("1 of 2 memories inside")


def test_terms_show_what_memory_is_multiplied_by() -> None:
    _, right = law_figure(*law(), "title").axes
    assert [t.get_text() for t in right.get_yticklabels()] == ["T_SGD × 10", "model=resnet56"]
    ends = [segment[:, 0].tolist() for segment in right.collections[0].get_segments()]
    np.testing.assert_allclose(ends, [[0.4, 0.6], [0.9, 2.4]])
    assert right.get_xscale() == "log"
    assert term_name("momentum") == "momentum"


def test_a_term_that_is_not_told_has_arrows_and_no_point() -> None:
    predicted, terms = law()
    terms.loc[1, ["factor_low", "factor_high"]] = [0.0, math.inf]
    _, right = law_figure(predicted, terms, "title").axes
    arrows = {line.get_marker(): line for line in right.get_lines()}
    assert {"<", ">"} <= set(arrows)
    assert [float(arrows[m].get_xdata()[0]) for m in "<>"] == list(right.get_xlim())
    assert arrows["o"].get_xdata().tolist() == [1.5]


def test_an_unseen_memory_stands_at_the_upper_end_of_its_interval_and_points_left() -> None:
    left, _ = law_figure(*law(), "title").axes
    _, adam = left.containers
    assert adam.lines[0].get_xdata()[0] == pytest.approx(1.5)
    assert adam.has_xerr


def test_panels_of_the_law_keep_their_size() -> None:
    figure = law_figure(*law(), "title")
    figure.draw_without_rendering()
    assert all(panel.get_position().width > 0.25 for panel in figure.axes)
