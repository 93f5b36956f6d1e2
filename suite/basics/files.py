"""Files written whole or not at all, and where data and what can be made again lie."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

# What is answered where a folder cannot be flushed: by some network mounts, and for a folder that
# may be written but not read. The renaming is then as safe as the file system makes it.
NO_FLUSHING = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)
# What is answered where a file cannot have a second name.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Write a file, or a folder of files, so that `path` never holds part of it.

    The block writes to the path that it is given, which lies beside `path` under a name of its own.
    When the block ends, what it wrote is flushed to the disk and renamed to `path`, and the
    renaming is flushed, too: nothing that is written later outlives a power failure without it.
    If the block fails, what it wrote is removed, and `path` is as before.

    A file is exchanged for an older one in a single step. A folder cannot be: the older one is
    removed first, and a process that is killed just then leaves neither.

    A process that is killed in the block leaves what it wrote, under a name that begins with a
    dot. No two blocks write under one name, so processes may write the same file at once: the
    last one stays.

    Parameters
    ----------
    path
        The file or folder; the folders above it are made.

    Yields
    ------
    Path
        Where to write; nothing is there yet.

    Raises
    ------
    OSError
        If the disk is full, say.
    """
    with _beside(path) as scratch:
        yield scratch
        _flush_all(scratch)
        if scratch.is_dir() and path.is_dir():
            shutil.rmtree(path)
        scratch.replace(path)


@contextmanager
def made_once(path: Path) -> Iterator[Path]:
    """Make a file that is not there, so that `path` never holds part of it nor loses what it holds.

    As :func:`written_whole`, but where another process has made the file meanwhile, that one stays
    and this one's is removed. So processes may make it at once, and none has to wait.

    Parameters
    ----------
    path
        The file; the folders above it are made.

    Yields
    ------
    Path
        Where to write; nothing is there yet.

    Raises
    ------
    OSError
        If the disk is full, say.
    """
    with _beside(path) as scratch:
        yield scratch
        _flush(scratch)
        _put_new(scratch, path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name beside `path`; what still has it in the end is removed, and the folder is flushed."""
    _make_folder(path.parent)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        yield scratch
    finally:
        _remove(scratch)
    _flush_folder(path.parent)  # else a power failure could undo what was renamed


def _put_new(scratch: Path, path: Path) -> None:
    """Give a file its name, unless there is one of this name."""
    try:
        path.hardlink_to(scratch)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # On such a file system (FAT, some mounts) two that come here in the same microseconds
        # are not told apart.
        if not path.exists():
            scratch.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 as :func:`written_whole` does."""
    with written_whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def cache_folder() -> Path:
    """Where measurements and copies are kept: $SUITE_CACHE_DIR, or the user's cache folder."""
    chosen = os.environ.get("SUITE_CACHE_DIR")
    return Path(chosen).expanduser() if chosen else user_cache_path("initialization-memory", False)


def data_folder(named: str | Path | None = None) -> Path:
    """Where data sets lie: the folder named, or $SUITE_DATA_DIR, or data in the working directory.

    Parameters
    ----------
    named
        A folder; empty or None: none is named.
    """
    return Path(named or os.environ.get("SUITE_DATA_DIR") or "data").expanduser()


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each of them on the disk when this returns."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _flush_folder(folder.parent)


def _flush_all(path: Path) -> None:
    """Wait until a file, or a folder with all that it holds, is on the disk."""
    if not path.is_dir():
        _flush(path)
        return
    for entry in path.iterdir():
        _flush_all(entry)
    _flush_folder(path)


def _flush_folder(folder: Path) -> None:
    try:
        _flush(folder)
    except OSError as error:
        if error.errno not in NO_FLUSHING:
            raise


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # the failure of the block says more
            path.unlink()
