"""A cell is one recipe: one value of every setting except σw, σb and the seed.

Everything that is estimated is estimated inside a cell, from an array over its σw and its seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates.recipe_labels import labels, sort_key
from suite.declarations.config import ConfigError, RunConfig, parse

WITHIN = ("sigma_w", "sigma_b", "seed")
SETTINGS = tuple(name for name in RunConfig.names() if name not in WITHIN)


@dataclass(frozen=True, eq=False)
class Cell:
    """The runs of one recipe.

    Attributes
    ----------
    label
        Short name, unique among the cells found together.
    config
        The recipe, with σw, σb and the seed at their defaults.
    train_images
        Images in its training split.
    scales
        Its σw, ascending, shape (S,).
    seeds
        Its seeds, ascending, shape (G,).
    rows
        Position of each run in the runs frame, shape (S, G); −1 where there is no run.
    diverged
        Which runs diverged, shape (S, G).
    """

    label: str
    config: RunConfig
    train_images: int
    scales: NDArray[np.float64]
    seeds: NDArray[np.int64]
    rows: NDArray[np.intp]
    diverged: NDArray[np.bool_]

    @property
    def finished(self) -> int:
        """Finished runs, diverged ones included."""
        return int((self.rows >= 0).sum())

    @property
    def diverged_count(self) -> int:
        """Finished runs that diverged."""
        return int(self.diverged.sum())

    def pivot(
        self, values: NDArray[np.float64], *, keep_diverged: bool = False
    ) -> NDArray[np.float64]:
        """Values of all runs, arranged by this cell's σw and seeds.

        Parameters
        ----------
        values
            One row per run of the runs frame: shape (runs,) or (runs, epochs).
        keep_diverged
            By default diverged runs count as missing.

        Returns
        -------
        ndarray of shape (S, G) or (S, G, epochs)
            NaN where there is no run.
        """
        arranged = np.array(values[self.rows], dtype=np.float64)
        arranged[self.rows < 0] = np.nan
        if not keep_diverged:
            arranged[self.diverged] = np.nan
        return arranged


def find_cells(runs: pd.DataFrame) -> list[Cell]:
    """The cells of a runs frame, in a stable order (by optimizer, rate, λ, batch size, …).

    Parameters
    ----------
    runs
        One row per finished run, with every setting of `RunConfig`, `diverged` and
        `train_images`.

    Raises
    ------
    ConfigError
        Where a cell holds two runs of one σw and seed.
    """
    groups: dict[str, tuple[RunConfig, list[NDArray[np.intp]]]] = {}
    for rows in runs.groupby(list(SETTINGS), sort=False, dropna=False).indices.values():
        config = _recipe(runs.iloc[int(rows[0])])
        groups.setdefault(config.fingerprint, (config, []))[1].append(np.asarray(rows))
    found = sorted(groups.values(), key=lambda group: sort_key(group[0].identity()))
    names = labels([_outside(config) for config, _ in found])
    return [
        _cell(name, config, runs, np.sort(np.concatenate(parts)))
        for name, (config, parts) in zip(names, found, strict=True)
    ]


def cell_named(cells: Sequence[Cell], label: str) -> Cell:
    """The cell with a given label.

    Raises
    ------
    ConfigError
        If there is none.
    """
    for cell in cells:
        if cell.label == label:
            return cell
    known = ", ".join(cell.label for cell in cells)
    raise ConfigError(f"cell: must be one of the cells found, got {label!r}; there are {known}")


def cell_column(cells: Sequence[Cell], runs: pd.DataFrame) -> pd.Series[Any]:
    """Each run's cell as an ordered categorical beside `runs`."""
    codes = np.full(len(runs), -1)
    for code, cell in enumerate(cells):
        codes[cell.rows[cell.rows >= 0]] = code
    names = [cell.label for cell in cells]
    return pd.Series(
        pd.Categorical.from_codes(codes, pd.Index(names), ordered=True),
        index=runs.index,
        name="cell",
    )


def _recipe(row: pd.Series[Any]) -> RunConfig:
    settings = {name: row[name] for name in SETTINGS}
    return parse({name: getattr(v, "item", lambda v=v: v)() for name, v in settings.items()})


def _outside(config: RunConfig) -> dict[str, Any]:
    return {name: value for name, value in config.identity().items() if name not in WITHIN}


def _cell(label: str, config: RunConfig, runs: pd.DataFrame, members: NDArray[np.intp]) -> Cell:
    part = runs.iloc[members]
    scales, scale = np.unique(part["sigma_w"].to_numpy(dtype=np.float64), return_inverse=True)
    seeds, seed = np.unique(part["seed"].to_numpy(dtype=np.int64), return_inverse=True)
    rows = np.full((scales.size, seeds.size), -1, dtype=np.intp)
    rows[scale, seed] = members
    if (rows >= 0).sum() != members.size:
        raise ConfigError(
            f"runs: one run per σw and seed in a cell, got {members.size} runs for "
            f"{int((rows >= 0).sum())} pairs in cell {label!r}; keep one sigma_b"
        )
    diverged = np.zeros(rows.shape, dtype=np.bool_)
    diverged[scale, seed] = part["diverged"].to_numpy(dtype=np.bool_)
    images = part["train_images"].unique()
    if len(images) != 1:
        raise ConfigError(
            f"train_images: one training split per cell, got {sorted(images.tolist())} in cell "
            f"{label!r}; keep the runs of one data set"
        )
    return Cell(label, config, int(images[0]), scales, seeds, rows, diverged)
