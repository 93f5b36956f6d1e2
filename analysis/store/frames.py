"""From an MLflow store to two tidy frames: one row per run, and one per run and epoch.

This is the only door between MLflow and the analysis. It reads, and leaves the store as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd

from analysis.store import problems as store_problems
from analysis.store.backend import Backend, StoreError, no_store
from analysis.store.contents import Contents, collect
from analysis.store.history import COLUMNS, HistoryTable
from analysis.store.layers import layers_frame, no_layers
from analysis.store.predictions import NOTHING_KEPT, KeptPredictions, kept_runs
from analysis.store.problems import Problems
from suite.basics.addresses import is_postgresql, local_folder
from suite.basics.mlflow_client import default_uri
from suite.basics.sqlite_address import is_sqlite
from suite.declarations.perturbation import SIGMA_W, Perturbation

__all__ = ["Problems", "Store", "StoreError", "load"]


@dataclass(frozen=True)
class Store:
    """The finished runs of one experiment.

    Attributes
    ----------
    experiment
        Its name in MLflow.
    runs
        One row per configuration that has a FINISHED run, diverged ones included, sorted by
        settings: run_id, fingerprint, run_name (str), diverged (bool), start_time, end_time
        (datetime64, UTC), every field of `RunConfig` (int64, float64 or str), train_images,
        validation_images, test_images (int64) and the summary metrics (float64; NaN if absent,
        as `interpolation_epoch` of a run that never interpolates). Its index counts from 0.
    history
        One row per run and epoch, in the order of `runs` and ascending epochs: run_id
        (categorical, whose codes are the index into `runs`, which costs nothing to make and two
        bytes a row), epoch (int32, from 1) and the epoch metrics (float64, NaN and ±inf as they
        were logged). A setting of each row is
        ``store.runs["sigma_w"].to_numpy()[store.history["run_id"].cat.codes]``.
    problems
        What is not as it should be; its text reads well in a terminal.
    origin
        Where the runs come from and what was left of them, in a line, if they were exported from
        another store; else empty.
    perturbation
        The setting whose memory is asked for: all others but the seed make a recipe.
    predictions
        What each returned model predicts on the test images, where it was kept; it is read when
        it is first asked for.
    layers
        :func:`analysis.store.layers.layers_frame` of the runs in the order of `runs`; those of
        versions that measured no layers have no row.
    """

    experiment: str
    runs: pd.DataFrame
    history: pd.DataFrame
    problems: Problems
    origin: str = ""
    perturbation: Perturbation = SIGMA_W
    predictions: KeptPredictions = NOTHING_KEPT
    layers: pd.DataFrame = field(default_factory=no_layers)


def load(experiment: str = "", tracking_uri: str = "", *, cache: bool = True) -> Store:
    """The finished runs of an experiment, with their histories.

    Parameters
    ----------
    experiment
        Its name in MLflow; empty takes the one in which the suite began a run last.
    tracking_uri
        Empty takes MLflow's own default, which MLFLOW_TRACKING_URI sets.
    cache
        Keep histories below SUITE_CACHE_DIR (or the user's cache folder), and read only those
        that are new or have changed. False reads all, and writes nothing.

    Raises
    ------
    StoreError
        If the store cannot be read, the experiment is not there, or it has no finished run.
    """
    return as_store(contents(experiment, tracking_uri, cache=cache))


def contents(experiment: str = "", tracking_uri: str = "", *, cache: bool = True) -> Contents:
    """All that a store holds of an experiment, before it becomes frames; as :func:`load`."""
    uri = tracking_uri or default_uri()
    with _reading(uri) as backend:
        name, number = _find(backend, experiment)
        found = collect(backend, name, number, cache=cache)
    kept = KeptPredictions(
        partial(_reading, uri), found.address, number, kept_runs(found.frame), cache
    )
    return replace(found, predictions=kept)


def as_store(found: Contents) -> Store:
    """The frames of what was read, and what is not as it should be in it."""
    finished = {run.fingerprint: found.settings_of[run.run_id] for run in found.counted}
    missing, points = store_problems.missing_points(found.experiment, finished)
    problems = Problems(
        missing=missing,
        unfinished=store_problems.unfinished(found.runs, finished),
        duplicates=store_problems.duplicates(found.older),
        incomplete=store_problems.incomplete(
            zip(found.counted, found.missing_epochs(), strict=True)
        ),
        unreadable=store_problems.unreadable(found.unreadable),
        points=points,
        other_runs=len(finished) - (points - len(missing)) if points else 0,
    )
    return Store(
        found.experiment,
        found.frame,
        _history_frame(found.histories),
        problems,
        found.origin,
        predictions=found.predictions,
        layers=layers_frame(found.histories.run_ids, found.layers),
    )


@contextmanager
def _reading(tracking_uri: str) -> Iterator[Backend]:
    """An open store; an error while it is read becomes a line that names it."""
    with closing(open_store(tracking_uri)) as backend:
        try:
            yield backend
        except backend.errors as error:
            raise no_store(backend.address, error) from None


def open_store(tracking_uri: str) -> Backend:
    """The reader for an address: SQLite and PostgreSQL by SQL, all else by MLflow's client.

    A folder is one of exported runs, unless MLflow itself has made it.

    Raises
    ------
    StoreError
        If nobody answers there, or no MLflow store is there.
    """
    if is_sqlite(tracking_uri):
        from analysis.store.sqlite import SqliteStore

        return SqliteStore(tracking_uri)
    if is_postgresql(tracking_uri):
        from analysis.store.postgresql import PostgresqlStore

        return PostgresqlStore(tracking_uri)
    folder = local_folder(tracking_uri)
    if folder is not None and not any(folder.glob("*/meta.yaml")):
        from analysis.store.exported import ExportedStore

        return ExportedStore(folder)
    from analysis.store.server import ClientStore

    return ClientStore(tracking_uri)


def _find(backend: Backend, experiment: str) -> tuple[str, str]:
    """Name and id of the experiment that is meant."""
    known = backend.experiments()
    name = experiment or backend.newest()
    if not name:
        raise StoreError(
            f"tracking_uri: holds no run of this suite, got {backend.address}; train something "
            "first, or give the --tracking-uri with which the runs were made"
        )
    if name not in known:
        refuse_deleted(backend, name)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
        raise StoreError(f"experiment: is not in {backend.address}, got {name!r}; {hint}")
    return name, known[name]


def refuse_deleted(backend: Backend, name: str) -> None:
    """Make sure that an experiment is not one that MLflow still has, deleted.

    Raises
    ------
    StoreError
        If it is.
    """
    if name in backend.deleted_experiments():
        raise StoreError(
            f"experiment: must not be a deleted experiment, got {name!r} in {backend.address}; "
            "restore it in MLflow, or name another one"
        )


def _history_frame(table: HistoryTable) -> pd.DataFrame:
    run = np.repeat(np.arange(len(table.run_ids)), table.counts)
    run_id = pd.Categorical.from_codes(run, categories=pd.Index(table.run_ids))
    return pd.DataFrame(
        {"run_id": run_id, **{name: table.columns[name] for name in COLUMNS}}, copy=False
    )
