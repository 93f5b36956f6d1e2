"""The report's first lines: what each experiment remembers, as numbers with intervals."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from analysis.estimates.memory import memory
from analysis.estimates.recipes import find_recipes
from analysis.figures.style import recipe_name
from analysis.store.frames import Store
from analysis.tracked import metric_name
from suite.declarations.perturbation import SIGMA_W, Perturbation

Row = Mapping[Hashable, Any]


def memories(stores: Mapping[str, Store], *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Experiment to the memory of its recipes that have one, the largest first."""
    found = {}
    for name, store in stores.items():
        recipes = find_recipes(store.runs, store.perturbation)
        table = memory(store.runs, recipes=recipes, seed=seed)
        known = table[table["memory"].notna() & (table["scales"] > 1)]
        found[name] = known.sort_values("memory", ascending=False, kind="stable")
    return found


def findings(
    tables: Mapping[str, pd.DataFrame], perturbations: Mapping[str, Perturbation] | None = None
) -> list[str]:
    """For each experiment the recipes of the largest and of the smallest memory, as a sentence.

    Parameters
    ----------
    tables
        From `memories`.
    perturbations
        Experiment to the setting whose memory it is, where that is not σw.
    """
    lines = []
    for experiment, table in tables.items():
        perturbed = (perturbations or {}).get(experiment, SIGMA_W)
        if table.empty:
            lines.append(
                f"{experiment}: no recipe has runs at two {perturbed.symbol}, so no memory is known"
            )
            continue
        most, *others = table.to_dict("records")
        line = f"{experiment}: {_sentence_of(most)}, between {_scales(most, perturbed)}"
        if others:
            line += f"; the smallest of {len(table)} recipes: {_sentence_of(others[-1])}"
        lines.append(line)
    return lines


def memory_metrics(tables: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Memory of every recipe in pp, with the ends of its interval, by metric name."""
    names = {"memory": "memory_pp", "low": "memory_low_pp", "high": "memory_high_pp"}
    return {
        metric_name(metric, experiment, str(row["recipe"])): 100 * row[column]
        for experiment, table in tables.items()
        for row in table.to_dict("records")
        for column, metric in names.items()
    }


def _sentence_of(row: Row) -> str:
    value = (
        f"{recipe_name(str(row['recipe']))} remembers {100 * row['memory']:.1f}\N{NO-BREAK SPACE}pp"
    )
    seeds = f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
    if pd.isna(row["low"]):
        return f"{value} ({seeds}, so no interval)"
    ends = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    return f"{value} (95\N{NO-BREAK SPACE}% interval of the true memory {ends}; {seeds})"


def _scales(row: Row, perturbed: Perturbation) -> str:
    ends = perturbed.ordered(row[f"{perturbed.name}_{end}"] for end in ("bottom", "top"))
    return f"{perturbed.symbol} {' and '.join(map(perturbed.value, ends))}"
