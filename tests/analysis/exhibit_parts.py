"""What a test looks at in an exhibit: its panels, their lines, rows of its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from analysis.exhibits.catalogue import Exhibit, exhibits
from analysis.store.frames import Store


def made(stores: Mapping[str, Store]) -> dict[str, Exhibit]:
    """All exhibits by name, those of our own by name and experiment."""
    return by_name(list(exhibits(stores)))


def by_name(found: list[Exhibit]) -> dict[str, Exhibit]:
    named = {one.name if one.place else f"{one.name} {one.experiment}": one for one in found}
    assert len(named) == len(found)
    return named


def figure(exhibit: Exhibit) -> Figure:
    assert exhibit.figure is not None
    return exhibit.figure


def panels(exhibit: Exhibit) -> list[Any]:
    axes = figure(exhibit).axes
    return [one for one in axes if one.get_visible() and one.get_label() != "<colorbar>"]


def lines(panel: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in panel.get_lines()}


def rows(exhibit: Exhibit, **wanted: Any) -> Any:
    assert exhibit.table is not None
    table = exhibit.table
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table
