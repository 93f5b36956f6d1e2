"""A folder of images as arrays: train/<class>/* and test/<class>/*, decoded once into a cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from suite.data.image_cache import (
    PARTS,
    Listing,
    cache_entry,
    locked,
    read_cache,
    read_manifest,
    write_cache,
)
from suite.data.parts import (
    DataError,
    ImageParts,
    LabelledImages,
    UInt8Array,
    content_digest,
    data_error,
)

# Those that torchvision's ImageFolder accepts. Held here so that a start from the cache need not
# import torchvision; a test compares.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
GRAY_MODES = ("1", "L", "LA", "La")
# Pillow clips these to 8 bits rather than scaling them, which would destroy an image unnoticed.
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
# Below this many pixels nearly all the time goes into code that holds Python's lock: two threads
# took 1.1 to 1.4 times as long as one at 32x32, and half as long at 224x224 (PNG).
PIXELS_WORTH_A_THREAD = 64 * 64

Progress: TypeAlias = Callable[[int, int], None]


def read_image_folder(data_dir: Path, progress: Progress | None = None) -> ImageParts:
    """Read a folder of images, from the cache where that is fresh.

    Parameters
    ----------
    data_dir
        Holds train/<class>/* and test/<class>/*, images of one size in a format that
        `torchvision.datasets.ImageFolder` accepts. Files with other endings are passed over.
    progress
        Called now and then while decoding with (images done, images in all).

    Returns
    -------
    ImageParts
        Classes sorted by name; images in ImageFolder's order, 1 channel if all are gray, else 3
        (RGB). The arrays may be read-only and mapped from the cache.

    Raises
    ------
    DataError
        If train/ or test/, a class or all images are missing, a class is empty or in one part
        only, an image is unreadable, deeper than 8 bits or of another size than the first one, or
        the cache directory is not writable.
    """
    data_dir = data_dir.expanduser().resolve()
    listing = list_image_folder(data_dir)
    entry = cache_entry(data_dir)
    cached = read_cache(entry, listing)
    if cached is not None:
        return cached
    with locked(entry):
        cached = read_cache(entry, listing)  # another process may have written it meanwhile
        if cached is not None:
            return cached
        parts = _decode(data_dir, progress)
        write_cache(entry, listing, parts, data_dir)
    return parts


def image_folder_digest(data_dir: Path, progress: Progress | None = None) -> str:
    """Digest of a folder of images; reads no image while the cache is fresh.

    Raises
    ------
    DataError
        As `read_image_folder`.
    """
    data_dir = data_dir.expanduser().resolve()
    manifest = read_manifest(cache_entry(data_dir), list_image_folder(data_dir))
    if manifest is not None:
        return str(manifest["digest"])
    return read_image_folder(data_dir, progress).digest


def list_image_folder(data_dir: Path) -> Listing:
    """List classes and image files of both parts, sorted by name, and check the layout.

    Raises
    ------
    DataError
        If the folder does not hold at least 2 classes with images, the same in both parts.
    """
    listing: Listing = {}
    for part in PARTS:
        directory = data_dir / part
        if not directory.is_dir():
            raise data_error(
                "data_dir",
                f"must hold the directory {part}/",
                data_dir if data_dir.is_dir() else f"no directory {data_dir}",
                "lay the images out as train/<class>/* and test/<class>/*",
            )
        with os.scandir(directory) as entries:
            classes = sorted(entry.name for entry in entries if entry.is_dir())
        listing[part] = {name: _list_class(directory / name) for name in classes}
    _check_layout(data_dir, listing)
    return listing


def _list_class(directory: Path, prefix: str = "") -> list[str]:
    files: list[str] = []
    try:
        with os.scandir(directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = prefix + entry.name
                if entry.is_dir():
                    files += _list_class(directory / entry.name, f"{name}/")
                elif name.lower().endswith(EXTENSIONS):
                    status = entry.stat()
                    files.append(f"{status.st_size} {status.st_mtime_ns} {name}")
    except OSError as error:
        raise _unreadable(Path(error.filename or directory), error) from error
    return files


def _check_layout(data_dir: Path, listing: Listing) -> None:
    if not any(files for part in PARTS for files in listing[part].values()):
        raise data_error(
            "data_dir",
            f"must hold images ({' '.join(EXTENSIONS)}) in train/<class>/ and test/<class>/",
            f"no images under {data_dir}",
            "put each image into its class's directory",
        )
    for part, other in (PARTS, PARTS[::-1]):
        for name in listing[part]:
            if name not in listing[other]:
                raise data_error(
                    "data_dir",
                    "must hold the same classes in train/ and test/",
                    f"class {name} in {part}/ but not in {other}/ of {data_dir}",
                    f"add {other}/{name} or remove {part}/{name}",
                )
    if len(listing["train"]) < 2:
        raise data_error(
            "data_dir",
            "must hold at least 2 classes",
            f"{len(listing['train'])} ({', '.join(listing['train'])}) in {data_dir}",
            "add a directory per class to train/ and test/",
        )
    for part in PARTS:
        for name, files in listing[part].items():
            if not files:
                raise data_error(
                    "data_dir",
                    f"every class must hold images ({' '.join(EXTENSIONS)})",
                    f"none in {data_dir / part / name}",
                    "add images or remove the class from train/ and test/",
                )


def decode_image(path: str) -> UInt8Array:
    """Decode one image: shape (H, W) if it is gray, else (H, W, 3), RGB.

    Raises
    ------
    DataError
        If the file is not an image, is truncated or corrupt, or holds more than 8 bits a channel.
    """
    try:
        with Image.open(path) as opened:
            image: Image.Image = opened
            if image.mode in DEEP_MODES:
                raise data_error(
                    "data_dir",
                    "images must hold 8 bits a channel",
                    f"mode {image.mode} in {path}",
                    "convert the image beforehand",
                )
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")  # Pillow warns about the direct way
            return np.asarray(image.convert("L" if image.mode in GRAY_MODES else "RGB"))
    except DataError:
        raise
    except Exception as error:  # a decoder meets broken bytes with many types of exception
        raise _unreadable(Path(path), error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return data_error(
        "data_dir",
        "every image must be readable",
        f"{path} ({type(error).__name__}: {error})",
        "repair or remove the file",
    )


def _decode(data_dir: Path, progress: Progress | None) -> ImageParts:
    from torchvision.datasets import ImageFolder

    folders = [ImageFolder(data_dir / part, loader=decode_image) for part in PARTS]
    jobs = [(folder, index) for folder in folders for index in range(len(folder))]
    first = decode_image(folders[0].samples[0][0])
    height, width = first.shape[:2]
    # Gray images are stored as RGB at first: whether a color one follows is not known yet.
    images = np.empty((len(jobs), 3, height, width), np.uint8)
    labels = np.empty(len(jobs), np.int64)
    all_gray = True
    for done, (image, label) in enumerate(_decoded(jobs, progress, threads=_threads(first))):
        if image.shape[:2] != (height, width):
            folder, index = jobs[done]
            raise data_error(
                "data_dir",
                f"all images must be of one size, {width}x{height} as {folders[0].samples[0][0]}",
                f"{image.shape[1]}x{image.shape[0]} in {folder.samples[index][0]}",
                "resize the images beforehand",
            )
        all_gray = all_gray and image.ndim == 2
        images[done] = image if image.ndim == 2 else image.transpose(2, 0, 1)
        labels[done] = label
    if all_gray:
        images = np.ascontiguousarray(images[:, :1])
    split = len(folders[0])
    train = LabelledImages(images[:split], labels[:split])
    test = LabelledImages(images[split:], labels[split:])
    classes = tuple(folders[0].classes)
    return ImageParts(classes, train, test, content_digest((train, test), classes))


def _threads(first: UInt8Array) -> int:
    pixels = first.shape[0] * first.shape[1]
    return os.cpu_count() or 1 if pixels >= PIXELS_WORTH_A_THREAD else 1


def _decoded(
    jobs: list[tuple[Any, int]], progress: Progress | None, threads: int
) -> Iterator[tuple[UInt8Array, int]]:
    """Yield (image, label) in the jobs' order, decoding a hundredth of them at a time."""
    size = -(-len(jobs) // 100)
    chunks = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    pool = ThreadPoolExecutor(threads)
    try:
        done = 0
        for decoded in pool.map(lambda chunk: [folder[index] for folder, index in chunk], chunks):
            yield from decoded
            done += len(decoded)
            if progress is not None:
                progress(done, len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)
