"""The Parquet files of an exported experiment, and what their metadata say of them.

`runs.parquet` has one row per run that counts, `history.parquet` one per run and epoch, and, where
any run has kept what it predicts on the test images, `predictions.parquet` one per such run
(:mod:`analysis.store.prediction_table`; the probabilities are not kept by thinning). All can be
read with anything that reads Parquet. A history is null where an epoch was not logged, or not kept
by thinning. Where a run's layers stood to their initial weights is in lists of its row: names,
epochs, and norms and cosines epoch after epoch. Where the runs come from, when and with which
version they were exported, and which runs were left out and why, stands as JSON in the metadata of
the files themselves, so that it cannot be lost on the way. All files carry the same random mark.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.store.backend import RawRun
from analysis.store.contents import Contents
from analysis.store.prediction_table import packed, write_table
from analysis.store.runs import SETTING_TYPES
from analysis.store.thinning import Thinning, kept_rows
from suite.basics.code_version import code_version
from suite.declarations.attempts import ATTEMPT_TAG
from suite.declarations.layers import LayerHistory
from suite.declarations.metrics import EPOCH_METRIC_NAMES
from suite.declarations.tags import DIVERGED_TAG, FINGERPRINT_TAG

SCHEMA = 1
METADATA = b"initialization-memory-export"
LAYERS_COLUMNS = ("layers", "layer_epochs", "layer_norms", "layer_cosines")
RUNS, HISTORY = "runs.parquet", "history.parquet"
PREDICTIONS = "predictions.parquet"  # where any run has kept some
PACKAGE = "initialization-memory"
TIME = pa.timestamp("ms", tz="UTC")
TAGS_OF_LEFT_OUT = (FINGERPRINT_TAG, DIVERGED_TAG, ATTEMPT_TAG)
COMPRESSION_LEVEL = 12  # of zstd; from here on files hardly get smaller
VALUES_IN_A_LIST = 4  # a value that comes so many times on average is worth a place in a list


def folder_name(experiment: str) -> str:
    """The folder of an experiment among others: its name, with % before what no path takes."""
    name = quote(experiment, safe=" ")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def write_export(
    folder: Path, found: Contents, thinning: Thinning | None, *, layers: bool = True
) -> dict[str, Any]:
    """Write an experiment's files into a folder that is there.

    Parameters
    ----------
    found
        From `frames.contents`.
    thinning
        None keeps the histories as they are.
    layers
        Whether to keep what became of each layer.

    Returns
    -------
    dict
        What the metadata say.
    """
    if not layers:
        found = replace(found, layers=())
    about = _about(found, thinning) | {"without": [] if layers else ["layers"]}
    left_out = [asdict(run) for run in _left_out(found)]
    _write(folder / RUNS, _runs_table(found), about | {"left_out_runs": left_out})
    _write(folder / HISTORY, _history_table(found, thinning), about)
    if kept := found.predictions.by_run:
        ordered = {run_id: kept[run_id] for run_id in found.frame["run_id"] if run_id in kept}
        table = packed(ordered, confidence=thinning is None)
        metadata = {**table.schema.metadata, METADATA: json.dumps(about)}
        write_table(table.replace_schema_metadata(metadata), folder / PREDICTIONS)
    return about


def _about(found: Contents, thinning: Thinning | None) -> dict[str, Any]:
    unfinished = sum(run.status != "FINISHED" for run in found.runs)
    return {
        "schema": SCHEMA,
        "mark": uuid.uuid4().hex,
        "experiment": found.experiment,
        "store": _travelling(found.address),
        "origin": found.origin,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "package": f"{PACKAGE} {version(PACKAGE)}",
        "code_version": code_version(),
        "last_start": max(run.start_time for run in found.runs),
        "runs": len(found.counted),
        "rows": int(found.histories.counts.sum()),
        "settings": list(SETTING_TYPES),
        "left_out": {
            "unfinished": unfinished,
            "replaced by a newer run": len(found.older),
            "unreadable": len(found.unreadable),
        },
        "thinning": None if thinning is None else asdict(thinning),
    }


def _travelling(address: str) -> str:
    """A store's address without the folders of this machine, which say nothing on another."""
    return address.rsplit("/", 1)[-1] if address.startswith("sqlite:") else address


def _left_out(found: Contents) -> list[RawRun]:
    """The runs that are in no row, with as much of each as its report needs."""
    counted = {run.run_id for run in found.counted}
    unreadable = {run.run_id for run, _ in found.unreadable}
    rest = [run for run in found.runs if run.run_id not in counted]
    return [
        replace(run, metrics={})
        if run.run_id in unreadable
        else replace(
            run,
            tags={name: run.tags[name] for name in TAGS_OF_LEFT_OUT if name in run.tags},
            params={},
            metrics={},
        )
        for run in rest
    ]


