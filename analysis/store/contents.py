"""All of one experiment as it was read: every run, and the histories of those that count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.store.backend import Backend, RawRun, StoreError
from analysis.store.cache import cache_path, load_cache, save_cache, still_valid
from analysis.store.history import HistoryTable, Slots, select
from analysis.store.predictions import NOTHING_KEPT, KeptPredictions
from analysis.store.runs import image_counts, layer_history, runs_frame, settings
from suite.basics.errors import first_line
from suite.declarations.layers import LayerHistory
from suite.declarations.tags import DIVERGED_TAG


@dataclass(frozen=True)
class Contents:
    """What a store holds of one experiment.

    Attributes
    ----------
    experiment
        Its name in MLflow.
    address
        Of the store: absolute, without password.
    origin
        See :meth:`analysis.store.backend.Backend.origin`.
    runs
        Every run of the suite, whatever its status.
    counted
        Of each configuration the finished run that counts (:mod:`suite.declarations.attempts`),
        sorted by settings.
    frame
        Those, typed, in the same order; see :class:`analysis.store.frames.Store`.
    histories
        Their epochs, in the same order.
    settings_of
        Run id to settings, of those.
    layers
        What was measured of their layers, in the same order; None for what an earlier version ran.
    older
        Pairs (other, counted) of finished runs of one configuration.
    unreadable
        Finished runs whose settings cannot be read, with the reason.
    predictions
        See :class:`analysis.store.frames.Store`.
    """

    experiment: str
    address: str
    origin: str
    runs: Sequence[RawRun]
    counted: Sequence[RawRun]
    frame: pd.DataFrame
    histories: HistoryTable
    settings_of: Mapping[str, Mapping[str, Any]]
    layers: Sequence[LayerHistory | None]
    older: Sequence[tuple[RawRun, RawRun]]
    unreadable: Sequence[tuple[RawRun, str]]
    predictions: KeptPredictions = NOTHING_KEPT

    def missing_epochs(self) -> list[list[int]]:
        """Of each counted run the epochs which it trained and did not log in full."""
        return [
            [*epochs, *_never_logged(run, self.settings_of[run.run_id])]
            for run, epochs in zip(self.counted, self.histories.missing, strict=True)
        ]


def collect(backend: Backend, experiment: str, number: str, *, cache: bool) -> Contents:
    """Read an experiment, given its name and its id.

    Raises
    ------
    StoreError
        If it has no finished run that can be read.
    """
    runs = backend.runs(number)
    counting, older = _counting(run for run in runs if run.status == "FINISHED")
    settings_of, counts_of, layers_of, unreadable = _readable(counting)
    kept = {run.run_id: run for run in counting if run.run_id in settings_of}
    if not kept:
        raise _nothing_finished(experiment, backend.address, runs, unreadable)
    frame = runs_frame(list(kept.values()), settings_of, counts_of)
    counted = [kept[run_id] for run_id in frame["run_id"]]
    return Contents(
        experiment=experiment,
        address=backend.address,
        origin=backend.origin(number),
        runs=runs,
        counted=counted,
        frame=frame,
        histories=_histories(backend, counted, number, cache=cache and backend.is_mlflow),
        settings_of=settings_of,
        layers=[layers_of[run.run_id] for run in counted],
        older=older,
        unreadable=unreadable,
    )


def _counting(finished: Iterable[RawRun]) -> tuple[list[RawRun], list[tuple[RawRun, RawRun]]]:
    """Of each configuration the run that counts, and pairs (other, counting) of the others."""
    by_fingerprint: defaultdict[str, list[RawRun]] = defaultdict(list)
    for run in finished:
        by_fingerprint[run.fingerprint].append(run)
    counting, older = [], []
    for same in by_fingerprint.values():
        *others, last = sorted(same, key=lambda run: run.rank)
        counting.append(last)
        older += [(other, last) for other in others]
    return counting, older


def _readable(
    runs: Iterable[RawRun],
) -> tuple[
    dict[str, dict[str, Any]],
    dict[str, dict[str, int]],
    dict[str, LayerHistory | None],
    list[tuple[RawRun, str]],
]:
    """Settings, image counts and layers by run id, and which runs cannot be read, with reasons."""
    settings_of, counts_of, layers_of, unreadable = {}, {}, {}, []
    for run in runs:
        try:
            found = settings(run), image_counts(run), layer_history(run)
        except ValueError as error:
            unreadable.append((run, first_line(error)))
        else:
            settings_of[run.run_id], counts_of[run.run_id], layers_of[run.run_id] = found
    return settings_of, counts_of, layers_of, unreadable


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
