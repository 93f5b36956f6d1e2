"""The frames of the paper's tables: recipes in rows, accuracies in %, spreads in pp.

Standard deviations and intervals stand in columns named after the number, as `analysis.tables`
writes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.estimates.recipe_labels import word
from analysis.exhibits.source import Source
from analysis.figures.scale_panels import optimizer_name
from suite.declarations.config import RunConfig
from suite.declarations.perturbation import perturbation

MOST_SCALES = 5
NAMING = (
    *("model", "norm", "augmentation", "schedule", "epochs", "optimizer", "b", "η", "λ"),
    *(perturbation(name).symbol for name in RunConfig.initials()),
)
CHECKPOINTS = {
    "val_accuracy_interpolation": "val at τ_interp (%)",
    "val_accuracy_best": "val at τ_best (%)",
    "val_accuracy_final": "val, last epoch (%)",
    "test_accuracy": "test at τ_best (%)",
}


def checkpoints(source: Source, scale: Any) -> pd.DataFrame:
    """Validation accuracy of every recipe at one σw at three checkpoints, and the repair gap."""
    rows = []
    here = source.scales[source.near(source.scales, [scale])]
    fitted = source.fitted[source.near(source.fitted, [scale])].set_index("recipe")
    for about in source.about.to_dict("records"):
        if about["recipe"] not in fitted.index:
            continue
        found = here[here["recipe"] == about["recipe"]].set_index("quantity")
        row: dict[str, Any] = named(about, source)
        for quantity, heading in CHECKPOINTS.items():
            row |= deviating(heading, found.loc[quantity])
        gap = found.loc["repair_gap"]
        row |= {
            "repair gap (pp)": 100 * gap["mean"],
            "repair gap (pp) low": 100 * gap["low"],
            "repair gap (pp) high": 100 * gap["high"],
        }
        times = fitted.loc[about["recipe"]]
        row |= {"reach τ_interp": int(times["reached"]), "n": int(times["n"])}
        rows.append(row | {"diverged": int(times["diverged"])})
    return pd.DataFrame(rows)


def accuracies(source: Source, lead: Sequence[str] = (), train: str = "") -> pd.DataFrame:
    """Test accuracy of every recipe by σw, and its spread.

    Parameters
    ----------
    source
        The runs.
    lead
        Settings that name the rows beside those that vary.
    train
        'train_accuracy_best' or 'train_accuracy_final' adds its mean over σw; '' none.
    """
    tests = source.quantity("test_accuracy")
    spreads = source.memory.set_index("recipe")
    rows = []
    for about in source.about.to_dict("records"):
        row = named(about, source, lead)
        mine = tests[tests["recipe"] == about["recipe"]]
        for scale in shown_scales(source):
            at = mine[source.near(mine, [scale])]
            heading = f"{source.perturbation.word(scale)} (%)"
            row |= deviating(heading, at.iloc[0] if len(at) else None)
        row |= spread(spreads.loc[about["recipe"]])
        if train:
            means = source.quantity(train)
            row["train (%)"] = 100 * means.loc[means["recipe"] == about["recipe"], "mean"].mean()
        rows.append(row | {"n": _seeds(mine), "diverged": int(mine["diverged"].sum())})
    return pd.DataFrame(rows)


def fitting(source: Source) -> pd.DataFrame:
    """τ_interp and τ_best of every recipe at its smallest and largest σw, beside its label."""
    best, perturbed = source.quantity("best_epoch"), source.perturbation
    rows = []
    for recipe in source.about["recipe"]:
        row: dict[str, Any] = {"recipe": recipe}
        for name, table in (("τ_interp", source.fitting_time), ("τ_best", best)):
            mine = table[table["recipe"] == recipe].sort_values(
                perturbed.name, key=lambda column: column.map(perturbed.rank)
            )
            for at in (mine.iloc[0], mine.iloc[-1]) if len(mine) > 1 else (mine.iloc[0],):
                heading = f"{name} at {perturbed.word(at[perturbed.name])} (epochs)"
                row |= {heading: at["mean"], f"{heading} low": at["low"]}
                row |= {f"{heading} high": at["high"]}
        rows.append(row)
    return pd.DataFrame(rows)


def with_fitting(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """The table of `accuracies` with the columns of `fitting` before the numbers of runs."""
    times = fitting(source).drop(columns="recipe")
    counts = ["n", "diverged"]
    return pd.concat([table.drop(columns=counts), times, table[counts]], axis=1)


def named(about: Mapping[Any, Any], source: Source, lead: Sequence[str] = ()) -> dict[str, Any]:
    """The columns that name a recipe: its optimizer, batch size, and what else varies."""
    row: dict[str, Any] = {}
    for setting in ("model", "norm", "augmentation", "schedule", "epochs"):
        if setting in lead or source.varies(setting):
            row[setting] = word(setting, about[setting]) if setting == "norm" else about[setting]
    row["optimizer"] = optimizer_name(str(about["optimizer"]))
    row["b"] = int(about["batch_size"])
    for setting, sign in (("learning_rate", "η"), ("kernel_l2", "λ")):
        if setting in lead or source.varies(setting):
            row[sign] = f"{about[setting]:g}"
    row |= {one.symbol: one.value(about[one.name]) for one in source.other_initials}
    return row | {name.replace("_", " "): shown(about[name]) for name in source.other_settings}


def shown(value: Any) -> str:
    """A setting's value in a column of its own."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def deviating(heading: str, row: Any) -> dict[str, float]:
    """A mean in % with its standard deviation."""
    if row is None:
        return {heading: math.nan, f"{heading} sd": math.nan}
    return {heading: 100 * float(row["mean"]), f"{heading} sd": 100 * float(row["sd"])}


def spread(row: Any, heading: str = "spread (pp)") -> dict[str, float]:
    """The spread in pp, with the interval of the true one."""
    values = {"": row["memory"], " low": row["low"], " high": row["high"]}
    return {f"{heading}{ending}": 100 * float(value) for ending, value in values.items()}


def shown_scales(source: Source) -> list[Any]:
    """The perturbed values that have a column: all, or five from the first to the last."""
    scales = source.scale_values()
    if len(scales) <= MOST_SCALES:
        return scales
    places = np.linspace(0, len(scales) - 1, MOST_SCALES).round().astype(int)
    return [scales[place] for place in places]


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables on top of one another: names first, in the order of the first that has them."""
    whole = pd.concat(tables, ignore_index=True)
    names = [name for name in whole if name in NAMING]
    return whole[[*names, *(name for name in whole if name not in names)]]


def _seeds(rows: pd.DataFrame) -> str:
    low, high = int(rows["n"].min()), int(rows["n"].max())
    return str(low) if low == high else f"{low} to {high}"
