"""Draw how an experiment remembers its initialization: ``python -m analysis.phase_diagram``.

Of several experiments each is drawn, and then all their recipes together against the clocks, those
of each network by themselves.

The figures are logged to the same store, as a run of the experiment `analysis`; where that fails
the files are there all the same, one line says so, and the exit code stays 0.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.chosen_experiments import ChosenExperiments, add_store_options, choose, newest
from analysis.chosen_perturbation import add_perturbation_option
from analysis.output import OutputFolder, add_output_options, file_stem, formats_of
from analysis.store.frames import Store, StoreError
from suite.basics.cli import BAD_INPUT, Parser, complain, parse_known
from suite.basics.settings import ConfigError

if TYPE_CHECKING:
    from analysis.estimates.overview import Estimates, PhaseEstimates

LONGEST_STEM = 100  # of a file's name, which no system takes beyond some 250 characters
FLAGS = ("experiment", "tracking_uri", "perturbation", "out", "format", "no_log")


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m analysis.phase_diagram", description=__doc__, allow_abbrev=False)
    add_store_options(made, "the newest")
    add_perturbation_option(made)
    add_output_options(made, "figures", "png")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 2 where there is nothing to draw from."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, FLAGS)
        folder = OutputFolder(Path(arguments.out), formats_of(arguments.format))
        folder.check()
        chosen = choose(
            arguments.experiment, arguments.tracking_uri, newest, arguments.perturbation
        )
        chosen.require_runs()
        for error in chosen.left_out:
            print(f"left out: {error}")
        for line in chosen.perturbations:
            print(line)
        found = {name: _draw(store, folder) for name, store in chosen.stores.items()}
        if len(found) > 1:
            draw_together(list(chosen.stores.values()), arguments.experiment, folder)
        if not arguments.no_log:
            _log(chosen, found, folder)
    except (ConfigError, StoreError) as error:
        complain(error)
        return BAD_INPUT
    return 0


def _draw(store: Store, folder: OutputFolder) -> Estimates:
    """Print what an experiment's runs tell, and write its figures."""
    from analysis.estimates.overview import estimate
    from analysis.exhibits import phase_diagram as shown
    from analysis.figures import style

    print(f"experiment {store.experiment}: {len(store.runs)} finished runs")
    if store.origin:
        print(store.origin)
    print(store.problems)
    found = estimate(store)
    print(f"\n{shown.recipe_table(found)}")
    for make in (shown.boundary_lines, shown.collapse_lines, shown.unknown_lines):
        lines = make(found)
        if lines:
            print("\n" + "\n".join(lines))
    print()
    style.apply()
    for name, figure in shown.figures(found, store.experiment):
        for path in folder.figure(f"{file_stem(store.experiment)}-{name}", figure):
            print(f"wrote {path}")
    return found


def draw_together(stores: Sequence[Store], named: str, folder: OutputFolder) -> None:
    """Print what the recipes of several experiments tell together, and draw them on one plane.

    Parameters
    ----------
    named
        The experiments as the command line has them, perhaps a group: what the picture is called.
    """
    from analysis.estimates.networks import phases_by_network
    from analysis.store.pooled import pool

    perturbed = {store.perturbation.name: store.perturbation for store in stores}
    if len(perturbed) > 1:
        print(
            f"\n{named}: not drawn together, as memory is of {' and of '.join(perturbed)}; choose "
            "one with --perturbation, or experiments that vary the same"
        )
        return
    (perturbation,) = perturbed.values()
    pooled = pool(stores)
    by_network = phases_by_network(pooled.runs, pooled.history, perturbation)
    recipes = sum(len(found.recipes) for found in by_network.values())
    once = f"; {pooled.repeated} runs are in two experiments and count once"
    print(
        f"\n{named}: {recipes} recipes of {len(stores)} experiments together, "
        f"{len(pooled.runs)} runs{once if pooled.repeated else ''}"
    )
    if len(by_network) > 1:
        print("each network by itself, since only memories of one can be compared")
    for network, found in by_network.items():
        _draw_network(found, named, network, folder)


def _draw_network(found: PhaseEstimates, named: str, network: str, folder: OutputFolder) -> None:
    """Print and draw the recipes of one network; `network` is empty where there is no other."""
    from analysis.exhibits import phase_diagram as shown

    if network:
        print(f"\n{network}: {len(found.recipes)} recipes")
    print(shown.recipe_table(found))
    if not found.memory_known:
        return
    print("\n" + "\n".join(shown.boundary_lines(found)) + "\n")
    title = ", ".join(filter(None, (shown.plain_text(named), network)))
    figure = shown.by_clock(found, f"{title}: {shown.BY_CLOCK}")
    suffix = f"-{file_stem(network)}" if network else ""
    stem = f"{file_stem(named)[:LONGEST_STEM]}-{shown.PHASE_DIAGRAM}{suffix}"
    for path in folder.figure(stem, figure):
        print(f"wrote {path}")


def _log(chosen: ChosenExperiments, found: Mapping[str, Estimates], folder: OutputFolder) -> None:
    from analysis.report.findings import memory_metrics
    from analysis.tracked import logged

    logged(
        "phase_diagram",
        chosen.uri,
        experiments=list(chosen.stores),
        runs=chosen.runs,
        metrics=memory_metrics({name: one.recipes for name, one in found.items()}),
        files={"figures": folder.files[""]},
        perturbed=chosen.perturbed,
    )


if __name__ == "__main__":
    sys.exit(main())
