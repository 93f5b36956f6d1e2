"""Epoch metrics of many runs in one table, and how values get into it.

MLflow says how many epochs each run has before their values are read. So each epoch of each run is
given its place beforehand, a *slot*: a row of the table to come. Values may then arrive in any
order and from any backend, without sorting or pivoting 15 million rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suite.basics.mlflow_tables import LARGEST
from suite.declarations.metrics import EPOCH_METRIC_NAMES

COLUMNS = ("epoch", *EPOCH_METRIC_NAMES)

Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class HistoryTable:
    """The rows of some runs, run after run, epochs ascending.

    Attributes
    ----------
    run_ids
        MLflow's ids, in the order of their rows.
    stamps
        Per run, what changes when its history does; see `RawRun.stamp`.
    missing
        Per run, the epochs at which at least one metric was never logged.
    counts
        Per run, its number of rows.
    columns
        "epoch" (int32) and the epoch metrics (float64), all runs in one array each.
    """

    run_ids: Sequence[str]
    stamps: Sequence[Stamp]
    missing: Sequence[Sequence[int]]
    counts: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.generic]]


class Slots:
    """One slot for each epoch 1 … `lengths[r]` of each run r, to be filled metric by metric.

    Parameters
    ----------
    run_ids
        MLflow's ids.
    lengths
        Last epoch of each run.
    """

    def __init__(self, run_ids: Sequence[str], lengths: Sequence[int]) -> None:
        self.run_ids = list(run_ids)
        self.lengths = np.asarray(lengths, dtype=np.int64).reshape(len(self.run_ids))
        self.ends = np.cumsum(self.lengths)
        self.first = self.ends - self.lengths
        self.size = int(self.lengths.sum())
        self.values = {name: np.full(self.size, np.nan) for name in EPOCH_METRIC_NAMES}
        self.there = {name: np.zeros(self.size, dtype=bool) for name in EPOCH_METRIC_NAMES}

    def put(self, name: str, slots: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Fill slots with values as MLflow stores them, NaN already restored.

        Where a slot occurs twice (an epoch that was logged anew after a crash), its last value
        stays; the caller orders by time.
        """
        infinite = np.abs(values) >= LARGEST
        if infinite.any():
            values = np.where(infinite, np.copysign(np.inf, values), values)
        self.values[name][slots] = values
        self.there[name][slots] = True

    def table(self, stamps: Sequence[Stamp]) -> HistoryTable:
        """What has been filled; an epoch of which nothing is there has no row."""
        count = np.sum([self.there[name] for name in EPOCH_METRIC_NAMES], axis=0, dtype=np.int64)
        epoch = (np.arange(self.size) - np.repeat(self.first, self.lengths) + 1).astype(np.int32)
        kept, partial = count > 0, count < len(EPOCH_METRIC_NAMES)
        columns: dict[str, NDArray[np.generic]] = {"epoch": epoch}
        columns |= self.values
        if not kept.all():
            columns = {name: column[kept] for name, column in columns.items()}
        sums = np.concatenate([[0], np.cumsum(kept)])
        missing = np.split(epoch[partial], np.concatenate([[0], np.cumsum(partial)])[self.ends])
        return HistoryTable(
            run_ids=self.run_ids,
            stamps=list(stamps),
            missing=[epochs.tolist() for epochs in missing[: len(self.run_ids)]],
            counts=sums[self.ends] - sums[self.first],
            columns=columns,
        )


def select(tables: Sequence[HistoryTable], run_ids: Sequence[str]) -> HistoryTable:
    """The rows of `run_ids`, in that order, out of several tables.

    Raises
    ------
    KeyError
        If a run is in none of the tables.
    """
    places = {run_id: (table, run) for table in tables for run, run_id in enumerate(table.run_ids)}
    wanted = [places[run_id] for run_id in run_ids]
    counts = np.array([table.counts[run] for table, run in wanted], dtype=np.int64)
    rows = _rows(tables, wanted, counts)
    return HistoryTable(
        run_ids=list(run_ids),
        stamps=[table.stamps[run] for table, run in wanted],
        missing=[table.missing[run] for table, run in wanted],
        counts=counts,
        columns={name: _take([table.columns[name] for table in tables], rows) for name in COLUMNS},
    )


def _rows(
    tables: Sequence[HistoryTable],
    wanted: Sequence[tuple[HistoryTable, int]],
    counts: NDArray[np.int64],
) -> NDArray[np.int64] | None:
    """Where the wanted rows are in the tables laid end to end; None if they are all, in order."""
    first, base = {}, 0
    for table in tables:
        ends = base + np.cumsum(table.counts)
        first[id(table)] = ends - table.counts
        base += int(table.counts.sum())
    starts = np.array([first[id(table)][run] for table, run in wanted], dtype=np.int64)
    before = np.cumsum(counts) - counts
    if counts.sum() == base and np.array_equal(starts, before):
        return None
    rows: NDArray[np.int64] = np.arange(counts.sum()) + np.repeat(starts - before, counts)
    return rows


def _take(
    parts: Sequence[NDArray[np.generic]], rows: NDArray[np.int64] | None
) -> NDArray[np.generic]:
    column = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return column if rows is None else column[rows]
