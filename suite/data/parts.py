"""A data set as it is published, and the error that says why one cannot be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

UInt8Array: TypeAlias = npt.NDArray[np.uint8]


class DataError(ValueError):
    """A data set that cannot be used; one line: "field: rule, got value; remedy"."""


class LabelledImages(NamedTuple):
    """Images, uint8 of shape (N, C, H, W), and their class indices, int64 of shape (N,)."""

    images: UInt8Array
    labels: npt.NDArray[np.int64]


class ImageParts(NamedTuple):
    """A whole data set as it is published: class names, training and test part, digest."""

    classes: tuple[str, ...]
    train: LabelledImages
    test: LabelledImages
    digest: str


def data_error(field: str, rule: str, value: object, remedy: str) -> DataError:
    """Word a `DataError` on one line, whatever line breaks its parts hold."""
    return DataError(" ".join(f"{field}: {rule}, got {value}; {remedy}".split()))


def content_digest(parts: Iterable[LabelledImages], classes: tuple[str, ...]) -> str:
    """Identify a data set by what it holds, wherever it lies.

    Returns
    -------
    str
        First 16 hex digits of the SHA-256 over class names, and per part the images' shape, the
        images and the labels (little-endian int64), in order.
    """
    sha256 = hashlib.sha256(json.dumps(classes).encode())
    for images, labels in parts:
        sha256.update(json.dumps(images.shape).encode())
        sha256.update(np.ascontiguousarray(images).data)
        sha256.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return sha256.hexdigest()[:16]
