"""One exported experiment: its folder of Parquet files, if they are sound, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis.store.backend import RawRun, StoreError
from analysis.store.exported_files import (
    HISTORY,
    METADATA,
    PREDICTIONS,
    RUNS,
    SCHEMA,
    read_layers,
)
from analysis.store.history import Slots
from analysis.store.prediction_table import read_table, unpacked
from analysis.store.runs import SETTING_TYPES
from analysis.store.thinning import Thinning
from suite.basics.errors import first_line
from suite.declarations.attempts import ATTEMPT_TAG
from suite.declarations.layers import layers_tags
from suite.declarations.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES
from suite.declarations.predictions import UNREADABLE, Predictions
from suite.declarations.stored import MALFORMED, reason
from suite.declarations.tags import (
    CODE_VERSION_TAG,
    CONFIG_TAG,
    DIVERGED_TAG,
    FINGERPRINT_TAG,
    IMAGE_COUNTS,
)

NEEDED = (
    *("run_id", "fingerprint", "run_name", "diverged", "start_time", "end_time"),
    *(*IMAGE_COUNTS, "last_epoch", "last_timestamp", "missing_epochs"),
)
ABOUT = {"mark", "experiment", "store", "origin", "made", "package", "last_start", "thinning"}
ABOUT |= {"runs", "rows", "settings"}
FILES = (RUNS, HISTORY, PREDICTIONS)
EXPORT = "python -m analysis.export"
COUNTS = str(2**31)  # a run that has a row counts, whatever is known of those left out beside it


def exports_in(folder: Path) -> list[Path]:
    """The exported experiments in a folder, or the folder itself if it is one; sorted."""
    if (folder / RUNS).is_file() or (folder / HISTORY).is_file():
        return [folder]
    found = {file.parent for name in (RUNS, HISTORY) for file in folder.glob(f"*/{name}")}
    return sorted(one for one in found if not one.name.startswith("."))  # half written


def may_be_exchanged(folder: Path) -> bool:
    """Whether nothing but an export, which may be damaged, is lost with a folder."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return bool(files) and all(file.name in FILES and _is_ours(file) for file in files)


def _is_ours(file: Path) -> bool:
    try:
        return METADATA in (pq.read_schema(file).metadata or {})
    except (OSError, pa.ArrowException):
        return True  # what nobody can read is no loss


@dataclass(frozen=True)
class Export:
    """One exported experiment: its folder, and what the metadata of its files say."""

    folder: Path
    about: Mapping[str, Any]

    @classmethod
    def opened(cls, folder: Path) -> Export:
        """The export in a folder, both of its files there and fitting each other.

        Raises
        ------
        StoreError
            If it is not there, damaged, or of a schema that is not known here.
        """
        about = _about(folder / RUNS)
        if _about(folder / HISTORY)["mark"] != about["mark"]:
            raise _damaged(folder / HISTORY, f"it is not of the same export as {RUNS}")
        kept = folder / PREDICTIONS
        if kept.is_file() and _about(kept)["mark"] != about["mark"]:
            raise _damaged(kept, f"it is not of the same export as {RUNS}")
        unknown = [name for name in about["settings"] if name not in SETTING_TYPES]
        if unknown:
            raise StoreError(
                f"tracking_uri: has the unknown setting {unknown[0]}, got {folder / RUNS} "
                f"(written by {about['package']}); update {about['package'].split()[0]}"
            )
        return cls(folder, about)

    @property
    def origin(self) -> str:
        """Where its runs come from, when they were exported, and what is left of the histories."""
        made = datetime.fromisoformat(self.about["made"])
        thinning, without = self.about["thinning"], self.about.get("without", [])
        parts = [f"exported from {self.about['store']} on {made:%Y-%m-%d %H:%M} UTC"]
        parts += [self.about["origin"]] if self.about["origin"] else []
        parts += [str(Thinning(**thinning))] if thinning else []
        parts += [f"without {', '.join(without)}"] if without else []
        return "; ".join(parts)

    @cached_property
    def runs(self) -> list[RawRun]:
        """Its runs, and what is known of those that were left out."""
        table = _table(self.folder / RUNS, self.about["runs"], (*NEEDED, *self.about["settings"]))
        try:
            runs = [_raw(row, self.about["settings"]) for row in _plain(table).to_pylist()]
        except MALFORMED as error:
            raise _damaged(self.folder / RUNS, reason(error)) from None
        return [*runs, *(RawRun(**run) for run in self.about["left_out_runs"])]

    def read(self, slots: Slots) -> None:
        """Fill the slots of its runs."""
        table = _table(self.folder / HISTORY, self.about["rows"], ("run_id", "epoch"))
        number = {run_id: run for run, run_id in enumerate(slots.run_ids)}
        ids = table["run_id"].combine_chunks()
        runs = np.array([number.get(name, -1) for name in ids.dictionary.to_pylist()])
        run = runs[ids.indices.to_numpy()]
        epoch = table["epoch"].to_numpy().astype(np.int64)
        wanted = (run >= 0) & (epoch >= 1) & (epoch <= slots.lengths[run])
        places = (slots.first[run] + epoch - 1)[wanted]
        lacking = self._lacking(slots)[places]
        for name in EPOCH_METRIC_NAMES:
            if name in table.column_names:
                there = table[name].is_valid().to_numpy()[wanted]
                values = table[name].to_numpy()[wanted].astype(np.float64)
                # What thinning left out is unknown, and no hole in what was logged.
                put = there | ~lacking
                slots.put(name, places[put], values[put])

    def predictions(self) -> dict[str, Predictions]:
        """What its runs have kept of the test images, by run id; empty where that is nothing."""
        path = self.folder / PREDICTIONS
        if not path.is_file():
            return {}
        try:
            return unpacked(read_table(path))
        except UNREADABLE as error:
            raise _damaged(path, reason(error)) from None

    def _lacking(self, slots: Slots) -> NDArray[np.bool_]:
        """The slots of epochs at which a metric was never logged."""
        lacking = np.zeros(slots.size, dtype=np.bool_)
        table = _table(self.folder / RUNS, self.about["runs"], ("run_id", "missing_epochs"))
        number = {run_id: run for run, run_id in enumerate(slots.run_ids)}
        for row in table.select(["run_id", "missing_epochs"]).to_pylist():
            run = number.get(row["run_id"], -1)
            if run >= 0:
                missing = np.array(row["missing_epochs"], dtype=np.int64)
                lacking[slots.first[run] + missing - 1] = True
        return lacking


