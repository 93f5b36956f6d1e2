"""A data set as MLflow shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from suite.declarations.tags import SPLITS

if TYPE_CHECKING:
    from suite.data.splits import ImageData


@dataclass(frozen=True)
class DataDescription:
    """The data set of a run as MLflow shows it."""

    name: str
    digest: str
    source: str
    sizes: Mapping[str, int]  # split to number of images
    image_shape: tuple[int, int, int]
    classes: Sequence[str]


def describe_data(data: ImageData, source: str) -> DataDescription:
    """The description of images that come from `source`."""
    return DataDescription(
        name=data.name,
        digest=data.digest,
        source=source,
        sizes={split: len(getattr(data, split)) for split in SPLITS},
        image_shape=(data.channels, data.height, data.width),
        classes=data.classes,
    )
