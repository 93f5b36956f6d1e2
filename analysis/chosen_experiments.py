"""The experiments that a command of the analysis is about, with their runs."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from analysis.store.backend import Backend, no_store
from analysis.store.frames import Store, StoreError, load, open_store
from suite.basics.mlflow_client import default_uri


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
        help=f"MLflow experiments, with commas between (default {by_default})",
    )
    parser.add_argument(
        "--tracking-uri", default="", help="MLflow store (default $MLFLOW_TRACKING_URI, mlflow.db)"
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
        Each chosen experiment to its runs.
    left_out
        Why experiments that nobody named are not among them; each is one line.
    """

    uri: str
    address: str
    known: Collection[str]
    stores: Mapping[str, Store]
    left_out: Sequence[StoreError] = ()

    def require_runs(self) -> None:
        """Make sure that there is at least one experiment.

        Raises
        ------
        StoreError
            That of the last experiment that was left out, if all were.
        """
        if not self.stores:
            raise self.left_out[-1]

    @property
    def runs(self) -> int:
        """Finished runs of all experiments."""
        return sum(len(store.runs) for store in self.stores.values())


def choose(
    named: str, tracking_uri: str, default: Callable[[Backend], Sequence[str]]
) -> ChosenExperiments:
    """Read the experiments that are named, or else those of a command's own choice.

    Parameters
    ----------
    named
        One experiment, or several with commas between; each has to be there. May be empty.
    tracking_uri
        Empty takes MLflow's own default.
    default
        From the opened store the names to take where none is given. Those of them without a
        finished run are left out.

    Raises
    ------
    StoreError
        If the store cannot be read, or holds no finished run of an experiment that was named.
    """
    uri = tracking_uri or default_uri()
    with closing(open_store(uri)) as backend:
        try:
            known = tuple(backend.experiments())
            names = _names(named, known)
            wanted = names or default(backend)
        except backend.errors as error:
            raise no_store(backend.address, error) from None
    stores: dict[str, Store] = {}
    left_out: list[StoreError] = []
    for name in wanted:
        try:
            stores[name] = load(name, uri)
        except StoreError as error:
            if names:
                raise
            left_out.append(error)
    return ChosenExperiments(uri, backend.address, known, stores, left_out)


def newest(backend: Backend) -> list[str]:
    """The experiment in which the suite began a run last; '' where it began none.

    Loading '' says in a line what is wrong.
    """
    return [backend.newest()]


def _names(named: str, known: Collection[str]) -> list[str]:
    if named in known:  # whatever commas it has
        return [named]
    return list(dict.fromkeys(name.strip() for name in named.split(",") if name.strip()))
