"""Addresses of stores: of what kind they are, and that they carry no passwords."""

from __future__ import annotations

import re

from suite.basics.settings import ConfigError

SQLITE = "sqlite:///"
HIDDEN = "***"
# From the colon behind the user to the last @ of the address; but what begins as a port does ends
# the place, and an @ behind it is part of a path.
PASSWORD = re.compile(r"://(?P<user>[^:/?#@\[\s'\"]*):(?!\d+(?:[/?#\s'\"]|$))[^\s'\"]*@")
SECRET = re.compile(r"(?P<name>(?<=[?&])(?:password|passwd|sslpassword))=[^&#\s'\"]*")


def is_postgresql(address: str) -> bool:
    """Whether an address is that of a PostgreSQL database, with any driver."""
    return address.split(":", 1)[0].split("+", 1)[0] in ("postgresql", "postgres")


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
