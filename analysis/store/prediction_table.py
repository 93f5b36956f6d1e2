"""Many runs' predictions as one table: a row per run, and the labels of each test set once.

In `predicted` and `confidence` stand, as bytes in the order of the test set, the class of each
image (one byte, or two for more than 256 classes) and its probability (half precision). The labels
stand as hexadecimal bytes in the metadata, by the digest of the test set that is named in each row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from suite.declarations.predictions import Classes, Predictions, class_type, test_set_digest

TEST_SETS = b"initialization-memory-test-sets"
# Of zstd. Probabilities hardly get smaller; at 12 a thousand runs of CIFAR-10 take half a minute.
COMPRESSION_LEVELS = {"run_id": 3, "test_set": 3, "predicted": 12, "confidence": 1}
QUICK = 1


def packed(found: Mapping[str, Predictions], *, confidence: bool = True) -> pa.Table:
    """The table of predictions by run id.

    Parameters
    ----------
    confidence
        Whether to keep the probabilities, which take most of the room; else they are null.
    """
    sets: dict[str, dict[str, Any]] = {}
    names = []
    for one in found.values():
        name = one.test_set
        names.append(name)
        if name not in sets:
            sets[name] = {"classes": one.classes, "labels": one.labels.tobytes().hex()}
    kept = [one.confidence.tobytes() if confidence else None for one in found.values()]
    table = pa.table(
        {
            "run_id": pa.array(list(found), pa.string()),
            "test_set": pa.array(names, pa.string()),
            "predicted": pa.array([one.predicted.tobytes() for one in found.values()], pa.binary()),
            "confidence": pa.array(kept, pa.binary()),
        }
    )
    return table.replace_schema_metadata({TEST_SETS: json.dumps(sets)})


def unpacked(table: pa.Table) -> dict[str, Predictions]:
    """Predictions by run id; where no probabilities were kept they are NaN.

    Raises
    ------
    One of :data:`suite.declarations.predictions.UNREADABLE`
        If the table is none of :func:`packed`.
    """
    sets = json.loads((table.schema.metadata or {})[TEST_SETS])
    labels: dict[str, Classes] = {}
    for name, about in sets.items():
        kind = class_type(about["classes"])
        labels[name] = np.frombuffer(bytes.fromhex(about["labels"]), kind)
        if test_set_digest(labels[name], about["classes"]) != name:
            raise ValueError(f"test_set: the labels of {name} are not those that were written")
    found = {}
    for row in table.to_pylist():
        own, classes = labels[row["test_set"]], sets[row["test_set"]]["classes"]
        predicted: Classes = np.frombuffer(row["predicted"], own.dtype)
        confidence = np.full(own.size, np.nan, dtype=np.float16)
        if row["confidence"] is not None:
            confidence = np.frombuffer(row["confidence"], np.float16)
        if not predicted.size == confidence.size == own.size:
            raise ValueError(f"run {row['run_id']}: must have {own.size} images")
        found[row["run_id"]] = Predictions(own, predicted, confidence, classes)
    return found


def write_table(table: pa.Table, path: Path, *, quickly: bool = False) -> None:
    """Write a table of predictions, as small as it gets, or quickly."""
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=QUICK if quickly else COMPRESSION_LEVELS,
        use_dictionary=["test_set"],
        write_statistics=False,
        write_page_checksum=True,
    )


def read_table(path: Path) -> pa.Table:
    """Read a table of predictions."""
    return pq.read_table(path, page_checksum_verification=True)
