"""A folder of images as arrays: train/<class>/* and test/<class>/*, decoded once into a cache."""

from __future__ import annotations

import os
import stat
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from suite.data.image_cache import (
    PARTS,
    Listing,
    cache_entry,
    locked,
    read_cache,
    read_manifest,
    write_cache,
)
from suite.data.image_file import decode_image, image_size, unreadable
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
# What programs leave beside images besides hidden files: thumbnails, or a system's own data.
BESIDE = ("__MACOSX", "@eaDir")
# Below this many pixels nearly all the time goes into code that holds Python's lock: two threads
# took 1.1 to 1.4 times as long as one at 32x32, and half as long at 224x224 (PNG).
PIXELS_WORTH_A_THREAD = 64 * 64

Size: TypeAlias = tuple[int, int]  # width, height
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
        only or spelled in two ways, an image is hidden, unreadable, turned by its EXIF data, one of
        several in its file, deeper than 8 bits or of another size than the first one, if they do
        not fit in memory, or the cache directory is not writable.
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
        with warnings.catch_warnings():
            # Pillow's doubts about single files: those that matter here are refused.
            warnings.filterwarnings("ignore", module="PIL")
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
                    if any(map(_is_beside, name.split("/"))):
                        raise _hidden(directory / entry.name)
                    status = entry.stat()
                    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for for ever
                        raise unreadable(directory / entry.name, OSError("a pipe or a device"))
                    files.append(f"{status.st_size} {status.st_mtime_ns} {name}")
    except OSError as error:
        raise unreadable(Path(error.filename or directory), error) from error
    return files


def _hidden(path: Path) -> DataError:
    return data_error(
        "data_dir",
        f"images and classes must not be hidden or in {' or '.join(BESIDE)}",
        f"{path}, as notebooks and file managers leave copies behind",
        "remove it, or rename it if it is meant",
    )


def _is_beside(name: str) -> bool:
    return name.startswith(".") or name in BESIDE


def _check_layout(data_dir: Path, listing: Listing) -> None:
    if not any(files for part in PARTS for files in listing[part].values()):
        raise data_error(
            "data_dir",
            f"must hold images ({' '.join(EXTENSIONS)}) in train/<class>/ and test/<class>/",
            f"no images under {data_dir}",
            "put each image into its class's directory",
        )
    _check_names(data_dir, listing)
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


def _check_names(data_dir: Path, listing: Listing) -> None:
    spelled: dict[str, str] = {}
    for part in PARTS:
        for name in listing[part]:
            if _is_beside(name):
                raise _hidden(data_dir / part / name)
            other = spelled.setdefault(unicodedata.normalize("NFC", name), name)
            if other != name:
                raise data_error(
                    "data_dir",
                    "class names must differ by more than the Unicode form of their letters",
                    f"{other!a} and {name!a} in {data_dir}",
                    "spell the class in one way",
                )


def _decode(data_dir: Path, progress: Progress | None) -> ImageParts:
    from torchvision.datasets import ImageFolder

    folders = [ImageFolder(data_dir / part, loader=decode_image) for part in PARTS]
    jobs = [(folder, index) for folder in folders for index in range(len(folder))]
    first = decode_image(folders[0].samples[0][0])
    height, width = first.shape[:2]
    size = (width, height)
    # Gray images are stored as RGB at first: whether a color one follows is not known yet.
    images = _room(folders, size)
    labels = np.empty(len(jobs), np.int64)
    all_gray = True
    for done, (image, label) in enumerate(_decoded(jobs, progress, threads=_threads(first))):
        if image.shape[:2] != (height, width):
            folder, index = jobs[done]
            first_path = folders[0].samples[0][0]
            found = (image.shape[1], image.shape[0])
            raise _another_size(first_path, size, folder.samples[index][0], found)
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


def _another_size(first_path: str, first: Size, path: str, found: Size) -> DataError:
    return data_error(
        "data_dir",
        f"all images must be of one size, {first[0]}x{first[1]} as {first_path}",
        f"{found[0]}x{found[1]} in {path}",
        "resize the images beforehand",
    )


def _room(folders: list[Any], size: Size) -> UInt8Array:
    """Memory for all images, if they are as large as the first one."""
    paths = [path for folder in folders for path, _ in folder.samples]
    width, height = size
    needed = len(paths) * 3 * height * width
    try:
        if needed > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
            raise MemoryError
        return np.empty((len(paths), 3, height, width), np.uint8)
    except MemoryError as error:
        for path in paths:  # then the first one may be the only one that is so large
            if (found := image_size(path)) != size:
                raise _another_size(paths[0], size, path, found) from error
        raise data_error(
            "data_dir",
            "all images must fit in the machine's memory",
            f"{len(paths):,} of {width}x{height}, {needed / 2**30:,.1f} GiB",
            "resize the images beforehand",
        ) from error


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
