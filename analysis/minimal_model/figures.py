"""The two pictures of the minimal model: Figure 9 of Das et al. 2026, and the clocks measured.

Frames in, figures out; every number shown is in the frames. Colours are rates, from dark to light
within a panel; the optimizers' colours mean something else in the suite and are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.minimal_model.measurements import SETTING
from suite.minimal_model import experiments, laws
from suite.minimal_model.scalar import imbalance

STYLE: Any = {  # matplotlib's key type is newer than the oldest matplotlib allowed
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "legend.fontsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
}
PANEL_TITLES = {
    "gd": "(a) Gradient descent\n20 steps",
    "sgd": "(b) SGD, cyclic targets\n50,000 steps",
    "adam_full_batch": "(c) Adam, full batch\n5,000 steps",
    "adam_minibatch": "(d) Adam, drawn targets\n200,000 steps",
}
CLOCK_TITLES = {
    "finite_steps": "(a) SGD: finite steps",
    "norm_decay": "(b) SGD with coupled $L_2$",
    "preconditioning": "(c) Adam: way to the minimum",
    "adam_on_minimum": "(d) Adam: on the minimum",
}
CLOCK_LABELS = {
    "T_SGD": r"$T_{\mathrm{SGD}}=\frac{1}{b}\sum\eta^2$",
    "T_L2": r"$T_{L_2}=\lambda\sum\eta$",
    "T_adapt": r"$T_{\mathrm{adapt}}=\sum\eta$",
    "sum_eta_squared": r"$\sum\eta^2$, without $1/b$",
}
BATCH_STYLES = {1: "-", 4: "--", 16: ":"}
DECAY_WIDTHS = {0.0: 1.8, 0.1: 1.2, 0.4: 2.8}
SYMBOLS = {"learning_rate": r"\eta", "batch_size": "b", "weight_decay": r"\lambda"}


def rate_colours(rates: Sequence[float]) -> dict[float, Any]:
    """A colour for each learning rate, from dark (small) to light (large)."""
    shades = mpl.colormaps["plasma"](np.linspace(0.12, 0.78, len(rates)))
    return dict(zip(sorted(rates), shades, strict=True))


def figure_9(paths: pd.DataFrame, finals: pd.DataFrame) -> Figure:
    """Trajectories of the four optimizers on (ab − 1)² in the plane of a and b.

    Parameters
    ----------
    paths, finals
        The frames of `minimal_model_measurements.trajectories` and `final_states`.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13.2, 5.6), layout="constrained")
        panels = figure.subplots(1, len(PANEL_TITLES), sharex=True, sharey=True)
        colours = rate_colours(experiments.RATES)
        for panel, (name, title) in zip(panels, PANEL_TITLES.items(), strict=True):
            _draw_landscape(panel)
            runs = paths[paths["trajectory"] == name]
            for rate in sorted(colours, reverse=True):  # the smaller steps on top
                run = runs[runs["learning_rate"] == rate]
                _draw_trajectory(panel, run, colours[rate], few=name == "gd")
            _print_imbalances(panel, finals[finals["trajectory"] == name], colours)
            panel.set(title=title, xlabel="$a$")
        panels[0].set_ylabel("$b$")
        figure.legend(handles=_landscape_legend(), loc="outside lower center", ncols=5)
    return figure


def _draw_landscape(panel: Axes) -> None:
    a, b = np.meshgrid(np.linspace(-3.2, 3.4, 150), np.linspace(-2.0, 6.6, 150))
    levels = np.linspace(-2.0, 6.0, 9)
    shades = mpl.colormaps["Greys"](np.linspace(0.0, 0.32, len(levels) + 1))
    panel.contourf(a, b, np.log((a * b - 1.0) ** 2 + 1e-9), levels, colors=shades, extend="both")
    for branch in (np.linspace(-3.2, -0.3, 200), np.linspace(0.1, 3.4, 400)):
        panel.plot(branch, 1.0 / branch, color="black", linewidth=1.8)
    along = np.linspace(-3.2, 3.4, 200)
    a0, b0 = experiments.START
    panel.plot(along, np.sqrt(b0**2 - a0**2 + along**2), color="0.25", linewidth=1.2, ls=":")
    panel.plot(
        [1, -1], [1, -1], linestyle="", marker="*", ms=15, mfc="#EE3377", mec="black", zorder=6
    )
    panel.plot(*experiments.START, marker="o", ms=8, mfc="white", mec="black", mew=1.6, zorder=7)
    panel.set(xlim=(-3.2, 3.4), ylim=(-2.0, 6.6), aspect="equal")


def _draw_trajectory(panel: Axes, run: pd.DataFrame, colour: Any, *, few: bool) -> None:
    marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if few else {}
    panel.plot(run["a"], run["b"], color=colour, linewidth=1.3, alpha=0.9, zorder=4, **marker)
    end = run.iloc[-1]
    panel.plot(end["a"], end["b"], marker="s", ms=6, mfc=colour, mec="black", zorder=8)


def _print_imbalances(panel: Axes, finals: pd.DataFrame, colours: dict[float, Any]) -> None:
    handles = [
        Line2D([], [], color=colours[rate], lw=2.5, label=rf"$\eta={rate:g}$:  $D={value}$")
        for rate, value in zip(
            finals["learning_rate"], map(_readable, finals["imbalance"]), strict=True
        )
    ]
    panel.legend(handles=handles, loc="lower right", framealpha=0.95, handlelength=1.0)


def _readable(imbalance: float) -> str:
    """D to three digits; what is nearer to 0 than 10⁻³ is said to be 0.000."""
    text = f"{imbalance:.1f}" if abs(imbalance) >= 1 else f"{imbalance:.3f}"
    return "0.000" if float(text) == 0 else text


