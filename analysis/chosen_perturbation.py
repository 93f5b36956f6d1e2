"""Which setting an experiment's memory is of: the one that is asked for, or the one it varies."""

from __future__ import annotations

from argparse import ArgumentParser

import pandas as pd

from suite.declarations.config import RunConfig
from suite.declarations.perturbation import SIGMA_W, Perturbation, perturbation

FLAG = "perturbation"


def add_perturbation_option(parser: ArgumentParser) -> None:
    """The flag by which a command is told whose memory it is to look at."""
    parser.add_argument(
        f"--{FLAG}",
        default="",
        metavar="SETTING",
        help=f"the setting whose memory is measured: {', '.join(RunConfig.initials())} (default "
        f"{SIGMA_W.name}, or where an experiment does not vary it the one that it varies)",
    )


def perturbation_of(experiment: str, runs: pd.DataFrame, asked: str) -> tuple[Perturbation, str]:
    """The setting whose memory is to be measured of the runs of an experiment.

    Parameters
    ----------
    experiment, runs
        Its name, and the runs frame of its store.
    asked
        The name of an initial setting; empty leaves the choice to the runs.

    Returns
    -------
    tuple
        The perturbation, and a line to be told where it is not plain; '' where it is.

    Raises
    ------
    ConfigError
        If `asked` is no setting that acts before the first step only.
    """
    chosen = perturbation(asked)
    varied = [name for name in RunConfig.initials() if runs[name].nunique() > 1]
    others = ", ".join(f"--{FLAG} {name}" for name in varied)
    if asked:
        if not varied or asked in varied:
            return chosen, ""
        only = chosen.value(runs[asked].iloc[0])
        return chosen, (
            f"experiment {experiment}: all runs have {asked} {only}, so no memory of it is known; "
            f"train another {asked}, or ask for {others}"
        )
    if chosen.name in varied or not varied:
        return chosen, ""
    if len(varied) > 1:
        return chosen, (
            f"experiment {experiment}: varies {', '.join(varied)} and not {chosen.name}, so no "
            f"memory of {chosen.name} is known; choose with {' or '.join(others.split(', '))}"
        )
    (name,) = varied
    return perturbation(name), (
        f"experiment {experiment}: varies {name} and not {chosen.name}, so memory is that of {name}"
    )
