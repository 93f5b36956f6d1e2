"""What is known of a data set before it is read: sizes and image shape, declared once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetFacts:
    """A data set's sizes and the shape of its images.

    Attributes
    ----------
    training_part
        Images that training and validation share.
    test_part
        Test images.
    """

    training_part: int
    test_part: int
    channels: int
    height: int
    width: int
    classes: int


# A folder's facts are known once it has been read.
KNOWN: Mapping[str, DatasetFacts] = {
    "digits": DatasetFacts(1438, 359, channels=1, height=8, width=8, classes=10),
    "cifar10": DatasetFacts(50_000, 10_000, channels=3, height=32, width=32, classes=10),
}
