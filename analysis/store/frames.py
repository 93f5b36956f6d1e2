"""From an MLflow store to two tidy frames: one row per run, and one per run and epoch.

This is the only door between MLflow and the analysis. It reads, and leaves the store as it is.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.store import problems as store_problems
from analysis.store.backend import Backend, RawRun, StoreError, no_store
from analysis.store.cache import cache_path, load_cache, save_cache, still_valid
from analysis.store.history import COLUMNS, HistoryTable, Slots, select
from analysis.store.problems import Problems
from analysis.store.runs import image_counts, runs_frame, settings
from suite.basics.addresses import is_postgresql
from suite.basics.errors import first_line
from suite.basics.mlflow_client import default_uri
from suite.declarations.tags import DIVERGED_TAG

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
    """

    experiment: str
    runs: pd.DataFrame
    history: pd.DataFrame
    problems: Problems


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
    with _reading(tracking_uri or default_uri()) as backend:
        name, number = _find(backend, experiment)
        runs = backend.runs(number)
        newest, older = _newest(run for run in runs if run.status == "FINISHED")
        settings_of, counts_of, unreadable = _readable(newest)
        kept = {run.run_id: run for run in newest if run.run_id in settings_of}
        if not kept:
            raise _nothing_finished(name, backend.address, runs, unreadable)
        frame = runs_frame(list(kept.values()), settings_of, counts_of)
        in_order = [kept[run_id] for run_id in frame["run_id"]]
        table = _histories(backend, in_order, number, cache=cache)
    lacking = zip(in_order, table.missing, strict=True)
    finished = {run.fingerprint: settings_of[run.run_id] for run in in_order}
    missing, points = store_problems.missing_points(name, finished)
    problems = Problems(
        missing=missing,
        unfinished=store_problems.unfinished(runs, finished),
        duplicates=store_problems.duplicates(older),
        incomplete=store_problems.incomplete(
            (run, [*epochs, *_never_logged(run, settings_of[run.run_id])])
            for run, epochs in lacking
        ),
        unreadable=store_problems.unreadable(unreadable),
        points=points,
        other_runs=len(finished) - (points - len(missing)) if points else 0,
    )
    return Store(name, frame, _history_frame(table), problems)


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

    Raises
    ------
    StoreError
        If nobody answers there, or no MLflow store is there.
    """
    if tracking_uri.partition(":")[0].partition("+")[0] == "sqlite":
        from analysis.store.sqlite import SqliteStore

        return SqliteStore(tracking_uri)
    if is_postgresql(tracking_uri):
        from analysis.store.postgresql import PostgresqlStore

        return PostgresqlStore(tracking_uri)
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
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
        raise StoreError(f"experiment: is not in {backend.address}, got {name!r}; {hint}")
    return name, known[name]


def _newest(finished: Iterable[RawRun]) -> tuple[list[RawRun], list[tuple[RawRun, RawRun]]]:
    """Of each configuration the run that began last, and pairs (older, newest) of the others."""
    by_fingerprint: defaultdict[str, list[RawRun]] = defaultdict(list)
    for run in finished:
        by_fingerprint[run.fingerprint].append(run)
    newest, older = [], []
    for same in by_fingerprint.values():
        *others, last = sorted(same, key=lambda run: (run.start_time, run.end_time, run.run_id))
        newest.append(last)
        older += [(other, last) for other in others]
    return newest, older


def _readable(
    runs: Iterable[RawRun],
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, int]], list[tuple[RawRun, str]]]:
    """Settings and image counts by run id, and the runs where they cannot be read, with reasons."""
    settings_of, counts_of, unreadable = {}, {}, []
    for run in runs:
        try:
            found = settings(run), image_counts(run)
        except ValueError as error:
            unreadable.append((run, first_line(error)))
        else:
            settings_of[run.run_id], counts_of[run.run_id] = found
    return settings_of, counts_of, unreadable


def _nothing_finished(
    name: str, address: str, runs: Sequence[RawRun], unreadable: Sequence[tuple[RawRun, str]]
) -> StoreError:
    if not runs:
        return StoreError(
            f"experiment: {name!r} holds no run of this suite, got {address}; train something "
            "in it, or name another experiment"
        )
    if unreadable:
        return StoreError(
            f"experiment: no finished run of {name!r} can be read, got {address} "
            f"({unreadable[0][1]}); name another experiment"
        )
    return StoreError(
        f"experiment: none of the {len(runs)} runs of {name!r} has finished, got {address}; "
        "wait, or start them again: they go on where they stopped"
    )


def _histories(
    backend: Backend, runs: Sequence[RawRun], experiment_id: str, *, cache: bool
) -> HistoryTable:
    """The rows of the given runs in their order: cached ones, and from the store what is new."""
    path = cache_path(backend.address, experiment_id)
    cached = load_cache(path) if cache else None
    valid = still_valid(cached, [(run.run_id, run.stamp) for run in runs]) if cached else set()
    new = [run for run in runs if run.run_id not in valid]
    tables = [cached] if cached else []
    if new:
        slots = Slots([run.run_id for run in new], [run.last_epoch for run in new])
        backend.read(slots)
        tables.append(slots.table([run.stamp for run in new]))
    table = select(tables, [run.run_id for run in runs])
    if cache and (new or cached is None or list(cached.run_ids) != list(table.run_ids)):
        save_cache(path, table)
    return table


def _never_logged(run: RawRun, of: Mapping[str, Any]) -> range:
    """Epochs after the last one logged which the run says it trained."""
    trained = run.metrics.get("epochs_trained", np.nan)
    if np.isnan(trained):  # the summary itself is absent
        stops_early = run.tags.get(DIVERGED_TAG) == "true" or of["early_stopping_patience"] > 0
        trained = run.last_epoch if stops_early else of["epochs"]
    return range(run.last_epoch + 1, int(trained) + 1)


def _history_frame(table: HistoryTable) -> pd.DataFrame:
    run = np.repeat(np.arange(len(table.run_ids)), table.counts)
    run_id = pd.Categorical.from_codes(run, categories=pd.Index(table.run_ids))
    return pd.DataFrame(
        {"run_id": run_id, **{name: table.columns[name] for name in COLUMNS}}, copy=False
    )
