"""Addresses of stores: of what kind they are, and that they carry no passwords."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from suite.basics.settings import ConfigError

SQLITE = "sqlite:///"
HIDDEN = "***"
SECRET_NAMES = ("password", "passwd", "sslpassword")


def is_postgresql(address: str) -> bool:
    """Whether an address is that of a PostgreSQL database, with any driver."""
    return address.split(":", 1)[0].split("+", 1)[0] in ("postgresql", "postgres")


def without_password(address: str) -> str:
    """The address as it may be shown: a password in it is three stars."""
    parts = urlsplit(address)
    place, query = parts.netloc, parts.query
    if parts.password is not None:
        login, _, host = place.rpartition("@")
        place = f"{login.partition(':')[0]}:{HIDDEN}@{host}"
    if any(name in SECRET_NAMES for name, _ in parse_qsl(query)):
        pairs = parse_qsl(query, keep_blank_values=True)
        shown = [(name, HIDDEN if name in SECRET_NAMES else value) for name, value in pairs]
        query = urlencode(shown, safe="*")
    if (place, query) == (parts.netloc, parts.query):
        return address
    return urlunsplit((parts.scheme, place, parts.path, query, parts.fragment))


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
