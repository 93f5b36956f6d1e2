"""Decoded images of folders on disk, one entry per resolved folder path, outside the folder.

An entry is used only while the list of files with their sizes and modification times is what it was
when the entry was written.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from suite.basics.errors import remedy_for
from suite.basics.files import cache_folder, written_whole
from suite.basics.locks import LONG_PATIENCE, locked_or
from suite.data.parts import DataError, ImageParts, LabelledImages, content_digest, data_error
from suite.declarations.stored import MALFORMED

PARTS = ("train", "test")
CACHE_FORMAT = 2  # 1 decoded images that are refused by now
WORK = "decodes the images of a folder"

# part -> class -> "bytes, modification time in ns, file name relative to the class" of each file
Listing: TypeAlias = dict[str, dict[str, list[str]]]


def cache_entry(data_dir: Path) -> Path:
    """Where the decoded images of a folder lie."""
    key = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return cache_folder() / f"folder-{key}"


def locked(entry: Path) -> AbstractContextManager[None]:
    """Keep other processes from writing an entry while the block runs.

    Raises
    ------
    DataError
        If the cache folder cannot be written.
    TimeoutError
        If another process holds it for an hour.
    """
    lock = entry.with_suffix(".lock")
    return locked_or(lock, WORK, partial(_not_writable, entry), seconds=LONG_PATIENCE)


def _not_writable(entry: Path, error: OSError) -> DataError:
    return data_error(
        "SUITE_CACHE_DIR",
        "must be a writable directory with room for the decoded images",
        f"{entry.parent} ({error.strerror})",
        remedy_for(error, "set SUITE_CACHE_DIR to another directory"),
    )


def _array_files(entry: Path) -> list[tuple[Path, Path]]:
    return [(entry / f"{part}_images.npy", entry / f"{part}_labels.npy") for part in PARTS]


def read_manifest(entry: Path, listing: Listing) -> dict[str, Any] | None:
    """What an entry says of itself.

    Returns
    -------
    dict or None
        None if there is no entry, if it is damaged, or if the folder's files have changed since.
    """
    try:
        manifest = json.loads((entry / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, *MALFORMED):
        return None
    if not isinstance(manifest, dict) or manifest.get("format") != CACHE_FORMAT:
        return None
    complete = isinstance(manifest.get("digest"), str) and manifest.get("classes") == sorted(
        listing["train"]
    )
    return manifest if complete and manifest.get("listing") == listing else None


def read_cache(entry: Path, listing: Listing) -> ImageParts | None:
    """The decoded images of an entry.

    Returns
    -------
    ImageParts or None
        The images are mapped from the entry's files and read-only. None if the entry cannot be
        used, as :func:`read_manifest` and the digest of its content tell.
    """
    manifest = read_manifest(entry, listing)
    if manifest is None:
        return None
    try:
        train, test = (
            LabelledImages(np.load(images, mmap_mode="r"), np.load(labels))
            for images, labels in _array_files(entry)
        )
    except (OSError, EOFError, *MALFORMED):
        return None
    # The digest is over the bytes just read, so an entry damaged on disk, or replaced between
    # opening its files, is decoded anew.
    classes = tuple(manifest["classes"])
    digest = content_digest((train, test), classes)
    return ImageParts(classes, train, test, digest) if digest == manifest["digest"] else None


def write_cache(entry: Path, listing: Listing, parts: ImageParts, data_dir: Path) -> None:
    """Replace an entry as a whole.

    Raises
    ------
    DataError
        If the cache folder cannot be written.
    """
    manifest = {
        "format": CACHE_FORMAT,
        "source": str(data_dir),
        "digest": parts.digest,
        "classes": parts.classes,
        "listing": listing,
    }
    try:
        with written_whole(entry) as written:
            written.mkdir()
            for part, (images, labels) in zip(
                (parts.train, parts.test), _array_files(written), strict=True
            ):
                np.save(images, part.images)
                np.save(labels, part.labels)
            (written / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    except OSError as error:
        raise _not_writable(entry, error) from error
