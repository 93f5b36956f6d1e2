"""Every figure and table of the paper that the runs support, in its order, and then our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from analysis.exhibits.ablation import figure_4, table_4, table_7
from analysis.exhibits.beyond import own_exhibits
from analysis.exhibits.declared import figure_9, table_1
from analysis.exhibits.exhibit import Exhibit
from analysis.exhibits.main_grid import figure_1, figure_2, figure_3, table_2, table_3
from analysis.exhibits.sensitivity import figure_6
from analysis.exhibits.source import Source
from analysis.exhibits.variants import figure_5, figure_7, figure_8, table_5, table_6
from analysis.figures import style
from analysis.store.frames import Store

__all__ = ["Exhibit", "exhibits"]

Maker = Callable[[Mapping[str, Source]], Exhibit]
FIGURES_OF_RUNS: tuple[Maker, ...] = (
    figure_1,
    figure_2,
    figure_3,
    figure_4,
    figure_5,
    figure_6,
    figure_7,
    figure_8,
)
TABLES_OF_RUNS: tuple[Maker, ...] = (table_2, table_3, table_4, table_5, table_6, table_7)


def exhibits(stores: Mapping[str, Store], *, seed: int = 0) -> Iterator[Exhibit]:
    """All exhibits, each made when it is asked for.

    Figures 1 to 9 and Tables 1 to 7 of Das et al. 2026 come first, in this order and always all of
    them: those which no experiment allows say so in `missing`. Each is made from the paper's
    experiment, or where that is not there from what has the same axes. Our own follow, for each
    experiment that allows them.

    Parameters
    ----------
    stores
        MLflow experiment to its runs, from `store.load`.
    seed
        Decides all resampling, and the minibatches of the minimal model.
    """
    style.apply()
    sources = {name: Source(store, seed) for name, store in stores.items()}
    for make in FIGURES_OF_RUNS:
        yield make(sources)
    yield figure_9(seed)
    yield table_1()
    for make in TABLES_OF_RUNS:
        yield make(sources)
    yield from own_exhibits(sources)
