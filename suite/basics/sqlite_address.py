"""Addresses of SQLite databases: the file that one names, and one spelling of it for all uses.

SQLAlchemy reads these addresses for MLflow and Optuna, so what it reads in them is what they mean:
``%20`` is a space (from SQLAlchemy 2.1 on), and what follows a ``?`` is no part of the name. Two
spellings of one file, taken for two stores, would have two sets of leases, and train every run
twice.
"""

from __future__ import annotations

from pathlib import Path

from suite.basics.addresses import SQLITE, without_password
from suite.basics.settings import ConfigError

DRIVERS = ("sqlite", "sqlite+pysqlite")
NO_FILE = (None, "", ":memory:")
# MLflow itself takes an escape in an address for a part of the name, and makes a folder of it.
RENAME = "give the folder a name without ? and %"
HOW = f"{SQLITE}NAME.db is a file in the working directory, {SQLITE}/FOLDER/NAME.db one anywhere"


def is_sqlite(address: str) -> bool:
    """Whether an address is meant to be that of an SQLite database, well-formed or not."""
    scheme, colon, _ = address.partition(":")
    return bool(colon) and scheme.partition("+")[0].lower() == "sqlite"


def sqlite_file(address: str, setting: str = "tracking_uri") -> Path:
    """The file that an SQLite address names: absolute, without links, ``~`` being the home folder.

    Parameters
    ----------
    address
        One for which :func:`is_sqlite` holds.
    setting
        What an error names.

    Raises
    ------
    ConfigError
        If it names none.
    """
    return _read(address, setting)[0]


def sqlite_address(address: str, setting: str = "tracking_uri") -> str:
    """The same address for every spelling of one file; what follows a ``?`` stays as it is.

    Raises
    ------
    ConfigError
        If it names no file.
    """
    path, query = _read(address, setting)
    return address_of(path) + (f"?{query}" if query else "")


def address_of(path: Path) -> str:
    """The address of an absolute path, in which nothing needs an escape."""
    return f"{SQLITE}{path}"


def _read(address: str, setting: str) -> tuple[Path, str]:
    """The file, and what follows the ``?``."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    def refused(rule: str, remedy: str = HOW) -> ConfigError:
        return ConfigError(f"{setting}: must {rule}, got {without_password(address)}; {remedy}")

    try:
        url = make_url(address)
    except ArgumentError:
        raise refused(f"begin with {SQLITE}") from None
    if url.drivername.lower() not in DRIVERS:
        raise refused("name no driver but Python's own sqlite3")
    if url.host is not None or url.username is not None:
        raise refused("have three slashes before a file's name")
    if url.database in NO_FILE or url.database.startswith("file:"):
        raise refused("name a file")
    written, _, after = address.partition(":///")[2].partition("?")
    if "?" in url.database or "/" in after or (after and not url.query):
        raise refused("name a file whose path has no ?", RENAME)
    try:
        path = Path(url.database).expanduser().resolve()
    except (RuntimeError, ValueError, OSError) as error:  # no such user, a loop of links
        raise refused(f"name a file that can be ({error})") from None
    if make_url(address_of(path)).database != str(path):
        raise refused(
            f"name a file whose path is read as it is written, which {path} is not", RENAME
        )
    if url.database != written and not path.parent.exists() and Path(written).parent.exists():
        raise refused(f"be read as it is written, and SQLAlchemy reads {path}", RENAME)
    if path.is_dir():
        raise refused("name a file, no folder", f"e.g. {SQLITE}{path / 'mlflow.db'}")
    return path, after