def _runs_table(found: Contents) -> pa.Table:
    runs = found.counted
    columns = {name: pa.array(found.frame[name]) for name in found.frame.columns}
    columns |= {
        "start_time": pa.array([run.start_time for run in runs], TIME),
        "end_time": pa.array([run.end_time for run in runs], TIME),
        "last_epoch": pa.array([run.last_epoch for run in runs], pa.int64()),
        "last_timestamp": pa.array([run.last_timestamp for run in runs], TIME),
        "missing_epochs": pa.array(found.histories.missing, pa.list_(pa.int32())),
    }
    if any(found.layers):  # so that without them the file is as versions before made it
        columns |= _layers_columns(found.layers)
    return pa.table(columns)


def _layers_columns(layers: Sequence[LayerHistory | None]) -> dict[str, pa.Array]:
    kinds = (pa.string(), pa.int32(), pa.float32(), pa.float32())
    rows = [
        None
        if one is None
        else (one.layers, one.epochs, np.ravel(one.norms), np.ravel(one.cosines))
        for one in layers
    ]
    return {
        name: pa.array([None if row is None else row[place] for row in rows], pa.list_(kind))
        for place, (name, kind) in enumerate(zip(LAYERS_COLUMNS, kinds, strict=True))
    }


def read_layers(row: Mapping[str, Any]) -> LayerHistory | None:
    """The layers of a run from its row; None where it has none.

    Raises
    ------
    ValueError
        If the lists do not fit each other.
    """
    if row.get(LAYERS_COLUMNS[0]) is None:
        return None
    names, epochs, norms, cosines = (row[name] for name in LAYERS_COLUMNS)
    shape = (len(epochs), len(names))
    rows = [np.reshape(values, shape).tolist() for values in (norms, cosines)]
    return LayerHistory(tuple(names), tuple(epochs), *(tuple(map(tuple, part)) for part in rows))


def _history_table(found: Contents, thinning: Thinning | None) -> pa.Table:
    histories = found.histories
    run = np.repeat(np.arange(len(histories.run_ids), dtype=np.int32), histories.counts)
    names = pa.array(histories.run_ids, pa.string())
    columns = {"run_id": pa.DictionaryArray.from_arrays(run, names)}
    epoch = histories.columns["epoch"]
    columns["epoch"] = pa.array(epoch)
    lacking = _is_missing(histories.missing, histories.counts, epoch)
    dropped = np.zeros(epoch.size, dtype=np.bool_)
    if thinning is not None:
        dropped = ~kept_rows(histories, found.frame, thinning)
    for name in EPOCH_METRIC_NAMES:
        values = histories.columns[name].astype(np.float64)
        absent = lacking & np.isnan(values)
        if thinning is not None and name not in thinning.whole:
            absent |= dropped
        single = thinning is not None and name in thinning.single_precision
        kind = pa.float32() if single else pa.float64()
        columns[name] = pa.array(values.astype(np.float32) if single else values, kind, mask=absent)
    return pa.table(columns)


def _is_missing(
    missing: Sequence[Sequence[int]], counts: np.ndarray, epoch: np.ndarray
) -> np.ndarray:
    """The rows of epochs at which a metric was never logged, shape (rows,)."""
    found = np.zeros(epoch.size, dtype=np.bool_)
    ends = np.cumsum(counts)
    for run, epochs in enumerate(missing):
        if epochs:
            rows = slice(ends[run] - counts[run], ends[run])
            found[rows] = np.isin(epoch[rows], epochs)
    return found


def _write(path: Path, table: pa.Table, about: Mapping[str, Any]) -> None:
    many = [path for field in table.schema for path in _many_valued(field, table[field.name])]
    pq.write_table(
        table.replace_schema_metadata({METADATA: json.dumps(about)}),
        path,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=[name for name in table.column_names if name not in many],
        use_byte_stream_split=many,
        write_page_checksum=True,
    )


def _many_valued(field: pa.Field, column: pa.ChunkedArray) -> list[str]:
    """The column's path, if its numbers are told apart by bytes, not by places in a list."""
    path = field.name
    if pa.types.is_list(field.type):
        path, column = f"{path}.list.element", pc.list_flatten(column)  # Parquet's name for them
    if not pa.types.is_floating(column.type):
        return []
    values = len(column) - column.null_count
    return [path] if pc.count_distinct(column).as_py() > values / VALUES_IN_A_LIST else []
