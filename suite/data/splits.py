"""Data sets as uint8 tensors with one fixed split into training, validation and test part.

The split is a property of the data set, not of a run: every seed sees the same three parts
(Das et al. 2026, App. A: 40,000 / 10,000 / 10,000 images of CIFAR-10, one permutation, seed 42).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from suite.basics.files import data_folder
from suite.data.cifar10 import read_cifar10
from suite.data.image_folder import image_folder_digest, read_image_folder
from suite.data.parts import DataError, ImageParts, LabelledImages, content_digest, data_error
from suite.data.resizing import averaged_down
from suite.declarations.datasets import KNOWN

__all__ = [
    "DATASET_SIZES",
    "DataError",
    "ImageData",
    "Split",
    "folder_digest",
    "load",
    "split_sizes",
]

# Images in (training part, which validation shares; test part).
DATASET_SIZES: Mapping[str, tuple[int, int]] = {
    name: (facts.training_part, facts.test_part) for name, facts in KNOWN.items()
}
SPLIT_SEED = 42
DIGITS_TEST_FRACTION = 0.2
DIGITS_BRIGHTEST = 16


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Attributes
    ----------
    images
        uint8, shape (N, C, H, W), contiguous, 0 (dark) to 255.
    labels
        int64, shape (N,), index into `ImageData.classes`.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device | str) -> Split:
        """Return the same part on `device`."""
        return Split(self.images.to(device), self.labels.to(device))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set, split.

    Attributes
    ----------
    name
        digits, cifar10 or folder.
    classes
        Class names; a label is an index into them.
    train, validation, test
        The three parts, disjoint.
    digest
        First 16 hex digits of the SHA-256 over images, labels and class names of the whole data
        set as published, before it is split or made smaller: the same for the same content,
        wherever it lies.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    digest: str

    @property
    def channels(self) -> int:
        """1 (gray) or 3 (RGB)."""
        return self.train.images.shape[1]

    @property
    def height(self) -> int:
        """Image height in pixels."""
        return self.train.images.shape[2]

    @property
    def width(self) -> int:
        """Image width in pixels."""
        return self.train.images.shape[3]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def to(self, device: torch.device | str) -> ImageData:
        """Return the same data set on `device`."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
        )


def split_sizes(n: int, validation_fraction: float, train_fraction: float) -> tuple[int, int]:
    """Sizes of the training and validation set that `n` images of a training part give.

    Parameters
    ----------
    n
        Images that training and validation share.
    validation_fraction
        Share of `n` held out for validation, between 0 and 1, both excluded.
    train_fraction
        Share of the remaining images that is used for training, above 0, at most 1.

    Returns
    -------
    tuple of int
        (training, validation), halves rounded to the even number.

    Raises
    ------
    DataError
        If a fraction is out of its range or a set would be empty.
    """
    if not 0 < validation_fraction < 1:
        raise data_error(
            "validation_fraction",
            "must be above 0 and below 1",
            validation_fraction,
            "0.2 holds out a fifth",
        )
    if not 0 < train_fraction <= 1:
        raise data_error(
            "train_fraction", "must be above 0 and at most 1", train_fraction, "1 keeps all images"
        )
    validation = round(n * validation_fraction)
    train = round((n - validation) * train_fraction)
    if validation == 0 or n == validation:
        raise data_error(
            "validation_fraction",
            "must leave images for validation and for training",
            f"{validation_fraction} of {n} images, {validation} for validation",
            "choose another fraction or add images",
        )
    if train == 0:
        raise data_error(
            "train_fraction",
            "must leave an image for training",
            f"{train_fraction} of {n - validation} images",
            "raise it or add images",
        )
    return train, validation


def load(
    dataset: str,
    data_dir: Path | None,
    *,
    validation_fraction: float = 0.2,
    train_fraction: float = 1.0,
    image_side: int = 0,
    download: bool = True,
) -> ImageData:
    """Read a data set and split it.

    The training part is permuted once, by a permutation that depends on its size alone; the first
    images become the validation set, the next ones the training set.

    Parameters
    ----------
    dataset
        digits (scikit-learn's, embedded), cifar10 or folder.
    data_dir
        Where cifar10 and folder lie; None as in :func:`suite.basics.files.data_folder`.
    validation_fraction, train_fraction
        As in `split_sizes`.
    image_side
        Height and width to which the images are averaged down, in pixels; 0 leaves them.
    download
        Whether a missing cifar10 is fetched into `data_dir`.

    Returns
    -------
    ImageData
        On the CPU.

    Raises
    ------
    DataError
        If an argument is out of its range, a part would be empty, or the files are missing,
        damaged or not laid out as they must be.
    """
    if dataset not in ("digits", "cifar10", "folder"):
        raise data_error(
            "dataset", "must be digits, cifar10 or folder", dataset, "choose one of the three"
        )
    if dataset in DATASET_SIZES:  # bad fractions need not wait for the data
        split_sizes(DATASET_SIZES[dataset][0], validation_fraction, train_fraction)
    if dataset == "digits":
        parts = _digits()
    elif dataset == "cifar10":
        parts = read_cifar10(data_folder(data_dir), download=download)
    else:
        parts = read_image_folder(data_folder(data_dir), _progress_on_stderr)
    if image_side:
        parts = averaged_down(parts, image_side)
    train, validation = split_sizes(len(parts.train.labels), validation_fraction, train_fraction)
    order = _permutation(len(parts.train.labels))
    return ImageData(
        name=dataset,
        classes=parts.classes,
        train=_take(parts.train, order[validation : validation + train]),
        validation=_take(parts.train, order[:validation]),
        test=_take(parts.test, np.arange(len(parts.test.labels))),
        digest=parts.digest,
    )


def folder_digest(data_dir: Path) -> str:
    """Digest of a folder data set, as `ImageData.digest`; cheap while the cache is fresh.

    Raises
    ------
    DataError
        As `load` with dataset=folder.
    """
    return image_folder_digest(data_dir, _progress_on_stderr)


def _permutation(n: int) -> npt.NDArray[np.int64]:
    # RandomState's stream is frozen across NumPy versions; that of default_rng is not.
    return np.random.RandomState(SPLIT_SEED).permutation(n).astype(np.int64)


def _take(part: LabelledImages, indices: npt.NDArray[np.int64]) -> Split:
    return Split(torch.from_numpy(part.images[indices]), torch.from_numpy(part.labels[indices]))


def _progress_on_stderr(done: int, total: int) -> None:
    message = f"decoding images: {done}/{total}"
    if sys.stderr.isatty():
        print(f"\r{message}", end="\n" if done == total else "", file=sys.stderr, flush=True)
    elif 10 * done % total < total / 10:  # a log file gets a line per tenth, not per hundredth
        print(message, file=sys.stderr, flush=True)


def _digits() -> ImageParts:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    classes = tuple(str(name) for name in bunch.target_names)
    images = np.rint(bunch.images * (255 / DIGITS_BRIGHTEST)).astype(np.uint8)[:, None]
    whole = LabelledImages(images, bunch.target.astype(np.int64))
    # There is no official test part.
    order = _permutation(len(images))
    tests = round(len(images) * DIGITS_TEST_FRACTION)
    train, test = (
        LabelledImages(whole.images[part], whole.labels[part])
        for part in (order[tests:], order[:tests])
    )
    return ImageParts(classes, train, test, content_digest([whole], classes))
