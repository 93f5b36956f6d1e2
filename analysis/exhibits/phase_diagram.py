"""The phase diagram of an experiment: its figures, and what they show and cannot show in words.

The command `analysis.phase_diagram` draws and prints all of it; the report takes the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.estimates.boundary import boundary_rates
from analysis.estimates.overview import Estimates, PhaseEstimates
from analysis.figures.accuracy import accuracy_by_scale
from analysis.figures.accuracy_map import accuracy_map
from analysis.figures.collapse import collapse_number, collapse_pages
from analysis.figures.memory_by_clock import memory_by_clock
from analysis.figures.memory_plane import memory_plane
from analysis.figures.style import recipe_name
from analysis.tables import aligned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHASE_DIAGRAM, BY_CLOCK = "phase-diagram", "memory against the forgetting clocks"
FRONT = ("recipe", "memory pp", "corrected [95 %]", "seeds")
BACK = ("τ_interp reached", "verdict")


# --- figures ---
def figures(found: Estimates, experiment: str) -> Iterator[tuple[str, Figure]]:
    """Name and figure, one after another, of all that the estimates allow."""
    shown, perturbed = plain_text(experiment), found.perturbation
    yield (
        f"accuracy-by-{perturbed.stem}",
        accuracies(found, f"{shown}: how much of {perturbed.symbol} survives training"),
    )
    yield (
        "accuracy-map",
        heat_map(found, f"{shown}: test accuracy by recipe and {perturbed.symbol}"),
    )
    if not found.memory_known:
        return
    if found.plane_varies:
        yield "memory-plane", plane(found, f"{shown}: memory by recipe")
    yield PHASE_DIAGRAM, by_clock(found, f"{shown}: {BY_CLOCK}")
    if not perturbed.numeric:
        return
    pages = collapses(found, f"{shown}: sensitivity to {perturbed.symbol} during training")
    for number, page in enumerate(pages, start=1):
        yield "collapse" if len(pages) == 1 else f"collapse-{number}", page


def accuracies(found: Estimates, title: str) -> Figure:
    """Test accuracy against σw, a line per recipe."""
    return accuracy_by_scale(found.scales, title, found.perturbation)


def heat_map(found: Estimates, title: str) -> Figure:
    """Test accuracy over recipe and σw."""
    return accuracy_map(found.scales, title, found.perturbation)


def plane(found: Estimates, title: str) -> Figure:
    """Memory over learning rate and batch size, and the measured boundary in it."""
    return memory_plane(found.recipes, boundary_rates(found.recipes, found.boundaries), title)


def by_clock(found: PhaseEstimates, title: str) -> Figure:
    """Memory against the clocks, with the boundary on each."""
    return memory_by_clock(found.recipes, found.boundaries, title)


def collapses(found: Estimates, title: str) -> list[Figure]:
    """abs(β) against epochs and on the own clock, three families on a page."""
    return collapse_pages(found.betas, found.collapses, title, found.perturbation)


def plain_text(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


# --- what they show, in words ---
def recipe_table(found: PhaseEstimates) -> str:
    """One line per recipe, under headings, and what the verdict means."""
    headings = (*FRONT, found.perturbation.symbol, *BACK)
    lines = aligned(headings, [_cells(row) for row in found.recipes.to_dict("records")])
    if math.isfinite(found.level):
        level = 100 * found.level
        lines.append(
            f"remembers, forgets: the interval is above, below {level:.1f} pp (half of the largest "
            "memory)"
        )
    elif (found.recipes["verdict"] == "no level").any():
        lines.append(
            "no level: asked of all recipes at once (Holm), no memory of a point or more is above "
            "its noise, so there is no half of it to compare with"
        )
    return "\n".join(lines)


def boundary_lines(found: PhaseEstimates) -> list[str]:
    """One line per clock: its boundary, or why there is none."""
    lines = []
    for row in found.boundaries.to_dict("records"):
        if math.isfinite(row["value"]):
            lines.append(
                f"boundary on {row['clock']}: {row['value']:.3g} "
                f"[{row['low']:.3g}, {_end(row['high'])}], where memory falls through "
                f"{100 * row['level']:.1f} pp, between the recipes at "
                f"{row['last_remembering']:.3g} and {row['first_forgetting']:.3g}; "
                f"{row['recipes']} recipes, {row['misplaced']} on the wrong side"
            )
        else:
            lines.append(f"boundary on {row['clock']}: {row['reason']}")
    return lines


def collapse_lines(found: Estimates) -> list[str]:
    """One line per family of several batch sizes: S on its own clock and on the epochs."""
    lines = []
    for family, rows in found.collapses.groupby("family", sort=False):
        axes = [
            f"{'epochs' if axis == 'epoch' else str(axis)} {collapse_number(part, 2)}"
            for axis, part in rows.groupby("axis", sort=False)
        ]
        lines.append(f"collapse of {recipe_name(str(family))}: {'; '.join(axes)}")
    return lines


def unknown_lines(found: Estimates) -> list[str]:
    """One line for each thing that these runs cannot tell."""
    recipes, perturbed = found.recipes, found.perturbation
    one_scale = int((recipes["scales"] < 2).sum())
    one_seed = int(((recipes["seeds"] < 2) & (recipes["scales"] > 1)).sum())
    of = f"of {len(recipes)} recipes"
    lines = []
    if one_scale:
        lines.append(
            f"{perturbed.name}: {one_scale} {of} have fewer than two values, so that accuracy can "
            "be drawn, and no memory, β(t), boundary or collapse estimated; train another "
            f"{perturbed.symbol}"
        )
    if one_seed:
        lines.append(
            f"seed: {one_seed} {of} have one seed, so that memory and |β(t)| can be drawn, and no "
            "interval, correction, boundary or collapse estimated; train another seed"
        )
    if not found.memory_known:
        return lines
    if not found.plane_varies:
        lines.append(
            "memory over learning rate × batch size: not drawn, as neither varies "
            f"(η={recipes['learning_rate'].iloc[0]:g}, b={recipes['batch_size'].iloc[0]})"
        )
    if not perturbed.numeric:
        lines.append(
            f"β(t) and its collapse: not estimated, as {perturbed.name} has categories, on which "
            "there is no slope"
        )
    elif found.collapses.empty:
        lines.append("collapse: not measured, as no two recipes differ in their batch size alone")
    return lines


def _cells(row: dict[Hashable, Any]) -> tuple[str, ...]:
    return (
        row["recipe"],
        _points(row["memory"]),
        _interval(row),
        str(row["seeds"]),
        str(row["scales"]),
        f"{row['reached']} of {row['reached'] + row['censored']}",
        row["verdict"] + _failures(row),
    )


def _failures(row: dict[Hashable, Any]) -> str:
    """Such as ' (2 of 50 runs diverged: 26.5 pp without them; 1 learned next to nothing)'."""
    said = []
    if row["diverged"]:
        without = f"{_points(row['survivors'])} pp without them"
        said.append(f"{row['diverged']} of {row['runs']} runs diverged: {without}")
    if row["untrained"]:
        said.append(f"{row['untrained']} learned next to nothing")
    return f" ({'; '.join(said)})" if said else ""


def _end(high: float) -> str:
    return f"{high:.3g}" if math.isfinite(high) else "∞"


def _points(value: float) -> str:
    # Adding 0 makes −0.0 a plain 0.
    return f"{round(100 * value, 1) + 0.0:.1f}" if pd.notna(value) else "–"


def _interval(row: dict[Hashable, Any]) -> str:
    if pd.isna(row["low"]):
        return _points(row["corrected"])
    return f"{_points(row['corrected'])} [{_points(row['low'])}, {_points(row['high'])}]"