def _landscape_legend() -> list[Line2D]:
    star: dict[str, Any] = {"marker": "*", "ms": 14, "mfc": "#EE3377", "mec": "black"}
    start: dict[str, Any] = {"marker": "o", "ms": 8, "mfc": "white", "mec": "black"}
    end: dict[str, Any] = {"marker": "s", "ms": 7, "mfc": "0.6", "mec": "black"}
    return [
        Line2D([], [], color="black", lw=1.8, label="global minima, $ab=1$"),
        Line2D([], [], ls="", label=r"minimum norm, $\pm(1,1)$", **star),
        Line2D([], [], color="0.25", lw=1.2, ls=":", label="level set $D=-35$ (gradient flow)"),
        Line2D([], [], ls="", label="start $(1,6)$", **start),
        Line2D([], [], ls="", label="end", **end),
    ]


def clocks_figure(curves: pd.DataFrame, collapses: pd.DataFrame, exponents: pd.DataFrame) -> Figure:
    """What is left of D, against step counts (above) and against each mechanism's clock (below).

    Parameters
    ----------
    curves, collapses, exponents
        The frames of `minimal_model_measurements.clock_curves`, `collapse` and `clock_exponents`.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14.0, 7.2), layout="constrained")
        grid = figure.subplots(2, len(experiments.CLOCKS), sharey="col")
        for column, experiment in enumerate(experiments.CLOCKS):
            top, bottom = grid[:, column]
            runs = curves[curves["experiment"] == experiment.name]
            _draw_curves(top, runs, "steps")
            _draw_curves(bottom, runs, experiment.clock)
            _draw_prediction(bottom, experiment)
            top.set(xscale="log", xlabel="updates")
            top.minorticks_off()
            bottom.set(xlabel=CLOCK_LABELS[experiment.clock], xlim=(0.0, experiment.span))
            spreads = collapses[collapses["experiment"] == experiment.name].set_index("clock")
            law = exponents[exponents["quantity"] == experiment.name]
            top.set_title(f"{CLOCK_TITLES[experiment.name]}\n{_fitted_law(law)}")
            null = f"curves apart\n{_factor(spreads, 'steps')}"
            top.text(0.03, 0.04, null, transform=top.transAxes)
            share = 100.0 * spreads["residual_share"].to_dict()[experiment.clock]
            bottom.legend(
                handles=_rate_legend(experiment),
                title=f"curves apart {_factor(spreads, experiment.clock)}\n"
                f"residual {share:.2g} % of the null's",
                loc="upper right",
                frameon=False,
            )
        for row in grid[:, 0]:
            row.set_ylabel("imbalance left, $D/D_0$")
        figure.legend(handles=_clock_legend(), loc="outside lower center", ncols=6)
    return figure


def _draw_curves(panel: Axes, runs: pd.DataFrame, clock: str) -> None:
    colours = rate_colours(sorted(runs["learning_rate"].unique()))
    for setting, run in runs.groupby(SETTING):
        rate, batch_size, decay = cast("tuple[float, int, float]", setting)
        started = run[run["steps"] > 0]
        panel.plot(
            started[clock],
            started["fraction"],
            color=colours[rate],
            linestyle=BATCH_STYLES[batch_size],
            linewidth=DECAY_WIDTHS[decay],
        )


def _draw_prediction(panel: Axes, experiment: experiments.ClockExperiment) -> None:
    clock = np.linspace(0.0, experiment.span, 300)
    panel.plot(clock, _predicted_fraction(experiment.name, clock), color="black", lw=1.2, zorder=5)


def _predicted_fraction(name: str, clock: NDArray[np.float64]) -> NDArray[np.float64]:
    """D/D_0 on its own clock, to leading order."""
    a, b = experiments.START
    initial = a**2 - b**2
    if name == "finite_steps":
        return laws.sgd_imbalance_fraction(clock, experiments.TARGET_VARIANCE)
    if name == "norm_decay":
        return laws.decayed_imbalance(np.asarray(1.0), 1.0, clock)
    if name == "preconditioning":
        path = laws.averaged_descent_path((a, b), experiments.TARGET, clock)
        return imbalance(path) / initial
    arrival = laws.averaged_descent_path((a, b), experiments.TARGET, np.array([0.0, 20.0]))[-1]
    return laws.adam_imbalance_on_minimum(float(arrival[1] - arrival[0]), clock) / initial


def _factor(spreads: pd.DataFrame, clock: str) -> str:
    spread = float(spreads["spread"].to_dict()[clock])
    return rf"by $\times${np.exp(spread):.2f}"


def _fitted_law(law: pd.DataFrame) -> str:
    """The fitted power law, with the standard error of the last digits in brackets."""
    terms = [
        rf"{SYMBOLS[axis]}^{{\,{exponent:.2f}({max(1, round(100 * error))})}}"
        for axis, exponent, error in zip(
            law["axis"], law["exponent"], law["standard_error"], strict=True
        )
    ]
    return r"updates $\propto " + r"\;".join(terms) + "$"


def _rate_legend(experiment: experiments.ClockExperiment) -> list[Line2D]:
    colours = rate_colours(experiment.learning_rates)
    return [Line2D([], [], color=c, lw=2.5, label=rf"$\eta={r:g}$") for r, c in colours.items()]


def _clock_legend() -> list[Line2D]:
    sizes = [
        Line2D([], [], color="0.3", lw=1.8, ls=style, label=f"$b={size}$")
        for size, style in BATCH_STYLES.items()
    ]
    decays = [
        Line2D([], [], color="0.3", lw=width, label=rf"$\lambda={decay:g}$")
        for decay, width in DECAY_WIDTHS.items()
        if decay > 0
    ]
    return [*sizes, *decays, Line2D([], [], color="black", lw=1.2, label="theory, leading order")]
