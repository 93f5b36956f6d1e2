"""The exhibits' own figures: series, looks, limits and units, read back from matplotlib."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.ablation import rate_looks, spread_figure
from analysis.figures.forgetting import forgetting_times_figure, law_figure, term_name
from analysis.figures.scale_panels import (
    ScalePanel,
    batch_looks,
    legend_columns,
    optimizer_looks,
    scale_grid,
    variant_looks,
)
from analysis.figures.sensitivity import SensitivityPanel, sensitivity_page
from analysis.figures.style import Look

SCALES = (0.1, 1.0, 2.5)
LOOKS = {"SGD": Look("#D55E00", "o"), "Adam": Look("#0072B2", "^")}


def by_label(panel: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in panel.get_lines()}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def accuracy(**means: tuple[float, ...]) -> pd.DataFrame:
    rows = [
        {"line": name, "sigma_w": scale, "mean": mean, "p10": mean - 0.01, "p90": mean + 0.02}
        for name, values in means.items()
        for scale, mean in zip(SCALES, values, strict=True)
    ]
    return pd.DataFrame(rows)


def one_panel(table: pd.DataFrame, unit: Any = "fraction") -> Figure:
    return scale_grid([[ScalePanel("batch size 16", "label", table, unit)]], LOOKS, "title")


def test_lines_are_means_and_bands_are_percentiles() -> None:
    figure = one_panel(accuracy(SGD=(0.9, 0.8, 0.6), Adam=(0.85, 0.85, 0.84)))
    (panel,) = figure.axes
    lines = by_label(panel)
    np.testing.assert_allclose(lines["SGD"].get_ydata(), (0.9, 0.8, 0.6))
    np.testing.assert_allclose(lines["SGD"].get_xdata(), SCALES)
    assert lines["Adam"].get_color() == "#0072B2"
    low, high = (
        getattr(panel.collections[0].get_datalim(panel.transData), e) for e in ("y0", "y1")
    )
    assert (low, high) == (pytest.approx(0.59), pytest.approx(0.92))
    assert legend(figure) == ["SGD", "Adam"]
    assert panel.get_xlabel() == "initialization scale σw"


def test_points_are_shown_in_pp_with_a_line_at_zero() -> None:
    (panel,) = one_panel(accuracy(SGD=(0.01, 0.0, -0.02)), "pp").axes
    np.testing.assert_allclose(by_label(panel)["SGD"].get_ydata(), (1.0, 0.0, -2.0))
    assert any(set(line.get_ydata()) == {0} for line in panel.get_lines())
    formatter = panel.yaxis.get_major_formatter()
    assert [formatter(value) for value in (0.0, 2.0, -1.5)] == ["0", "+2", "-1.5"]


def test_what_is_never_reached_stands_at_the_top_and_in_the_legend() -> None:
    figure = one_panel(accuracy(SGD=(10.0, 20.0, math.inf)), "epoch")
    (panel,) = figure.axes
    lines = by_label(panel)
    np.testing.assert_allclose(lines["SGD"].get_ydata(), (10, 20, math.nan))
    assert list(lines["SGD, never"].get_xdata()) == [2.5]
    assert lines["SGD, never"].get_marker() == "^"
    assert panel.get_yscale() == "log"
    assert legend(figure)[-1] == "half of the runs or more never reach it"


def test_a_reference_is_dashed_and_named() -> None:
    initial = pd.DataFrame({"sigma_w": SCALES, "mean": (1.0, 10.0, 25.0)})
    panel = ScalePanel("b", "norm", accuracy(SGD=(5.0, 10.0, 20.0)), "norm", initial)
    figure = scale_grid([[panel]], LOOKS, "title", reference="initial kernel norm")
    dashed = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed[0].get_ydata(), (1, 10, 25))
    assert legend(figure)[-1] == "initial kernel norm"


def test_only_the_last_row_names_the_horizontal_axis() -> None:
    table = accuracy(SGD=(0.9, 0.8, 0.6))
    panel = ScalePanel("heading", "label", table, "fraction")
    figure = scale_grid([[panel, panel], [panel]], LOOKS, "title")
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_visible()]
    assert labels == ["", "", "initialization scale σw"]
    assert [axes.get_visible() for axes in figure.axes] == [True, True, True, False]


def test_recipes_of_one_optimizer_keep_its_colour_and_differ_in_dashes() -> None:
    looks = optimizer_looks({"SGD": "sgd", "SGD, λ=0.01": "sgd", "Adam": "adam"})
    assert {looks["SGD"].colour, looks["SGD, λ=0.01"].colour} == {
        style.optimizer_look("sgd").colour
    }
    assert looks["SGD"].dashes != looks["SGD, λ=0.01"].dashes
    assert looks["Adam"].colour == style.optimizer_look("adam").colour


def test_variants_have_colours_of_no_optimizer_and_the_baseline_is_grey_and_last() -> None:
    looks = variant_looks(["ResNet-9", "ResNet-56", "R9-AvgPool"], "ResNet-9")
    assert list(looks) == ["ResNet-56", "R9-AvgPool", "ResNet-9"]
    assert not {look.colour for look in looks.values()} & {
        look.colour for look in style.OPTIMIZERS.values()
    }
    assert looks["ResNet-9"].dashes != "-"
    assert len({look.colour for look in looks.values()}) == 3


def test_batch_sizes_run_from_dark_to_light() -> None:
    brightness = [sum(look.colour[:3]) for look in batch_looks([16, 64, 256]).values()]
    assert brightness == sorted(brightness)


def test_a_legend_has_as_many_columns_as_fit_its_width() -> None:
    short = ["SGD", "Adam", "Muon"]
    assert legend_columns(short, 7.0) == 3
    assert legend_columns(["SGD + momentum η=0.001 λ=0.001"] * 6, 7.0) == 2
    assert legend_columns(["a very long name " * 10], 3.0) == 1


def spreads() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "batch_size": 16,
            "line": ["η=0.001, λ=0", "η=0.01, λ=0.01", "long"],
            "memory": [0.228, 0.003, 0.25],
            "low": [0.21, 0.0, math.nan],
            "high": [0.24, 0.008, math.nan],
        }
    )


def ablation() -> Figure:
    lines = pd.concat(
        [
            accuracy(**{name: (0.9, 0.9 - s / 2, 0.9 - s)}).assign(batch_size=16)
            for name, s in zip(spreads()["line"], spreads()["memory"], strict=True)
        ]
    )
    looks = rate_looks(
        {"η=0.001, λ=0": (1e-3, 0.0), "η=0.01, λ=0.01": (1e-2, 1e-2)}, {1e-3, 1e-2}, {0.0, 1e-2}
    ) | {"long": Look("black", "X")}
    return spread_figure(lines, spreads(), looks, "title")


def test_spreads_ascend_with_their_interval_and_number() -> None:
    left, right = ablation().axes
    assert [t.get_text() for t in right.get_yticklabels()] == [
        "η=0.01, λ=0.01",
        "η=0.001, λ=0",
        "long",
    ]
    np.testing.assert_allclose([bar.get_width() for bar in right.patches], [0.3, 22.8, 25.0])
    numbers = [text.get_text() for text in right.texts]
    assert numbers == ["0.3 [0.0, 0.8]", "22.8 [21.0, 24.0]", "25.0"]
    ends = [segment[:, 0].tolist() for segment in right.collections[0].get_segments()[:2]]
    np.testing.assert_allclose(ends, [[0, 0.8], [21, 24]])
    assert right.get_ylim()[0] > right.get_ylim()[1]  # the smallest on top
    assert set(by_label(left)) == set(spreads()["line"])


def test_a_bar_has_the_colour_and_marker_of_its_curve() -> None:
    left, right = ablation().axes
    curve = by_label(left)["η=0.001, λ=0"]
    bar, marker = right.patches[1], right.get_lines()[1]
    assert to_hex(bar.get_facecolor()) == to_hex(curve.get_color())
    assert marker.get_marker() == curve.get_marker()


def test_colour_tells_the_rate_and_dashes_tell_the_decay() -> None:
    names = {"a": (1e-3, 0.0), "b": (1e-3, 1e-2), "c": (1e-2, 0.0)}
    looks = rate_looks(names, {1e-3, 1e-2}, {0.0, 1e-2})
    assert looks["a"].colour == looks["b"].colour != looks["c"].colour
    assert looks["a"].dashes == looks["c"].dashes != looks["b"].dashes


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
            "at_limit": [False, True, False],
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
