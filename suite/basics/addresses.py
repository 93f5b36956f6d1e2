"""Addresses of stores and of state: of what kind they are, and that they carry no passwords."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from suite.basics.settings import ConfigError

SQLITE = "sqlite:///"
HIDDEN = "***"
FILE = "file://"
DATABRICKS = "databricks"  # an address of MLflow's that has no scheme
# Scheme to the package that reads it. An object appears whole with a single put; what other
# remote file systems promise differs from one to the next, so they are mounted instead.
OBJECT_STORES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}
# From the colon behind the user to the last @ of the address; but what begins as a port does ends
# the place, and an @ behind it is part of a path.
PASSWORD = re.compile(r"://(?P<user>[^:/?#@\[\s'\"]*):(?!\d+(?:[/?#\s'\"]|$))[^\s'\"]*@")
SECRET = re.compile(r"(?P<name>(?<=[?&])(?:password|passwd|sslpassword))=[^&#\s'\"]*")


def is_postgresql(address: str) -> bool:
    """Whether an address is that of a PostgreSQL database, with any driver."""
    return address.split(":", 1)[0].split("+", 1)[0] in ("postgresql", "postgres")


def is_address(place: str) -> bool:
    """Whether a state directory is no folder that this machine sees."""
    return "://" in place and not place.startswith(FILE)


def local_folder(address: str) -> Path | None:
    """The folder that an address names, whether it is there or not; None if it names no folder."""
    if address.startswith(FILE):
        return Path(url2pathname(urlsplit(address).path))
    if ":" in address or address.startswith(DATABRICKS):
        return None
    return Path(address).expanduser()


def check_state_dir(place: str) -> None:
    """Make sure that a state directory is of a kind that can be.

    Raises
    ------
    ValueError
        "rule|remedy", as the settings' own validators word it.
    """
    scheme = place.split("://", 1)[0]
    if is_address(place) and scheme not in OBJECT_STORES:
        known = ", ".join(f"{name}://" for name in OBJECT_STORES)
        raise ValueError(
            f"must be a folder or an address that begins with {known}|"
            "mount the file system and give the folder"
        )


def without_password(text: str) -> str:
    """An address, or a text with addresses in it, as it may be shown: a password is three stars.

    A password that should have been percent-encoded, and was not, is hidden as a whole.
    """
    text = PASSWORD.sub(rf"://\g<user>:{HIDDEN}@", text)
    return SECRET.sub(rf"\g<name>={HIDDEN}", text)


def refuse_password(setting: str, address: str) -> None:
    """See to it that an address, which processes hand on and print, carries no password.

    Raises
    ------
    ConfigError
        If it does; the line says where the password belongs, and does not repeat it.
    """
    shown = without_password(address)
    if shown == address:
        return
    database = not address.startswith("http")
    where = (
        "put it into ~/.pgpass or PGPASSWORD"
        if database
        else "put it into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    )
    raise ConfigError(f"{setting}: must carry no password, got {shown}; {where}")
