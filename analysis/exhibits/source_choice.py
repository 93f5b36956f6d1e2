"""Which of several experiments an exhibit is made from, and what of it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from analysis.exhibits.source import Source
from suite.declarations.config import RunConfig

SHOWN_SIZES = (16, 128)  # batch sizes of the paper's figures

Sources = Mapping[str, Source]


def experiment_names(sources: Iterable[Source]) -> str:
    """The experiments' names with commas between, each once."""
    return ", ".join(dict.fromkeys(source.experiment for source in sources))


def best_source(
    sources: Sources,
    paper: str,
    supports: Callable[[Source], bool],
    richness: Callable[[Source], int] = lambda _: 0,
) -> Source | None:
    """The experiment to take.

    Parameters
    ----------
    sources
        All there are.
    paper
        The paper's, which is taken where it supports the exhibit.
    supports
        Whether an experiment's runs allow the exhibit.
    richness
        Of the others the one with the most of it is taken, the first of equals.
    """
    able = [source for source in sources.values() if supports(source)]
    for source in able:
        if source.experiment == paper:
            return source
    return max(able, key=richness, default=None)


def two_sizes(source: Source) -> list[int]:
    """The batch sizes that the paper's figures show, or else the smallest and the largest."""
    there = sorted(int(size) for size in source.about["batch_size"].unique())
    if set(SHOWN_SIZES) <= set(there):
        return list(SHOWN_SIZES)
    return there if len(there) < 3 else [there[0], there[-1]]


def one_of_each(families: Mapping[str, str]) -> list[str]:
    """The families in an order in which the first few have all optimizers.

    Parameters
    ----------
    families
        Name to optimizer, in the usual order.
    """
    seen: dict[str, int] = {}
    turn = {}
    for name, optimizer in families.items():
        turn[name] = seen[optimizer] = seen.get(optimizer, 0) + 1
    return sorted(families, key=lambda name: turn[name])


def elsewhere(sources: Sources, without: Source, configs: Iterable[RunConfig]) -> Source | None:
    """Runs of given recipes in another experiment, where this one has its own; the first found.

    None where no other experiment has them at its perturbed values.
    """
    wanted = list(configs)
    for source in sources.values():
        if source.experiment == without.experiment or source.perturbation != without.perturbation:
            continue
        found = source.like(wanted, without.scale_values())
        if found is not None:
            return found
    return None
