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
WEB = ("http", "https")
DATABASE = r"(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|sqlite)(?:\+\w+)?"
# From the colon behind the user to the last @ of the address. In that of a server, what begins as a
# port does ends the place, and an @ behind it is part of a path; SQLAlchemy knows no such rule.
PASSWORD = re.compile(
    rf"(?P<begin>\b{DATABASE}://[^:/@\s'\"]*:|"
    r"://[^:/?#@\[\s'\"]*:(?!\d+(?:[/?#\s'\"]|$)))[^\s'\"]*@",
    re.IGNORECASE,
)
SECRET = re.compile(r"(?P<name>(?<=[?&])(?:password|passwd|sslpassword))=[^&#\s'\"]*")


def is_postgresql(address: str) -> bool:
    """Whether an address is that of a PostgreSQL database, with any driver."""
    return address.split(":", 1)[0].split("+", 1)[0] in ("postgresql", "postgres")


def host_of(address: str) -> str | None:
    """The host that an address leads to, as what opens it understands it; None if to none."""
    if not re.match(rf"{DATABASE}://", address, re.IGNORECASE):
        return urlsplit(address).hostname
    from sqlalchemy import make_url

    return make_url(address).host


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

    A password that should have been percent-encoded, and was not, is hidden as a whole, unless it
    holds a space or a quotation mark and stands in the midst of a text.
    """
    if shown := _database_without_password(text):
        return shown
    text = PASSWORD.sub(rf"\g<begin>{HIDDEN}@", text)
    return SECRET.sub(rf"\g<name>={HIDDEN}", text)


def _database_without_password(address: str) -> str:
    """A database's address as it may be shown; empty if it has no password or is none.

    SQLAlchemy opens it, so what SQLAlchemy takes for the password is one: in
    ``postgresql://me:12/secret@h/d``, where RFC 3986 sees the port 12, too.
    """
    if not re.match(rf"{DATABASE}://", address, re.IGNORECASE):
        return ""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # a port that is no number: the patterns decide
        return ""
    if url.password is None:
        return ""
    if address.count("@") > 1:  # the password may hold one, and all that follows is part of it
        shown = re.sub(r"(://[^:/@]*):.*@", rf"\1:{HIDDEN}@", address, flags=re.DOTALL)
    else:
        shown = url.render_as_string(hide_password=True)
    return SECRET.sub(rf"\g<name>={HIDDEN}", shown)


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
    database = not address.startswith(WEB)
    where = (
        "put it into ~/.pgpass or PGPASSWORD"
        if database
        else "put it into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    )
    raise ConfigError(f"{setting}: must carry no password, got {shown}; {where}")
