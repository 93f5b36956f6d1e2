"""How full markers are: a second setting shown beside the optimizer's colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

SECOND = {"learning_rate": "η0", "kernel_l2": "λ"}  # what the fill may show, the first that varies
PALEST = 0.15  # strength of the fill at the lowest value
MOST_SHADES = 4  # of which the legend shows all
GREY = "#444444"


@dataclass(frozen=True)
class Shades:
    """How full a marker is, by the second setting that varies; all are full where none does."""

    setting: str
    values: Sequence[float]

    @classmethod
    def of(cls, recipes: pd.DataFrame) -> Shades:
        """By the learning rate if it varies, else by λ if that does."""
        for setting in SECOND:
            values = sorted(float(value) for value in recipes[setting].unique())
            if len(values) > 1:
                return cls(setting, values)
        return cls("", ())

    def fill(self, colour: str, value: float) -> tuple[float, float, float]:
        """The colour mixed with white."""
        part = self.values.index(value) / (len(self.values) - 1) if self.values else 1.0
        strength = PALEST + (1 - PALEST) * part
        red, green, blue = (1 - strength * (1 - channel) for channel in to_rgb(colour))
        return red, green, blue

    def handles(self) -> list[Line2D]:
        """Legend entries for the values, or for the ends where there are many."""
        shown = (
            self.values if len(self.values) <= MOST_SHADES else self.values[:: len(self.values) - 1]
        )
        return [
            Line2D(
                [],
                [],
                linestyle="",
                marker="o",
                markersize=8,
                color=GREY,
                markerfacecolor=self.fill(GREY, value),
                label=f"{SECOND[self.setting]} = {value:g}",
            )
            for value in shown
        ]
