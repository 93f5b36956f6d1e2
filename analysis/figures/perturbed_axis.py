"""Where values of the perturbed setting stand along an axis: numbers as they are, categories apart.

Numbers that span decades stand by their logarithm. Categories have no distances: they stand one
place apart, in the order of their declaration.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis.figures.style import log_ticks
from suite.declarations.perturbation import Perturbation

ROOM = 0.3  # beside the first and the last category
LONG, TURNED = 24, 20  # letters of all categories that stand level, degrees of those that do not
DECADES = 50.0  # largest number over the smallest from which an axis is logarithmic


@dataclass(frozen=True)
class PerturbedAxis:
    """The horizontal axis of a figure.

    Attributes
    ----------
    perturbation
        The setting along it.
    values
        All that the figure has, in their order.
    """

    perturbation: Perturbation
    values: tuple[Any, ...]

    @classmethod
    def of(cls, perturbation: Perturbation, tables: Iterable[pd.DataFrame]) -> PerturbedAxis:
        """The axis of a figure of these tables, each with a column of the setting's name."""
        values = (value for table in tables for value in table[perturbation.name].tolist())
        return cls(perturbation, tuple(perturbation.ordered(values)))

    @property
    def logarithmic(self) -> bool:
        """Whether the values are numbers above 0 that span decades."""
        if not self.perturbation.numeric or not self.values:
            return False
        return bool(self.values[0] > 0 and self.values[-1] >= DECADES * self.values[0])

    def sorted(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table along the axis."""
        name = self.perturbation.name
        if self.perturbation.numeric:
            return table.sort_values(name)
        order = table[name].map(self.values.index).argsort(kind="stable")
        return table.iloc[order.to_numpy()]

    def places(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Where the rows of a table stand."""
        column = table[self.perturbation.name]
        if not self.perturbation.numeric:
            column = column.map(self.values.index)
        return column.to_numpy(dtype=np.float64)

    def label(self, panel: Axes, *, named: bool = True) -> None:
        """Name the values along a panel, and the setting below it."""
        if not self.perturbation.numeric:
            words = [self.perturbation.value(value) for value in self.values]
            turned = TURNED if sum(map(len, words)) > LONG else 0
            panel.set_xticks(range(len(words)), words, rotation=turned)
            panel.set_xlim(-ROOM, len(words) - 1 + ROOM)
        elif self.logarithmic:
            panel.set_xscale("log")
            log_ticks(panel.xaxis, float(self.values[0]), float(self.values[-1]))
        if named:
            panel.set_xlabel(self.perturbation.label)
