"""One image file as an array, refused where Pillow would show something else than was meant."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from suite.basics.errors import remedy_for
from suite.data.parts import DataError, UInt8Array, data_error

GRAY_MODES = ("1", "L", "LA", "La")
# Pillow clips these to 8 bits rather than scaling them, which would destroy an image unnoticed.
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
# Of these it drops the lower byte: of what a 12-bit camera writes into 16, four bits are left.
DEEP_LAYOUTS = (";16B", ";16L", ";16N")
TIFF_BITS = 258  # the tag with the bits of each channel
UPRIGHT = 1
# What reading EXIF data raises that is damaged, by Pillow's own list.
BROKEN_EXIF = (SyntaxError, TypeError, ValueError, KeyError, struct.error)


def decode_image(path: str) -> UInt8Array:
    """Decode one image: shape (H, W) if it is gray, else (H, W, 3), RGB.

    Raises
    ------
    DataError
        If the file is not an image, is truncated or corrupt, holds several images or more than 8
        bits a channel, or its EXIF data say that it is to be turned.
    """
    try:
        with Image.open(path) as opened:
            image: Image.Image = opened
            _require_shallow(opened, path)
            _require_single(opened, path)
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")  # Pillow warns about the direct way
            decoded = np.asarray(image.convert("L" if image.mode in GRAY_MODES else "RGB"))
            _require_upright(opened, path)
            return decoded
    except DataError:
        raise
    except Exception as error:  # a decoder meets broken bytes with many types of exception
        raise unreadable(Path(path), error) from error


def image_size(path: str) -> tuple[int, int]:
    """Width and height, read from the head of the file.

    Raises
    ------
    DataError
        If the file is not an image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except Exception as error:
        raise unreadable(Path(path), error) from error


def unreadable(path: Path, error: Exception) -> DataError:
    """The error of a file that is no image."""
    return data_error(
        "data_dir",
        "every image must be readable",
        f"{path} ({type(error).__name__}: {error})",
        remedy_for(error, "repair or remove the file"),
    )


def _require_shallow(image: Image.Image, path: str) -> None:
    found = f"mode {image.mode}" if image.mode in DEEP_MODES else _deep_layout(image)
    if found:
        raise data_error(
            "data_dir",
            "images must hold 8 bits a channel",
            f"{found} in {path}",
            "convert the image beforehand",
        )


def _deep_layout(image: Image.Image) -> str:
    """How the channels lie in the file, if they are deeper than the mode that Pillow gives it."""
    if isinstance(image, TiffImageFile) and (bits := max(image.tag_v2.get(TIFF_BITS, (1,)))) > 8:
        return f"{bits} bits"
    for tile in getattr(image, "tile", ()):
        arguments = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if str(arguments[0]).endswith(DEEP_LAYOUTS):
            return str(arguments[0])
        if tile.codec_name == "ppm" and arguments[1] > 255:
            return f"values up to {arguments[1]}"
    return ""


def _require_single(image: Image.Image, path: str) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # cameras put a preview or depths behind the picture
        raise data_error(
            "data_dir",
            "every file must hold one image",
            f"{frames} in {path}",
            "keep one of them beforehand",
        )


def _require_upright(image: Image.Image, path: str) -> None:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except BROKEN_EXIF:  # then no program turns it
        return
    if orientation in range(UPRIGHT + 1, 9):
        raise data_error(
            "data_dir",
            "images must be stored upright",
            f"EXIF orientation {orientation} in {path}",
            "turn it beforehand, with PIL.ImageOps.exif_transpose say, or remove its EXIF data",
        )