def _about(path: Path) -> Mapping[str, Any]:
    """What the metadata of a file say, of a schema that is known."""
    if not path.is_file():
        other = RUNS if path.name == HISTORY else HISTORY
        raise StoreError(
            f"tracking_uri: {path.name} must lie beside {other}, got {path.parent} without it; "
            f"export the experiment again: {EXPORT}"
        )
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, first_line(error)) from None
    if METADATA not in metadata:
        raise StoreError(
            f"tracking_uri: must be runs that were exported by {EXPORT}, got {path}; give another "
            "folder"
        )
    try:
        about: dict[str, Any] = json.loads(metadata[METADATA])
        schema = int(about["schema"])
    except MALFORMED as error:
        raise _damaged(path, f"its metadata: {reason(error)}") from None
    if schema == SCHEMA and (absent := ABOUT - about.keys()):
        raise _damaged(path, f"its metadata lack {min(absent)}")
    if schema != SCHEMA:
        raise StoreError(
            f"tracking_uri: the schema of exported runs must be {SCHEMA}, got {schema} in {path} "
            f"(written by {about.get('package', 'an unknown version')}); read it with that version"
        )
    return about


def _table(path: Path, rows: int, needed: Sequence[str]) -> pa.Table:
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, first_line(error)) from None
    absent = [name for name in needed if name not in table.column_names]
    if absent:
        raise _damaged(path, f"it has no column {absent[0]}")
    if table.num_rows != rows:
        raise _damaged(path, f"{table.num_rows} rows instead of {rows}")
    return table


def _damaged(path: Path, reason: str) -> StoreError:
    return StoreError(
        f"tracking_uri: is damaged, got {path} ({reason}); copy it anew, or export the experiment "
        f"again: {EXPORT}"
    )


def _plain(table: pa.Table) -> pa.Table:
    """The table with times as milliseconds since 1970."""
    for place, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            whole = table.column(place).cast(pa.int64())
            table = table.set_column(place, column.name, whole)
    return table


def _raw(row: Mapping[str, Any], settings: Sequence[str]) -> RawRun:
    """A run as MLflow held it, from its row."""
    layers, code_version = read_layers(row), row.get("code_version")
    return RawRun(
        run_id=row["run_id"],
        name=row["run_name"],
        status="FINISHED",
        start_time=row["start_time"],
        end_time=row["end_time"],
        tags={
            FINGERPRINT_TAG: row["fingerprint"],
            CONFIG_TAG: json.dumps({name: row[name] for name in settings}),
            DIVERGED_TAG: str(row["diverged"]).lower(),
            ATTEMPT_TAG: COUNTS,
            **({CODE_VERSION_TAG: code_version} if code_version else {}),
            **({} if layers is None else layers_tags(layers)),
        },
        params={name: str(row[name]) for name in IMAGE_COUNTS},
        metrics={name: row[name] for name in SUMMARY_METRIC_NAMES if row.get(name) is not None},
        last_epoch=row["last_epoch"],
        last_timestamp=row["last_timestamp"],
    )
