"""The right to train a run: one process has it, and it ends with that process however that dies.

Two ways to hold a lease, both kept by something that sees a process die, neither by a clock:

* a lock of the operating system on a file of the state directory, for processes of one machine;
* a session-level advisory lock of PostgreSQL, for processes of many machines, which the server
  drops with the connection (:mod:`suite.state.postgresql_leases`).

A connection can also break under a worker that is well. Its leases are then gone, and another
worker may have the runs by now, so a worker confirms its leases before whatever it writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from suite.basics.addresses import is_postgresql, refuse_password
from suite.basics.locks import locked
from suite.engine.checkpoint import CheckpointError
from suite.state.files import cannot_be_written


class LeaseLostError(ConnectionError):
    """A lease ended under its holder, who must write nothing more for the run."""


class LeasesAwayError(ConnectionError):
    """The server that keeps the leases does not answer."""


class Lease(Protocol):
    """The right to train one run."""

    @property
    def held(self) -> bool:
        """Whether it was still ours when the leases were last confirmed."""

    def release(self) -> None:
        """End it; nothing happens if it has ended already."""


class Leases(Protocol):
    """Where leases on the runs of one experiment are had."""

    def take(self, key: str) -> Lease | None:
        """The lease of this name, held until released; None if somebody has it, or we do.

        Raises
        ------
        CheckpointError
            If the state directory cannot be written.
        LeasesAwayError
            If the server does not answer.
        """

    def check(self) -> None:
        """Make sure that leases can be had.

        Raises
        ------
        ConfigError
            If what keeps them is none that can.
        LeasesAwayError
            If it does not answer.
        """

    def confirm(self) -> None:
        """Find out whether the leases taken are still ours."""

    def exclusively(self, what: str) -> AbstractContextManager[object]:
        """Wait until nobody else does `what`, and keep others from it while the block runs."""

    @property
    def seconds_away(self) -> float:
        """For how long the server that keeps the leases has not answered."""

    def close(self) -> None:
        """End all leases."""


def lease_database(tracking_uri: str, storage: str) -> str:
    """The PostgreSQL database that keeps the leases; empty where files do.

    All workers of an experiment must come to the same answer. Advisory locks are local to a
    database, so Optuna's goes first, which every sweep of an experiment shares.

    Raises
    ------
    ConfigError
        If the storage's address carries a password.
    """
    refuse_password("storage", storage)
    return next((uri for uri in (storage, tracking_uri) if is_postgresql(uri)), "")


class FileLeases:
    """Leases as locks on files, for the processes that see one of some folders.

    Parameters
    ----------
    folder
        The experiment's folder in the state directory.
    shared
        Another folder, which processes with other state directories see, too: a lease is to be had
        in both or not at all.
    """

    seconds_away = 0.0

    def __init__(self, folder: Path, shared: Path | None = None) -> None:
        # Everybody goes through the shared folder last, so that no two wait for one another.
        # One folder under two names would keep its own process out.
        apart = shared is not None and shared.resolve() != folder.resolve()
        self._folders = (folder, shared) if shared is not None and apart else (folder,)

    def take(self, key: str) -> Lease | None:
        """See :meth:`Leases.take`."""
        lease = _FileLease()
        for folder in self._folders:
            try:
                lease.add(folder / "leases" / key)
            except Timeout:
                lease.release()
                return None
            except OSError as error:
                lease.release()
                if folder is self._folders[0]:
                    raise cannot_be_written("state_dir", folder, error) from error
                raise CheckpointError(
                    f"leases: {folder} cannot be written ({error}), where all that use the SQLite "
                    "store beside it share their leases; make it writable"
                ) from error
        return lease

    def check(self) -> None:
        """Nothing to do: the first lease says what is wrong with the folder."""

    def confirm(self) -> None:
        """Nothing to ask: such a lock ends with its process, and never before."""

    def close(self) -> None:
        """Nothing to do: what is held ends with the process."""

    @contextmanager
    def exclusively(self, what: str) -> Iterator[None]:
        """See :meth:`Leases.exclusively`."""
        with ExitStack() as stack:
            for folder in self._folders:
                work = f"has the {what} of this experiment"
                stack.enter_context(locked(folder / f"{what}.lock", work))
            yield


class _FileLease:
    def __init__(self) -> None:
        self._locks: list[FileLock] = []

    def add(self, path: Path) -> None:
        # The lock files stay: removing one could let two processes lock two files of one name.
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, thread_local=False)
        lock.acquire(timeout=0)
        self._locks.append(lock)

    @property
    def held(self) -> bool:
        return all(lock.is_locked for lock in self._locks)

    def release(self) -> None:
        for lock in self._locks:
            lock.release()
