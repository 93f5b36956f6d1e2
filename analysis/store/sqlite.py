"""An SQLite store: its file, read directly."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from sqlalchemy import create_engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from analysis.store import sqlite_scan
from analysis.store.backend import StoreError
from analysis.store.history import Slots
from analysis.store.sql import SqlListing
from analysis.store.sqlite_scan import ScanOrder, Values
from suite.basics.mlflow_tables import latest_metrics, metrics
from suite.basics.settings import ConfigError
from suite.basics.sqlite_address import sqlite_file
from suite.declarations.metrics import EPOCH_METRIC_NAMES

# Below so many epochs, starting processes takes longer than reading.
EPOCHS_WORTH_A_PROCESS = 200_000
# Finding a run's rows by index takes so many times longer than passing by another run's rows.
COST_OF_LOOKING_UP = 16
READ_AHEAD_BYTES = 32 * 2**20


class SqliteStore(SqlListing):
    """See :class:`analysis.store.backend.Backend`."""

    errors: tuple[type[Exception], ...] = (SQLAlchemyError, sqlite3.Error)

    def __init__(self, uri: str) -> None:
        try:
            self.path = sqlite_file(uri)
        except ConfigError as error:
            raise StoreError(str(error)) from None
        if not self.path.is_file():  # SQLite and MLflow would make an empty one
            raise StoreError(
                f"tracking_uri: no such store, got sqlite:///{self.path}; train something first, "
                "or give the --tracking-uri with which the runs were made"
            )
        engine = create_engine(
            "sqlite://", creator=lambda: sqlite_scan.connect(str(self.path)), poolclass=StaticPool
        )
        super().__init__(engine, f"sqlite:///{self.path}")

    def read(self, slots: Slots) -> None:
        """See :class:`analysis.store.backend.Backend`."""
        order = ScanOrder(
            path=str(self.path),
            keys=EPOCH_METRIC_NAMES,
            run_ids=slots.run_ids,
            first=slots.first.tolist(),
            lengths=slots.lengths.tolist(),
            query=_query(by_run=slots.size * COST_OF_LOOKING_UP < self._epochs_in_store()),
        )
        workers = min(os.cpu_count() or 1, len(order.keys))
        if slots.size < EPOCHS_WORTH_A_PROCESS or workers == 1:
            found = sqlite_scan.scan(order)
        else:
            found = _scan_in_processes(order, workers)
        for key, places, values in found:
            slots.put(key, places, values)

    def _epochs_in_store(self) -> int:
        latest = latest_metrics.c
        query = select(func.sum(latest.step)).where(latest.key == EPOCH_METRIC_NAMES[0])
        return int(self.connection.execute(query).scalar_one() or 0)


def _query(*, by_run: bool) -> str:
    """The query of a :class:`ScanOrder`: one metric of the wanted runs.

    Parameters
    ----------
    by_run
        Go from run to run by an index instead of through all runs of the store, which pays if
        few are wanted.
    """
    # CROSS JOIN fixes the order of the loops.
    loops = [metrics.name, "temp.wanted AS wanted"]
    m = metrics.c
    return f"""
        SELECT 2.0 * (wanted.first + {m.step} - 1) + {m.is_nan}, {m.value}
        FROM {" CROSS JOIN ".join(reversed(loops) if by_run else loops)}
        ON {m.run_uuid} = wanted.run_id
        WHERE {m.key} = ? AND {m.step} BETWEEN 1 AND wanted.length
        ORDER BY {m.timestamp}, {m.step}, {m.run_uuid}, {m.value}, {m.is_nan}
    """


def _scan_in_processes(order: ScanOrder, workers: int) -> Iterator[Values]:
    """What `scan` yields, with the metrics dealt out to processes; one thread waits for each."""
    shares = [replace(order, keys=order.keys[worker::workers]) for worker in range(workers)]
    _read_ahead(order.path)
    with ThreadPoolExecutor(workers) as pool:
        for share, output in zip(shares, pool.map(_run_scan, shares), strict=True):
            yield from _arrays(share.keys, output)


def _run_scan(order: ScanOrder) -> bytes:
    # -P: this folder's modules must not be taken for others of the same name.
    command = [sys.executable, "-P", sqlite_scan.__file__]
    message = pickle.dumps(asdict(order))
    done = subprocess.run(command, input=message, capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise StoreError(
            f"tracking_uri: could not be read, got sqlite:///{order.path} ({' '.join(last)}); "
            "check the file with: sqlite3 FILE 'PRAGMA integrity_check'"
        )
    return done.stdout


def _read_ahead(path: str) -> None:
    """Have the system fetch the whole file in the background (Linux; elsewhere nothing happens).

    An index's pages lie scattered over the file. From a disk, fetching 4 kB here and there took a
    minute where passing over the whole file takes ten seconds.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    with Path(path).open("rb") as file:
        for start in range(0, Path(path).stat().st_size, READ_AHEAD_BYTES):
            os.posix_fadvise(file.fileno(), start, READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)


def _arrays(keys: Sequence[str], output: bytes) -> Iterator[Values]:
    at = 0
    for key in keys:
        length = int(np.frombuffer(output, np.int64, 1, at)[0])
        slots = np.frombuffer(output, np.int64, length, at + 8)
        values = np.frombuffer(output, np.float64, length, at + 8 + 8 * length)
        at += 8 + 16 * length
        yield key, slots, values
