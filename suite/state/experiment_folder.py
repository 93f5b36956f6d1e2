"""Which folder of the state directory is an experiment's, whatever the experiment is called by now.

Its name holds what does not change: MLflow's id of the experiment, and a key of what tells it from
experiments of that id in other stores. For an SQLite file that is its path as seen from the state
directory, so that both may be moved together, and when the experiment was created, so that a new
store in the place of an old one has nothing of it. A server tells the latter alone.

Earlier versions named the folder after the experiment, with a key of the file's absolute path.
Where there is such a folder, it stays in use, so that a process of that version which still runs
and one of this version go by the same leases.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path

from suite.basics.sqlite_address import is_sqlite, sqlite_file

KEY_LENGTH = 8
FOLDER = re.compile(rf".+-[0-9a-f]{{{KEY_LENGTH}}}")


def find(root: Path | str, store: tuple[str, ...], there: Collection[str]) -> str:
    """The name of an experiment's folder.

    Parameters
    ----------
    root
        The state directory.
    store
        The store's address, or when a server says that the experiment was created; MLflow's id of
        the experiment; what else tells it from others.
    there
        The names of what is in the state directory.
    """
    own = _name(store, _seen_from(root, store))
    earlier = sorted(name for name in there if name.endswith(f"-{_key(store[:2])}"))
    return own if own in there or not earlier else earlier[0]


def lease_name(store: tuple[str, ...]) -> str:
    """What an experiment's leases in a database go by, on whichever machine its state is."""
    return _name(store, store[0])


def _name(store: tuple[str, ...], address: str) -> str:
    number = re.sub(r"[^\w.-]+", "-", store[1])
    return f"experiment-{number}-{_key((address, *store[1:]))}"


def _seen_from(root: Path | str, store: tuple[str, ...]) -> str:
    if not isinstance(root, Path) or not is_sqlite(store[0]):
        return store[0]
    return os.path.relpath(sqlite_file(store[0]), root.resolve())


def _key(parts: tuple[str, ...]) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:KEY_LENGTH]
