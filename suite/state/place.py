"""Where the state of runs under way is kept: a folder, or an address in an object store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from suite.basics.addresses import FILE, is_address
from suite.basics.sqlite_address import is_sqlite, sqlite_file


def locate(chosen: str, tracking_uri: str) -> Path | str:
    """The state directory: a folder as an absolute path, an object store's address as it is.

    Parameters
    ----------
    chosen
        The setting; empty is the default beside the store.
    """
    if not chosen:
        return default_state_dir(tracking_uri)
    if is_address(chosen):
        return chosen.rstrip("/")
    if chosen.startswith(FILE):
        return Path(unquote(urlsplit(chosen).path)).resolve()
    return Path(chosen).expanduser().resolve()


def default_state_dir(tracking_uri: str) -> Path:
    """Where state lives unless told otherwise: beside a SQLite store, else here."""
    if is_sqlite(tracking_uri):
        return sqlite_file(tracking_uri).parent / "state"
    return Path("state").resolve()


def log_folder(state_dir: Path | str, tracking_uri: str) -> Path:
    """Where workers' logs go, which stay on the machine that wrote them."""
    local = state_dir if isinstance(state_dir, Path) else default_state_dir(tracking_uri)
    return local / "log"
