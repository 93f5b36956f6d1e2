"""Smaller images, each pixel the mean of the area that it covers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from suite.data.parts import ImageParts, LabelledImages, UInt8Array, data_error

IMAGES_AT_ONCE = 4096


def averaged_down(parts: ImageParts, side: int) -> ImageParts:
    """A data set whose images are `side` pixels high and wide.

    Raises
    ------
    DataError
        If its images are not square, or smaller than that.
    """
    height, width = parts.train.images.shape[2:]
    if height != width or side > height:
        raise data_error(
            "image_side",
            f"must be at most the side of square images, here {height}×{width}",
            side,
            "0 leaves them as they are",
        )
    return parts._replace(train=_smaller(parts.train, side), test=_smaller(parts.test, side))


def area_means(images: UInt8Array, side: int) -> UInt8Array:
    """Images of shape (…, length, length) as (…, side, side), halves rounded up.

    A pixel on a border is shared by area, so any side will do.
    """
    length = images.shape[-1]
    shares = _shares(length, side)
    # Whole numbers in float64, so that the order of summation does not matter.
    sums = (shares @ images.astype(np.float64) @ shares.T).astype(np.int64)
    area = length**2
    means: UInt8Array = ((2 * sums + area) // (2 * area)).astype(np.uint8)
    return means


def _smaller(part: LabelledImages, side: int) -> LabelledImages:
    pieces = range(0, max(len(part.images), 1), IMAGES_AT_ONCE)
    images = [area_means(part.images[i : i + IMAGES_AT_ONCE], side) for i in pieces]
    return LabelledImages(np.concatenate(images), part.labels)


def _shares(length: int, side: int) -> npt.NDArray[np.float64]:
    """How much each old pixel adds to each new one, in 1/side of an old one: (side, length)."""
    new, old = np.arange(side)[:, None], np.arange(length)[None, :]
    first, last = (
        np.maximum(new * length, old * side),
        np.minimum((new + 1) * length, (old + 1) * side),
    )
    shares: npt.NDArray[np.float64] = np.maximum(last - first, 0).astype(np.float64)
    return shares
