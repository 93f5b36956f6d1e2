"""How many seeds does an answer need? ``python -m analysis.plan``.

From the scatter over seeds that finished runs show: how many give the memory of each recipe an
interval of a wanted width, and how likely a verdict on each claim is at other numbers of seeds.
Before there are any runs, the same from a declared scatter (--deviation).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.chosen_experiments import ChosenExperiments, add_store_options, choose, newest
from analysis.chosen_perturbation import add_perturbation_option
from analysis.claims.command import judged
from analysis.claims.paper_file import paper
from analysis.claims.perturbations import unjudged_line
from analysis.claims.power import chances_before_any_run, chances_of_measured
from analysis.estimates.recipes import find_recipes
from analysis.estimates.seeds import ASSURANCE, half_width, seeds_by_recipe, seeds_for, told_apart
from analysis.store.frames import StoreError
from analysis.tables import aligned
from suite.basics.cli import BAD_INPUT, Parser, complain, parse_known
from suite.basics.settings import ConfigError

FLAGS = ("experiment", "tracking_uri", "perturbation", "half_width", "seeds", "deviation")
HALF_WIDTHS, SEEDS, DEVIATION = "0.5,1,2", "3,5,10,20", "1"
Row = Mapping[Hashable, Any]


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m analysis.plan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_store_options(made, "the newest")
    add_perturbation_option(made)
    made.add_argument(
        "--half-width",
        default=HALF_WIDTHS,
        help=f"wanted half widths of the 95 %% interval of memory, in pp (default {HALF_WIDTHS})",
    )
    made.add_argument(
        "--seeds", default=SEEDS, help=f"numbers of seeds to ask about (default {SEEDS})"
    )
    made.add_argument(
        "--deviation",
        default="",
        help="standard deviation over seeds of a memory, in pp, to plan with in place of what "
        f"runs show (default theirs; without runs {DEVIATION})",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0, or 2 for bad input."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, FLAGS)
        wanted = _numbers("half_width", arguments.half_width, above=0.0)
        seeds = [int(n) for n in _numbers("seeds", arguments.seeds, above=1.0, whole=True)]
        if arguments.deviation:
            lines = declared(
                _numbers("deviation", arguments.deviation, above=0.0)[0], wanted, seeds
            )
        else:
            lines = _from_runs(arguments, wanted, seeds)
        print("\n".join(lines))
    except (ConfigError, StoreError) as error:
        complain(error)
        return BAD_INPUT
    return 0


def measured(chosen: ChosenExperiments, wanted: Sequence[float], seeds: Sequence[int]) -> list[str]:
    """What the runs of a store say, as lines of text.

    Parameters
    ----------
    wanted
        Half widths in pp.
    seeds
        Numbers of seeds for the chances of a verdict.
    """
    lines, known = chosen.lines(), False
    for name, store in chosen.stores.items():
        recipes = find_recipes(store.runs, store.perturbation)
        table = seeds_by_recipe(store.runs, [one / 100 for one in wanted], recipes=recipes)
        if table.empty:
            two = f"two seeds at two {store.perturbation.symbol}"
            lines += ["", f"{name}: no recipe has {two}; nothing to plan with"]
            continue
        known = True
        headings = ["recipe", "memory pp", "sd over seeds", "seeds", "± now"]
        headings += [f"seeds for ±{one:g}" for one in wanted]
        rows = [_recipe_cells(row, len(wanted)) for row in table.to_dict("records")]
        lines += ["", *aligned([*headings, ""], [[*row, ""] for row in rows])]
    if known:
        assured = f"with {ASSURANCE:.0%} assurance, as the sd itself is known from few seeds"
        lines.append(f"in brackets: {assured}")
    perturbations = {name: store.perturbation for name, store in chosen.stores.items()}
    if line := unjudged_line(perturbations):
        lines.append(line)
    lines += _verdict_lines(chances_of_measured(judged(chosen.stores), seeds), seeds)
    return lines


def declared(deviation: float, wanted: Sequence[float], seeds: Sequence[int]) -> list[str]:
    """What a declared standard deviation over seeds says, in pp, as lines of text."""
    needed = ", ".join(f"{seeds_for(deviation, one)} for ±{one:g}" for one in wanted)
    rows = [
        [str(n), f"±{half_width(deviation, n):.2f}", f"{told_apart(deviation, n):.2f}"]
        for n in seeds
    ]
    table = chances_before_any_run(paper(), deviation, seeds)
    return [
        f"if a memory's standard deviation over seeds is {deviation:g} pp",
        f"seeds for an interval of memory: {needed} pp",
        "",
        *aligned(["seeds", "interval pp", "told apart pp"], rows),
        "told apart: the difference of two that is seen in 80 % of sweeps",
        "",
        "the chance that a rerun reproduces the paper's number, if the paper is right",
        *aligned(
            ["claim", *map(str, seeds), "agrees"],
            [
                [row["claim"], *(f"{row[n]:.0%}" for n in seeds), row["agrees"]]
                for row in table.to_dict("records")
            ],
        ),
    ]


def _from_runs(
    arguments: argparse.Namespace, wanted: Sequence[float], seeds: Sequence[int]
) -> list[str]:
    """From the runs that are there; from `DEVIATION` where nobody named any and there are none."""
    experiment, uri = arguments.experiment, arguments.tracking_uri
    try:
        chosen = choose(experiment, uri, newest, arguments.perturbation)
        chosen.require_runs()
    except StoreError as error:
        if experiment or uri or os.environ.get("MLFLOW_TRACKING_URI"):
            raise
        return [f"no runs: {error}", *declared(float(DEVIATION), wanted, seeds)]
    return measured(chosen, wanted, seeds)


def _recipe_cells(row: Row, wanted: int) -> list[str]:
    now = f"±{100 * row['half_width']:.2f}"
    about = [row["recipe"], f"{100 * row['memory']:.1f}", f"{100 * row['deviation']:.2f}"]
    needed = [f"{row[f'seeds_{i}']} ({row[f'assured_{i}']})" for i in range(wanted)]
    return [*about, str(row["seeds"]), now, *needed]


def _verdict_lines(table: pd.DataFrame, seeds: Sequence[int]) -> list[str]:
    if table.empty:
        return []
    rows = [
        [
            f"{row['claim']} ({row['where']})",
            str(row["n"]),
            *(f"{row[n]:.0%}" for n in seeds),
            row["verdict"],
        ]
        for row in table.to_dict("records")
    ]
    return [
        "",
        "the chance of a verdict by the number of seeds, if the truth is what these runs say",
        *aligned(["claim", "seeds now", *map(str, seeds), "verdict now"], rows),
    ]


def _numbers(name: str, text: str, *, above: float, whole: bool = False) -> list[float]:
    kind = "whole numbers" if whole else "numbers"
    found = []
    for part in text.split(","):
        try:
            number = float(part)
        except ValueError:
            number = float("nan")
        if not above < number < float("inf") or (whole and number != int(number)):
            raise ConfigError(f"{name}: must be {kind} above {above:g}, got {part.strip()!r}")
        found.append(number)
    return found


if __name__ == "__main__":
    sys.exit(main())
