"""The sides of a boundary on a clock, and the boundary with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes

from analysis.figures.style import (
    FORGET_COLOUR,
    FORGET_INK,
    REMEMBER_COLOUR,
    REMEMBER_INK,
)

NOT_CROSSED = "not crossed"  # how the reason of a boundary begins that enough recipes do not cross
WORD = 0.24  # part of the panel's width that the name of a side needs


@dataclass(frozen=True)
class Region:
    """A side of a boundary: what it is called, how it looks, where in the panel its name stands."""

    word: str
    colour: str
    ink: str
    place: float
    align: Literal["left", "right"]


REMEMBERS = Region("remembers", REMEMBER_COLOUR, REMEMBER_INK, 0.02, "left")
FORGETS = Region("forgets", FORGET_COLOUR, FORGET_INK, 0.98, "right")


def draw_boundary(panel: Axes, found: pd.Series[Any], own: pd.Series[float]) -> None:
    """Colour the sides of a boundary; the whole panel where all recipes are on one side.

    Parameters
    ----------
    found
        The clock's row of the boundaries.
    own
        Memory in pp of the recipes which that clock governs.
    """
    level = 100 * found["level"]
    left, right = panel.get_xlim()
    if math.isfinite(level):
        panel.axhline(level, color="#666666", linewidth=1, linestyle=":", zorder=1)
    value = found["value"]
    if not math.isfinite(value):
        # Of fewer recipes than a boundary needs, no side is said.
        if str(found["reason"]).startswith(NOT_CROSSED):
            if (own > level).all():
                _side(panel, REMEMBERS, left, right)
            elif (own <= level).all():
                _side(panel, FORGETS, left, right)
        return
    _side(panel, REMEMBERS, left, value)
    _side(panel, FORGETS, value, right)
    low, high = max(found["low"], left), min(found["high"], right)
    panel.axvspan(low, high, color="#555555", alpha=0.15, zorder=0.5, linewidth=0)
    panel.axvline(value, color="black", linewidth=1.8, zorder=1)
    panel.plot([low, high], [level, level], color="black", linewidth=2.2, zorder=1)
    ends = [end for end in (found["low"], found["high"]) if left < end < right]
    panel.plot(ends, [level] * len(ends), "|", color="black", markersize=12, markeredgewidth=2.2)
    panel.set_xlim(left, right)


def _side(panel: Axes, region: Region, start: float, end: float) -> None:
    """Colour a region from one clock value to another, and name it where it is wide enough."""
    limits = panel.get_xlim()
    panel.axvspan(start, end, color=region.colour, zorder=0, linewidth=0, alpha=0.6)
    panel.set_xlim(limits)
    if math.log(end / start) > WORD * math.log(limits[1] / limits[0]):
        panel.text(
            region.place,
            0.98,
            region.word,
            transform=panel.transAxes,
            ha=region.align,
            va="top",
            color=region.ink,
            fontsize=12,
            fontstyle="italic",
        )
