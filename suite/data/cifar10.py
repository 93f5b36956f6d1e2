"""CIFAR-10 from its published Python files, fetched and unpacked where they are missing."""

from __future__ import annotations

import http.client
import tempfile
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.basics.files import written_whole
from suite.basics.locks import LONG_PATIENCE, locked_or
from suite.data.parts import DataError, ImageParts, LabelledImages, content_digest, data_error


def read_cifar10(root: Path, *, download: bool) -> ImageParts:
    """Read CIFAR-10 from its published files.

    Parameters
    ----------
    root
        Folder with cifar-10-batches-py, or with the archive, which is then unpacked.
    download
        Whether a missing archive is fetched.

    Raises
    ------
    DataError
        If the files are missing or do not have their published checksums.
    """
    from torchvision.datasets import CIFAR10

    batches = root / CIFAR10.base_folder
    if not batches.is_dir():  # it is written whole, so there is no need for the lock here
        _provide_cifar10(root, download)
    try:
        with warnings.catch_warnings():
            # NumPy 2.4.0 to 2.4.4 warn of dtypes pickled long ago, as these are, with 0 for False.
            warnings.filterwarnings("ignore", r"dtype\(\): align should be passed")
            train, test = (CIFAR10(root, train=part) for part in (True, False))
    except RuntimeError as error:
        raise _damaged(_first_damaged(batches) or batches, remove=batches) from error
    parts = LabelledImages(*_as_arrays(train)), LabelledImages(*_as_arrays(test))
    classes = tuple(train.classes)
    return ImageParts(classes, *parts, content_digest(parts, classes))


def _as_arrays(dataset: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    return dataset.data.transpose(0, 3, 1, 2), np.asarray(dataset.targets, np.int64)


def _first_damaged(batches: Path) -> Path | None:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    files = ((batches / name, md5) for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list, meta))
    return next((path for path, md5 in files if not check_integrity(path, md5)), None)


def _damaged(path: Path, remove: Path) -> DataError:
    return data_error(
        "data_dir",
        "CIFAR-10's files must have their published checksums",
        f"{path} ({'damaged' if path.exists() else 'missing'})",
        f"remove {remove} and start again with download on, or put the published files there",
    )


def _provide_cifar10(root: Path, download: bool) -> None:
    """Unpack the archive, after fetching it where it is missing and that is allowed."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity, download_and_extract_archive

    archive = root / CIFAR10.filename
    if not archive.exists() and not download:
        raise _no_cifar10(root, "download is off")
    with _locked(root):
        if (root / CIFAR10.base_folder).is_dir():
            return
        if archive.exists() and not check_integrity(archive, CIFAR10.tgz_md5):
            raise _damaged(archive, remove=archive)
        try:
            with (
                tempfile.TemporaryDirectory(prefix="cifar10.", dir=root) as staging,
                written_whole(root / CIFAR10.base_folder) as batches,
            ):
                download_and_extract_archive(
                    CIFAR10.url,
                    root if archive.exists() else staging,
                    extract_root=staging,
                    filename=CIFAR10.filename,
                    md5=CIFAR10.tgz_md5,
                )
                (Path(staging) / CIFAR10.base_folder).rename(batches)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            raise _no_cifar10(root, f"fetching and unpacking it failed: {error}") from error


def _locked(root: Path) -> AbstractContextManager[None]:
    def refused(error: OSError) -> DataError:
        return data_error(
            "data_dir",
            "must be a writable directory while it does not hold CIFAR-10",
            f"{root} ({error.strerror})",
            "set data_dir to another directory, or use dataset=digits",
        )

    lock = root / "cifar10.lock"
    return locked_or(lock, "provides CIFAR-10", refused, seconds=LONG_PATIENCE)


def _no_cifar10(root: Path, reason: str) -> DataError:
    from torchvision.datasets import CIFAR10

    return data_error(
        "data_dir",
        "must hold CIFAR-10",
        f"{root} without it ({reason})",
        f"put {CIFAR10.filename} or {CIFAR10.base_folder} there, "
        "or use dataset=digits or dataset=folder",
    )
