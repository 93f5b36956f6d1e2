"""Epoch metrics out of an SQLite file, one metric after the other; also a program of its own.

Plain `sqlite3` is fast enough, against `pandas.read_sql` and Arrow drivers, if the rows are asked
for in the order in which they lie. The primary key of MLflow's `metrics` begins with (key,
timestamp, step, run_uuid) and holds all columns, so one metric is one stretch of that index, in
order of time. SQLite itself exchanges the run's id, 32 characters a row, for the run's first slot,
so that a row reaches Python as two floats. What is left is Python's time for each row. Threads do
not divide it, as `sqlite3` takes and gives the interpreter's lock for every row; so large reads run
this file in several processes.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

Values = tuple[str, NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True)
class ScanOrder:
    """Which metrics of which runs to read.

    Attributes
    ----------
    query
        SQL with one parameter, a metric's name. It finds the runs in the table `temp.wanted`
        (run_id, first, length), and gives two floats for each point, in order of time:
        2·slot + is_nan, which is exact up to 2^53, and the value as it is stored. It is handed in
        because a program that starts in a moment cannot import what knows MLflow's tables.
    first, lengths
        First slot and last epoch of each run.
    """

    path: str
    query: str
    keys: Sequence[str]
    run_ids: Sequence[str]
    first: Sequence[int]
    lengths: Sequence[int]


def connect(path: str) -> sqlite3.Connection:
    """The file, read-only, also while others write to it.

    A store in a folder that cannot be written to (an archive) has no room for the files which
    SQLite's write-ahead log needs; nobody writes to such a store, which SQLite calls immutable.
    """
    uri = f"file:{quote(path)}?mode=ro"
    try:
        return _opened(uri)
    except sqlite3.OperationalError as error:
        no_room = error.sqlite_errorcode & 0xFF in (
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
        )
        if not no_room or os.access(Path(path).parent, os.W_OK) or Path(f"{path}-wal").exists():
            raise
        return _opened(f"{uri}&immutable=1")


def _opened(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=20, check_same_thread=False
    )
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def scan(order: ScanOrder) -> Iterator[Values]:
    """Metric name, slots and values with NaN restored, in order of time, for each metric."""
    with closing(connect(order.path)) as connection:
        connection.execute(
            "CREATE TEMP TABLE wanted (run_id PRIMARY KEY, first REAL, length INTEGER) "
            "WITHOUT ROWID"
        )
        rows = zip(order.run_ids, order.first, order.lengths, strict=True)
        connection.executemany("INSERT INTO wanted VALUES (?, ?, ?)", rows)
        for key in order.keys:
            found = connection.execute(order.query, (key,))
            flat = np.fromiter(chain.from_iterable(found), dtype=np.float64)
            slot, is_nan = np.divmod(flat[0::2].astype(np.int64), 2)
            yield key, slot, np.where(is_nan, np.nan, flat[1::2])


def main() -> None:
    """Carry out a pickled order from standard input; lengths and arrays go to standard output."""
    order = ScanOrder(**pickle.load(sys.stdin.buffer))
    for _, slots, values in scan(order):
        for array in (np.array([len(slots)], dtype=np.int64), slots, values):
            sys.stdout.buffer.write(array.tobytes())


if __name__ == "__main__":
    main()
