"""What the model that a run returns says of each test image, as a small file beside its checkpoint.

Equal accuracy is not an equal predictor: two models may be wrong on other images. The file holds
of each image, in the fixed order of the test set, its label, the class that the model takes, and
the probability it gives to that class. It is Parquet, so that whoever analyses it needs no torch,
and it carries the SHA-256 of what it holds and the run it is of.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from suite.declarations.stored import MALFORMED, require_digest

PREDICTIONS_FILE = "predictions.parquet"
BEST_ARTIFACT = "best"  # the folder in MLflow in which it lies, with the checkpoint
# What reading a damaged file can raise, and one that the system does not let be read.
DAMAGED = (pa.ArrowException, *MALFORMED)
UNREADABLE = (OSError, *DAMAGED)
METADATA = b"initialization-memory-predictions"
SCHEMA = 1
COLUMNS = ("label", "predicted", "confidence")
COMPRESSION_LEVEL = 12  # of zstd
CALIBRATION_BINS = 15  # Guo et al. 2017
DIGEST_LENGTH = 16  # hexadecimal digits of the digest of labels

Classes = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model says of N test images.

    Attributes
    ----------
    labels, predicted
        Classes, shape (N,): uint8, or uint16 for more than 256 of them.
    confidence
        Probability of the predicted class, float16, shape (N,).
    classes
        How many there are.
    """

    labels: Classes
    predicted: Classes
    confidence: NDArray[np.float16]
    classes: int

    @property
    def accuracy(self) -> float:
        """Fraction of the images whose label is predicted."""
        return float((self.labels == self.predicted).mean())

    @property
    def test_set(self) -> str:
        """What tells the test set from others: the digest of its labels, in their order."""
        return test_set_digest(self.labels, self.classes)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error of the predicted classes, a fraction (Guo et al. 2017, eq. 3).

        The mean over images of |accuracy − mean confidence| of the bin (k/15, (k+1)/15] in which an
        image's confidence lies.
        """
        confidence = self.confidence.astype(np.float64)
        if not np.isfinite(confidence).all():
            return float("nan")
        right = (self.labels == self.predicted).astype(np.float64)
        bins = np.maximum(np.ceil(confidence * CALIBRATION_BINS) - 1, 0).astype(np.intp)
        gaps = np.bincount(bins, right - confidence, minlength=CALIBRATION_BINS)
        return float(np.abs(gaps).sum() / right.size)


def class_type(classes: int) -> type[np.unsignedinteger[Any]]:
    """The numbers that hold a class."""
    return np.uint8 if classes <= 256 else np.uint16


def test_set_digest(labels: Classes, classes: int) -> str:
    """First hexadecimal digits of the SHA-256 of a test set's labels and number of classes."""
    content = f"{classes}\n".encode() + labels.astype("<u2").tobytes()
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


test_set_digest.__test__ = False  # type: ignore[attr-defined]  # pytest: it is no test


def encoded(predictions: Predictions, fingerprint: str) -> bytes:
    """The file of the predictions of a run; equal predictions make equal files."""
    about = {"schema": SCHEMA, "fingerprint": fingerprint, "classes": predictions.classes}
    arrays: list[NDArray[Any]] = [predictions.labels, predictions.predicted]
    arrays.append(predictions.confidence)
    about["digest"] = _digest(arrays, about)
    table = pa.table(dict(zip(COLUMNS, map(pa.array, arrays), strict=True)))
    written = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({METADATA: json.dumps(about, sort_keys=True)}),
        written,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=False,
        use_byte_stream_split=["confidence"],
        write_statistics=False,
        write_page_checksum=True,
    )
    return written.getvalue()


def decoded(content: bytes, fingerprint: str) -> Predictions:
    """The predictions of a run, from what :func:`encoded` wrote.

    Raises
    ------
    One of :data:`UNREADABLE`
        If the content is not that, not what was written, or another run's.
    """
    table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
    about = json.loads((table.schema.metadata or {})[METADATA])
    if about["schema"] != SCHEMA:
        raise ValueError(f"schema: must be {SCHEMA}, got {about['schema']!r:.80}")
    arrays = [table[name].to_numpy() for name in COLUMNS]
    kinds = [class_type(about["classes"])] * 2 + [np.float16]
    for name, array, kind in zip(COLUMNS, arrays, kinds, strict=True):
        if array.dtype != kind:
            raise ValueError(f"{name}: must be {np.dtype(kind)}, got {array.dtype}")
    written = about.pop("digest")
    require_digest(written, _digest(arrays, about))
    if about["fingerprint"] != fingerprint:
        raise ValueError(f"fingerprint: must be {fingerprint}, got {about['fingerprint']!r:.80}")
    labels, predicted, confidence = arrays
    return Predictions(labels, predicted, confidence, about["classes"])


def _digest(arrays: Sequence[NDArray[Any]], about: dict[str, object]) -> str:
    """SHA-256 over what a file says, hexadecimal; the lengths of its parts say where each ends."""
    forms = [[str(array.dtype), array.size] for array in arrays]
    digest = hashlib.sha256(json.dumps([forms, about], sort_keys=True).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
