"""Files of runs under way, each written whole or not at all: in a folder, or in an object store.

In a folder a file is written beside its place and renamed. In an object store it is one put, after
which readers have all of it and before which they have none.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import fsspec
from torch import Tensor

from suite.basics.settings import ConfigError
from suite.basics.state_dir import OBJECT_STORES
from suite.engine import checkpoint
from suite.engine.checkpoint import CheckpointError, RunState, write_tensors

REASON_LENGTH = 200


class StateFiles(Protocol):
    """Files by name: the slash parts folders."""

    def save(self, name: str, state: RunState) -> None:
        """Write a checkpoint."""

    def load(self, name: str) -> RunState | None:
        """A checkpoint; None if there is none."""

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write a safetensors file."""

    def write(self, name: str, text: str) -> None:
        """Write a text file."""

    def read(self, name: str) -> str:
        """A text file's content."""

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def folders_with(self, name: str) -> list[str]:
        """Those folders of the first level that have a file of this name, sorted."""

    def remove(self, folder: str, names: Sequence[str]) -> None:
        """Remove a folder: the files of these names one after the other, then any other."""

    def local(self, folder: str, names: Sequence[str]) -> AbstractContextManager[Path]:
        """A folder on this machine that holds these files of a folder while the block runs."""


class FolderFiles:
    """Files in a folder of this machine, or of a file system that machines share.

    Parameters
    ----------
    root
        The folder; it is made with the first file.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, name: str, state: RunState) -> None:
        """See :meth:`StateFiles.save`."""
        checkpoint.save(state, self._root / name)

    def load(self, name: str) -> RunState | None:
        """See :meth:`StateFiles.load`."""
        return checkpoint.load(self._root / name)

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`StateFiles.write_tensors`."""
        write_tensors(tensors, self._root / name, {})

    def write(self, name: str, text: str) -> None:
        """See :meth:`StateFiles.write`."""
        path = self._root / name
        scratch = path.with_name(f".{path.name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_text(text, encoding="utf-8")
            scratch.replace(path)
        except OSError as error:
            raise CheckpointError(
                f"state_dir: {path} cannot be written ({error}); "
                "free some space or choose another --state-dir"
            ) from error

    def read(self, name: str) -> str:
        """See :meth:`StateFiles.read`."""
        return (self._root / name).read_text(encoding="utf-8")

    def exists(self, name: str) -> bool:
        """See :meth:`StateFiles.exists`."""
        return (self._root / name).exists()

    def folders_with(self, name: str) -> list[str]:
        """See :meth:`StateFiles.folders_with`."""
        found = self._root.glob(f"*/{name}")
        return sorted(path.relative_to(self._root).parts[0] for path in found)

    def remove(self, folder: str, names: Sequence[str]) -> None:
        """See :meth:`StateFiles.remove`."""
        for name in names:
            (self._root / folder / name).unlink(missing_ok=True)
        shutil.rmtree(self._root / folder, ignore_errors=True)

    def local(self, folder: str, names: Sequence[str]) -> AbstractContextManager[Path]:
        """See :meth:`StateFiles.local`."""
        del names
        return nullcontext(self._root / folder)


class ObjectFiles:
    """Files in an object store, each one object.

    Parameters
    ----------
    root
        Their common address, as fsspec understands it.

    Raises
    ------
    ConfigError
        If the store's driver is not installed.
    """

    def __init__(self, root: str) -> None:
        self._address = root
        try:
            # Other machines write here too: a listing from before knows nothing of that.
            self._store, self._root = fsspec.core.url_to_fs(root, use_listings_cache=False)
        except ImportError as error:
            package = OBJECT_STORES.get(root.split("://", 1)[0], "the package it names")
            raise ConfigError(
                f"state_dir: needs a driver, got {root} ({_reason(error)}); pip install {package}"
            ) from None

    def save(self, name: str, state: RunState) -> None:
        """See :meth:`StateFiles.save`."""
        self._put(name, checkpoint.to_bytes(state))

    def load(self, name: str) -> RunState | None:
        """See :meth:`StateFiles.load`."""
        content = self._get(name)
        return None if content is None else checkpoint.from_bytes(content, self._shown(name))

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`StateFiles.write_tensors`."""
        self._put(name, checkpoint.tensors_to_bytes(tensors, {}))

    def write(self, name: str, text: str) -> None:
        """See :meth:`StateFiles.write`."""
        self._put(name, text.encode())

    def read(self, name: str) -> str:
        """See :meth:`StateFiles.read`."""
        content = self._get(name)
        if content is None:
            raise FileNotFoundError(f"state_dir: {self._shown(name)} is gone")
        return content.decode()

    def exists(self, name: str) -> bool:
        """See :meth:`StateFiles.exists`."""
        with self._answering("read", name):
            return bool(self._store.exists(f"{self._root}/{name}"))

    def folders_with(self, name: str) -> list[str]:
        """See :meth:`StateFiles.folders_with`."""
        with self._answering("read", name):
            found = self._store.glob(f"{self._root}/*/{name}")
        return sorted(path.removesuffix(f"/{name}").rpartition("/")[2] for path in found)

    def remove(self, folder: str, names: Sequence[str]) -> None:
        """See :meth:`StateFiles.remove`."""
        for name in names:
            with self._answering("removed", f"{folder}/{name}"):
                try:
                    self._store.rm_file(f"{self._root}/{folder}/{name}")
                except FileNotFoundError:
                    continue

    @contextmanager
    def local(self, folder: str, names: Sequence[str]) -> Iterator[Path]:
        """See :meth:`StateFiles.local`."""
        with tempfile.TemporaryDirectory() as scratch:
            for name in names:
                content = self._get(f"{folder}/{name}")
                if content is not None:
                    (Path(scratch) / name).write_bytes(content)
            yield Path(scratch)

    def _put(self, name: str, content: bytes) -> None:
        try:
            self._store.pipe_file(f"{self._root}/{name}", content)
        except Exception as error:  # every driver has its own
            raise CheckpointError(
                f"state_dir: {self._shown(name)} cannot be written ({_reason(error)}); "
                "see to its credentials and space, or choose another --state-dir"
            ) from error

    def _get(self, name: str) -> bytes | None:
        with self._answering("read", name):
            try:
                return bytes(self._store.cat_file(f"{self._root}/{name}"))
            except FileNotFoundError:
                return None

    @contextmanager
    def _answering(self, deed: str, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every driver has its own
            # No CheckpointError: that would give up the run, and the store is at fault.
            raise ConnectionError(
                f"state_dir: {self._shown(name)} cannot be {deed} ({_reason(error)}); "
                "see to its credentials and its connection"
            ) from error

    def _shown(self, name: str) -> str:
        return f"{self._address}/{name}"


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:REASON_LENGTH]
