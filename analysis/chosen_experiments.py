"""The experiments that a command of the analysis is about, with their runs."""

from __future__ import annotations

import fnmatch
import re
from argparse import ArgumentParser
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

from analysis.chosen_perturbation import perturbation_of
from analysis.store.backend import Backend, no_store
from analysis.store.contents import Contents
from analysis.store.frames import Store, StoreError, contents, load, open_store, refuse_deleted
from suite.basics.mlflow_client import default_uri
from suite.declarations.experiments import GROUPS, expand
from suite.declarations.perturbation import SIGMA_W
from suite.declarations.perturbation import perturbation as perturbation_named

Read = TypeVar("Read")
PATTERN = re.compile(r"[*?\[]")


def add_store_options(parser: ArgumentParser, by_default: str) -> None:
    """The flags by which a command is told what to read.

    Parameters
    ----------
    by_default
        Which experiments it takes where none is named, for a person.
    """
    parser.add_argument(
        "--experiment",
        default="",
        help=f"MLflow experiments, with commas between, a pattern such as 'my-*', or a group: "
        f"{', '.join(GROUPS)} (default {by_default})",
    )
    parser.add_argument(
        "--tracking-uri",
        default="",
        help="MLflow store, or folder of exported runs (default $MLFLOW_TRACKING_URI, mlflow.db)",
    )


@dataclass(frozen=True)
class ChosenExperiments:
    """What a command reads.

    Attributes
    ----------
    uri
        Of the store, as MLflow takes it.
    address
        The same for people: absolute, without password.
    known
        The names of all experiments in the store.
    stores
        Each chosen experiment to its runs, with the setting whose memory is asked for.
    left_out
        Why experiments that nobody named are not among them; each is one line.
    perturbations
        Where it is not plain which setting that is: a line for each such experiment.
    """

    uri: str
    address: str
    known: Collection[str]
    stores: Mapping[str, Store]
    left_out: Sequence[StoreError] = ()
    perturbations: Sequence[str] = ()

    def require_runs(self) -> None:
        """Make sure that there is at least one experiment.

        Raises
        ------
        StoreError
            That of the last experiment that was left out, if all were.
        """
        if not self.stores:
            raise self.left_out[-1]

    def lines(self) -> list[str]:
        """A line on each experiment, more where it takes them, and those left out."""
        lines = []
        for name, store in self.stores.items():
            lines += [f"experiment {name}: {len(store.runs)} finished runs"]
            lines += [store.origin] if store.origin else []
        return [*lines, *self.perturbations, *(f"left out: {error}" for error in self.left_out)]

    @property
    def perturbed(self) -> list[str]:
        """The settings whose memory is asked for; empty where that is σw of all experiments."""
        names = dict.fromkeys(store.perturbation.name for store in self.stores.values())
        return [] if list(names) == [SIGMA_W.name] else list(names)

    @property
    def runs(self) -> int:
        """Finished runs of all experiments."""
        return sum(len(store.runs) for store in self.stores.values())


def choose(
    named: str,
    tracking_uri: str,
    default: Callable[[Backend], Sequence[str]],
    perturbation: str = "",
) -> ChosenExperiments:
    """Read the experiments that are named, or else those of a command's own choice.

    Parameters
    ----------
    named
        One experiment, or several with commas between; each has to be there. May be empty. A group
        or a pattern such as 'mini-*' stands for those of its experiments that have runs.
    tracking_uri
        Of a store, or a folder of exported runs; empty takes MLflow's own default.
    default
        From the opened store the names to take where none is given. Those of them without a
        finished run are left out.
    perturbation
        The setting whose memory is asked for; empty takes σw, or of an experiment that does not
        vary it the initial setting that it varies.

    Raises
    ------
    ConfigError
        If the perturbation is no setting that acts before the first step only.
    StoreError
        If the store cannot be read, or holds no finished run of an experiment that was named.
    """
    perturbation_named(perturbation)  # before anything is read
    uri, wanted = _wanted(named, tracking_uri, default)
    stores, left_out = _read(wanted, lambda name: load(name, uri))
    lines = []
    for name, store in stores.items():
        found, line = perturbation_of(name, store.runs, perturbation)
        stores[name] = replace(store, perturbation=found)
        lines += [line] if line else []
    return ChosenExperiments(uri, wanted.address, wanted.known, stores, left_out, lines)


def choose_contents(
    named: str,
    tracking_uri: str,
    default: Callable[[Backend], Sequence[str]],
) -> list[Contents]:
    """What an MLflow store holds of the experiments that :func:`choose` would take.

    Raises
    ------
    StoreError
        As there, and if it is no MLflow store, or none of the experiments has a finished run.
    """
    uri, wanted = _wanted(named, tracking_uri, default)
    if not wanted.is_mlflow:
        raise StoreError(
            f"tracking_uri: must be an MLflow store, got {wanted.address}, which is exported "
            "already; copy its folders"
        )
    found, left_out = _read(wanted, lambda name: contents(name, uri))
    if not found:
        raise left_out[-1]
    return list(found.values())


def newest(backend: Backend) -> list[str]:
    """The experiment in which the suite began a run last; '' where it began none.

    Loading '' says in a line what is wrong.
    """
    return [backend.newest()]


@dataclass(frozen=True)
class _Wanted:
    """The names to read.

    Attributes
    ----------
    names
        Each to whether it has to be there.
    """

    address: str
    is_mlflow: bool
    known: Collection[str]
    names: Mapping[str, bool]


def _wanted(
    named: str,
    tracking_uri: str,
    default: Callable[[Backend], Sequence[str]],
) -> tuple[str, _Wanted]:
    """The store's address as MLflow takes it, and what to read of it."""
    uri = tracking_uri or default_uri()
    with closing(open_store(uri)) as backend:
        try:
            known = tuple(backend.experiments())
            names = _names(named, known, backend)
            names = names or dict.fromkeys(default(backend), False)
        except backend.errors as error:
            raise no_store(backend.address, error) from None
    return uri, _Wanted(backend.address, backend.is_mlflow, known, names)


def _names(named: str, known: Collection[str], backend: Backend) -> dict[str, bool]:
    """The experiments that a text names, each to whether it was named by itself."""
    if named in known:  # whatever commas it has
        return {named: True}
    names: dict[str, bool] = {}
    for name in filter(None, (part.strip() for part in named.split(","))):
        members = fnmatch.filter(sorted(known), name) if PATTERN.search(name) else expand(name)
        if name in known or tuple(members) == (name,):
            names[name] = True
            continue
        there = [member for member in members if member in known]
        if not there:
            refuse_deleted(backend, name)
            stands = f"stands for {', '.join(members)}" if members else "stands for no experiment"
            raise StoreError(
                f"experiment: {stands}, and none is in {backend.address}, got {name!r}; there are "
                f"{', '.join(sorted(known))}"
            )
        names |= {member: names.get(member, False) for member in there}
    return names


def _read(wanted: _Wanted, read: Callable[[str], Read]) -> tuple[dict[str, Read], list[StoreError]]:
    """What is read of each name, and why others are left out."""
    found: dict[str, Read] = {}
    left_out: list[StoreError] = []
    for name, needed in wanted.names.items():
        try:
            found[name] = read(name)
        except StoreError as error:
            if needed:
                raise
            left_out.append(error)
    return found, left_out
