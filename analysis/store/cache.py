"""Histories of finished runs, kept as one Parquet file for each experiment of a store.

The list of runs is not kept but read from the store each time. What it says of a run (its id, end
and last epoch) is compared with what was so when the history was kept: it differs for a run that
was deleted, begun anew or trained further, whose kept history is then not used.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.store.history import COLUMNS, HistoryTable
from suite.basics.errors import first_line
from suite.basics.files import cache_folder, written_whole
from suite.declarations.stored import MALFORMED

FORMAT = 1
METADATA = b"initialization-memory"

log = logging.getLogger(__name__)


def cache_path(address: str, experiment_id: str, what: str = "histories") -> Path:
    """The file with what is kept of one experiment, in the suite's cache folder."""
    key = hashlib.sha256(f"{address}\n{experiment_id}".encode()).hexdigest()[:16]
    return cache_folder() / what / f"{key}.parquet"


def load_cache(path: Path) -> HistoryTable | None:
    """What the file holds; None, with a notice, if it is damaged, and None if it is not there."""
    if not path.exists():
        return None
    try:
        return _load(path)
    except (OSError, pa.ArrowException, *MALFORMED) as error:
        reason = first_line(error)
        log.warning("cache %s is damaged (%s): it is made anew from the store", path, reason)
        return None


def _load(path: Path) -> HistoryTable | None:
    table = pq.read_table(path, page_checksum_verification=True)
    about = json.loads(table.schema.metadata[METADATA])
    if about["format"] != FORMAT or about.get("columns") != list(COLUMNS):
        return None  # of another version of the suite
    counts = np.array(about["counts"], dtype=np.int64)
    lengths = {len(about[name]) for name in ("run_ids", "stamps", "missing", "counts")}
    if len(lengths) != 1 or counts.sum() != table.num_rows:
        raise ValueError("its parts do not fit each other")
    return HistoryTable(
        run_ids=about["run_ids"],
        stamps=[(end, epoch, timestamp) for end, epoch, timestamp in about["stamps"]],
        missing=about["missing"],
        counts=counts,
        columns={name: table[name].to_numpy() for name in COLUMNS},
    )


def save_cache(path: Path, history: HistoryTable) -> None:
    """Put the file in place as a whole, or, with a notice, not at all."""
    about = {
        "format": FORMAT,
        "columns": COLUMNS,
        "run_ids": history.run_ids,
        "stamps": history.stamps,
        "missing": history.missing,
        "counts": history.counts.tolist(),
    }
    table = pa.table({name: pa.array(column) for name, column in history.columns.items()})
    table = table.replace_schema_metadata({METADATA: json.dumps(about)})
    try:
        with written_whole(path) as scratch:
            pq.write_table(
                table,
                scratch,
                compression="zstd",
                use_dictionary=False,  # the values hardly repeat
                write_page_checksum=True,
            )
    except OSError as error:
        log.warning("cache %s cannot be written (%s): the next start reads all again", path, error)


def still_valid(
    cached: HistoryTable, wanted: Sequence[tuple[str, tuple[int, int, int]]]
) -> set[str]:
    """The ids of those wanted runs whose history has not changed since."""
    stamps = dict(zip(cached.run_ids, cached.stamps, strict=True))
    return {run_id for run_id, stamp in wanted if stamps.get(run_id) == stamp}
