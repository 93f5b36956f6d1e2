"""Run an experiment, many runs at once and none twice: ``python -m suite.grid --experiment main``.

What MLflow has as FINISHED is done; the rest is trained, wherever it was left. The command can be
killed, restarted and started several times at once on one store.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.table import Table

from suite.basics.cli import (
    BAD_INPUT,
    INTERRUPTED,
    Parser,
    add_settings,
    chosen,
    complain,
    parse_known,
)
from suite.basics.errors import first_line
from suite.basics.settings import ConfigError
from suite.basics.stopping import StopRequest
from suite.declarations.config import RunConfig
from suite.declarations.experiment_files import apply, configurations, find_all
from suite.declarations.experiments import EXPERIMENTS, GROUPS
from suite.declarations.factorial import Experiment
from suite.declarations.machine import Machine
from suite.executors.placement import Placement, check_placement

if TYPE_CHECKING:
    from suite.sweep.sweep import Sweep

FAILED = 1
# The writer tries again by itself, so MLflow need not do so for minutes.
QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
OPTIONS = (
    *("experiment", "set", "list", "dry_run", "fleet", "workers", "retries"),
    *("tracking_uri", "storage"),
)
FLAGS = (*Machine.names(), *Placement.names())


def parser() -> Parser:
    """The command line of a sweep."""
    made = Parser(
        prog="python -m suite.grid",
        description="Run an experiment: many runs at once, and none twice.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = made.add_argument
    add(
        "--experiment",
        metavar="NAMES|FILE",
        help="one of --list, several with commas, or a .toml or .yaml file (demo)",
    )
    add(
        "--set",
        action="append",
        metavar="NAME=VALUE,VALUE",
        help="replace an axis or a fixed setting, e.g. --set sigma_w=0.1,2.5 --set epochs=30",
    )
    add("--list", action="store_true", help="show all experiments and their numbers of runs")
    add("--dry-run", action="store_true", help="show what the sweep costs and what theory predicts")
    add("--fleet", metavar="auto|N", help="runs trained at once by a worker; auto measures (auto)")
    add(
        "--workers",
        metavar="N",
        help="workers; 0 is one per GPU, or as the CPU likes; with Ray, what has room (0)",
    )
    add("--retries", metavar="N", help="how often a run that fails is tried again (1)")
    add("--tracking-uri", help="MLflow store ($MLFLOW_TRACKING_URI, or mlflow.db)")
    add("--storage", help="Optuna storage URL ($SUITE_STORAGE, or optuna.db)")
    add_settings(made, Placement, "where to train (changes a run by rounding at most)")
    add_settings(made, Machine, "the machine (changes a run by rounding at most)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 all done, 1 runs failed, 2 bad input, 130 interrupted."""
    try:
        return _main(argv)
    except KeyboardInterrupt:  # before training began, or asked for twice
        print("interrupted; the same command goes on from the last checkpoints", file=sys.stderr)
        return INTERRUPTED


def _main(argv: Sequence[str] | None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = vars(parse_known(parser(), argv, (*FLAGS, *OPTIONS)))
        if arguments.get("list"):
            Console(highlight=False).print(listing())
            return 0
        given = argparse.Namespace(**arguments)
        machine = Machine.parse(chosen(given, Machine))
        placement = Placement.parse(chosen(given, Placement))
        found = find_all(arguments.get("experiment", "demo"))
        experiments = [apply(experiment, arguments.get("set", [])) for experiment in found]
        grids = [(experiment, configurations(experiment)) for experiment in experiments]
        sizes = {
            "fleet": _count(arguments, "fleet", "auto", least=1),
            "workers": _count(arguments, "workers", "0", least=0),
            "retries": _count(arguments, "retries", "1", least=0),
        }
        check_placement(placement, machine, sizes["workers"])
    except ConfigError as error:
        complain(error)
        return BAD_INPUT
    where = (machine, placement)
    if len(grids) > 1 and not arguments.get("dry_run"):  # what cannot be is said at once
        for grid in grids:
            if code := _sweep(*grid, where, arguments, sizes, do=_check):
                return code
    codes = []
    for grid in grids:
        codes.append(_sweep(*grid, where, arguments, sizes, do=_run))
        if codes[-1] in (BAD_INPUT, INTERRUPTED):
            return codes[-1]
    return max(codes)


def _count(arguments: dict[str, Any], name: str, default: str, *, least: int) -> int:
    given = str(arguments.get(name, default))
    if name == "fleet" and given == "auto":
        return 0
    if not given.isdecimal() or int(given) < least:
        auto = "auto or " if name == "fleet" else ""
        raise ConfigError(
            f"{name}: must be {auto}a whole number ≥ {least}, got {given!r}; e.g. {default}"
        )
    return int(given)


def listing() -> Table:
    """All experiments with their counts and axes."""
    table = Table(box=None, pad_edge=False)
    table.add_column("experiment", no_wrap=True)
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("what it asks, and how many values each axis has")
    table.add_column("in the paper", no_wrap=True)
    for experiment in EXPERIMENTS.values():
        axes = " × ".join(f"{name} {len(values)}" for name, values in experiment.axes.items())
        asks = f"{experiment.description}\n{axes}"
        table.add_row(experiment.name, f"{experiment.size:,}", asks, experiment.source)
    for group, names in GROUPS.items():
        size = sum(EXPERIMENTS[name].size for name in names)
        table.add_row(group, f"{size:,}", f"all of {', '.join(names)}", "")
    return table


def _sweep(
    experiment: Experiment,
    points: list[tuple[dict[str, Any], RunConfig]],
    where: tuple[Machine, Placement],
    arguments: dict[str, Any],
    sizes: dict[str, int],
    *,
    do: Callable[[Sweep], int],
) -> int:
    _quieten()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from suite.data.parts import DataError
    from suite.engine.checkpoint import CheckpointError
    from suite.sweep.sweep import Sweep

    try:
        sweep = Sweep(
            experiment,
            points,
            where[0],
            placement=where[1],
            tracking_uri=arguments.get("tracking_uri", ""),
            storage=arguments.get("storage"),
            **sizes,
        )
        return (_report if arguments.get("dry_run") else do)(sweep)
    except (ConfigError, DataError) as error:
        complain(error)
        return BAD_INPUT
    except (CheckpointError, MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        complain(RuntimeError(first_line(error)))
        return FAILED


def _quieten() -> None:
    """A sweep has its own lines; those of libraries would tear its display apart."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _report(sweep: Sweep) -> int:
    from suite.sweep.dry_run import report

    print(report(sweep))
    return 0


def _check(sweep: Sweep) -> int:
    sweep.check()
    return 0


def _run(sweep: Sweep) -> int:
    if not sweep.left:
        print(f"{sweep.experiment.name}: all {len(sweep.points)} runs are finished; nothing to do")
        for line in sweep.doubts():
            print(line, file=sys.stderr)
        sweep.settle()
        return 0
    with StopRequest() as stop:
        outcome = sweep.run(stop.requested)
    print(outcome.text)
    if stop.requested():
        return INTERRUPTED
    left_behind = outcome.left and not outcome.going_on
    return FAILED if left_behind or outcome.broken else 0


def _leave(code: int) -> NoReturn:
    """End the process; without workers at once, for taking torch and MLflow apart takes seconds."""
    if multiprocessing.active_children():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
