"""The verdict on each claim of Das et al. 2026: ``python -m analysis.claims``.

Each number of the paper, and each claim about a shape or an order, is held against the finished
runs of the paper's experiments. A claim is judged as soon as its own recipes are trained, whatever
else of the experiment is missing. Runs count only with the paper's exact settings.

reproduced: the 95 % interval of our value lies inside the paper's value ± a tolerance, or inside
the bound or above 0 for an order; of several parts, all do.
contradicted: it lies wholly outside (of one part out of m, the interval at 1 − 5 %/m).
undetermined: neither, or too few runs.

At reduced scale, by miniatures of the experiments or the experiments with fewer epochs, a smaller
width, …, claims of direction, order or threshold are judged by the same rule, and never counted as
reproduced: they hold, are reversed, or are open. Numbers are judged at the paper's recipe alone.

Tolerances with their reasons are in `analysis/claims/paper.toml`, the rule and why it is this one
in `analysis/claims/rule.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.chosen_experiments import ChosenExperiments, add_store_options, choose
from analysis.chosen_perturbation import add_perturbation_option
from analysis.claims.differences import differences, differences_text
from analysis.claims.frame import Verdicts, frame
from analysis.claims.next_sweep import next_sweep
from analysis.claims.paper_file import PaperFile, paper
from analysis.claims.perturbations import (
    about_sigma_w,
    arithmetic_alone,
    judged_of,
    unjudged_line,
)
from analysis.claims.places import find_places
from analysis.claims.reduced import judge_reduced
from analysis.claims.runs import ExperimentRuns
from analysis.claims.sources import Source
from analysis.claims.text import legend, markdown, reduced_settings, table, totals
from analysis.claims.verdicts import judge_claim
from analysis.output import OutputFolder
from analysis.store.backend import Backend
from analysis.store.frames import Store, StoreError, load
from suite.basics.cli import BAD_INPUT, Parser, complain, parse_known
from suite.basics.settings import ConfigError
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.perturbation import SIGMA_W, perturbation

FLAGS = ("experiment", "tracking_uri", "perturbation", "out")


def judge(stores: Mapping[str, Store], *, seed: int = 0) -> pd.DataFrame:
    """The verdict on every claim of `paper.toml`, in its order.

    Parameters
    ----------
    stores
        Experiment to its runs; claims about others are undetermined. Where memory is asked of
        another setting than σw, no claim is judged by it; where it is of all, the arithmetic ones
        alone are in the frame.
    seed
        Decides all resampling.

    Returns
    -------
    DataFrame
        claim (its id), place, statement, experiment (which it needs; 'none' for arithmetic), unit,
        paper (what it says), ours (the number that decided: of several parts the one nearest to,
        or farthest over, the border; of an order the difference), low, high (95 % interval), n
        (seeds; 0 without runs), verdict ('reproduced', 'contradicted' or 'undetermined'), reason.
        The same at reduced scale: reduced ('holds', 'reversed', 'open', or '' where the claim is
        not judged there), reduced_ours, reduced_low, reduced_high, reduced_n, reduced_on (recipes,
        and which of the paper's they stand for), reduced_differs (from those), reduced_reason.
    """
    return frame(judged(stores, seed=seed))


def judged_experiments() -> tuple[str, ...]:
    """The experiments by which claims are judged: the paper's, and miniatures of them."""
    needed = {name for claim in paper().claim for name in claim.experiments}
    return tuple(
        name for name, one in EXPERIMENTS.items() if name in needed or one.miniature_of in needed
    )


def judged(
    stores: Mapping[str, Store], *, seed: int = 0, file: PaperFile | None = None
) -> list[Verdicts]:
    """The verdicts on every claim as objects, which know what is missing where they are open."""
    file = judged_of(stores, file or paper())
    runs = {name: ExperimentRuns(store) for name, store in about_sigma_w(stores).items()}
    places = find_places(runs, file.miniatures)
    return [
        Verdicts(
            judge_claim(claim, Source(runs), file, seed),
            judge_reduced(claim, runs, places, file, seed),
        )
        for claim in file.claim
    ]


def parser() -> Parser:
    """The command line."""
    seeds = paper().seeds
    needed = f"A number needs {seeds.number} seeds at every σw, an order {seeds.order}."
    made = Parser(
        prog="python -m analysis.claims",
        description=f"{__doc__}\n{needed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_store_options(made, "the paper's that are in the store")
    add_perturbation_option(made)
    made.add_argument(
        "--out", default="", help="folder for claims.csv and claims.md (default none)"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 whatever the verdicts are, 2 for bad input."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, FLAGS)
        folder = OutputFolder(Path(arguments.out)) if arguments.out else None
        if folder is not None:
            folder.check()
        perturbed = perturbation(arguments.perturbation)
        stores, lines = find(arguments.experiment, arguments.tracking_uri, arguments.perturbation)
        for line in lines:
            print(line)
        file = paper() if perturbed == SIGMA_W else arithmetic_alone(paper())
        found = judged(stores, file=file)
        _show(found)
        if folder is not None:
            claims = frame(found)
            texts = {"csv": claims.to_csv(index=False), "md": markdown(claims)}
            for path in folder.texts("claims", texts):
                print(f"wrote {path}")
    except (ConfigError, StoreError) as error:
        complain(error)
        return BAD_INPUT
    return 0


def find(
    experiment: str = "", tracking_uri: str = "", perturbed: str = ""
) -> tuple[Mapping[str, Store], list[str]]:
    """The experiments to judge by, and a line on each, also on those that are left out.

    Parameters
    ----------
    experiment
        Names with commas between; empty takes the paper's that the store holds.
    tracking_uri
        Empty takes MLflow's own default; that there is no store yet is no error then.
    perturbed
        The setting whose memory is asked for; empty leaves it to each experiment.

    Raises
    ------
    StoreError
        If the store cannot be read, or holds no finished run of an experiment that was named.
    """
    try:
        chosen = choose(experiment, tracking_uri, _of_the_paper, perturbed)
    except StoreError as error:
        if experiment or tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"):
            raise
        return {}, [f"no runs: {error}"]
    perturbations = {name: store.perturbation for name, store in chosen.stores.items()}
    lines, here = chosen.lines(), about_sigma_w(chosen.stores)
    if line := unjudged_line(perturbations):
        lines.append(line)
    if here or not chosen.stores:
        lines += _foreign(replace(chosen, stores=here))
    return chosen.stores, lines


def _of_the_paper(backend: Backend) -> list[str]:
    """The paper's experiments that are in the store."""
    known = backend.experiments()
    return [name for name in judged_experiments() if name in known]


def _foreign(chosen: ChosenExperiments) -> list[str]:
    """A line for the demo, where it is what there is, and for what was named and is no one's."""
    stores = chosen.stores
    if not stores and "demo" in chosen.known:
        try:
            stores = {"demo": load("demo", chosen.uri)}
        except StoreError:
            return ["no runs of the paper's experiments"]
    lines = []
    for name, store in stores.items():
        if name in judged_experiments():
            continue
        changed = _changed(store)
        says = f" ({differences_text(changed)})" if changed else ""
        lines.append(f"experiment {name} is not the paper's{says}: no claim is judged by it")
    return lines or ([] if stores else ["no runs of the paper's experiments"])


def _changed(store: Store) -> Mapping[str, tuple[object, object]]:
    """The settings that no run of the main grid has, by the first of the store's recipes."""
    axes = EXPERIMENTS["main"].axes
    own = next(EXPERIMENTS["main"].configs())
    for recipe in ExperimentRuns(store).recipes.values():
        found = differences(own, recipe.config)
        return {key: values for key, values in found.items() if key not in axes}
    return {}


def _show(found: Sequence[Verdicts]) -> None:
    file, claims = paper(), frame(found)
    print(f"\n{table(claims)}\n")
    for line in (legend(), *reduced_settings(found), totals(claims)):
        print(line)
    if sweep := next_sweep([one.full for one in found], file.seeds.number):
        print(f"next, {sweep.runs:,} runs that decide {sweep.claims} more claims:")
        print(f"  {sweep.command}")
    missing = Counter(name for one in found for name in set(one.reduced.missing))
    for name, number in missing.most_common():
        runs = EXPERIMENTS[name].size
        print(f"at reduced scale, {runs:,} runs; open claims that they may decide: {number}")
        print(f"  python -m suite.grid --experiment {name}")
