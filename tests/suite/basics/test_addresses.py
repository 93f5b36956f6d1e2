"""Addresses of stores and of state: their kind, and their passwords kept out of sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.basics.addresses import (
    OBJECT_STORES,
    host_of,
    is_postgresql,
    local_folder,
    refuse_password,
    without_password,
)
from suite.basics.cli import complain
from suite.basics.settings import ConfigError
from suite.declarations.machine import Machine
from suite.tracking.runs import Tracker

SAFE = (
    "sqlite:////a/b.db",
    "http://127.0.0.1:5000",
    "https://me@mlflow.example.org/path?x=1",
    "postgresql://me@[::1]:5432/optuna?sslmode=verify-full",
    "http://h:5000/of/me@home?mail=a@b",
    "http://[::1]:5000/of/me@home",
    "",
)
UNSAFE = {
    "postgresql://me:secret@h:5432/d": "postgresql://me:***@h:5432/d",
    "postgresql+psycopg://me:se%40cret@h/d?sslmode=require": (
        "postgresql+psycopg://me:***@h/d?sslmode=require"
    ),
    "postgresql://h/d?user=me&password=secret": "postgresql://h/d?user=me&password=***",
    "https://me:secret@mlflow.example.org": "https://me:***@mlflow.example.org",
    "http://:secret@h:5000/": "http://:***@h:5000/",
    "postgresql://me:@h/d": "postgresql://me:***@h/d",
    "postgresql://me:se/cr@et?cret#cret@h:5432/d": "postgresql://me:***@h:5432/d",
    "http://me:5cret@h:5000": "http://me:***@h:5000",
    "postgresql://me:secret@h/d?passwd=cret&sslmode=require#x": (
        "postgresql://me:***@h/d?passwd=***&sslmode=require%23x"
    ),
    # Where RFC 3986 sees a port and a path, SQLAlchemy sees a password.
    "postgresql://leaky:12/secret@h:5432/d": "postgresql://leaky:***@h:5432/d",
    "postgresql+psycopg://leaky:5432#secret@h/d": "postgresql+psycopg://leaky:***@h/d",
    "POSTGRESQL://leaky:1?secret@h/d": "POSTGRESQL://leaky:***@h/d",
    "mysql+pymysql://leaky:12/secret@h/d": "mysql+pymysql://leaky:***@h/d",
    "postgresql://leaky:se cret'cret@h/d": "postgresql://leaky:***@h/d",
    "postgresql://leaky:12/se@cret@h/d": "postgresql://leaky:***@h/d",
}


@pytest.mark.parametrize("address", SAFE)
def test_an_address_without_password_stays_as_it_is(address: str) -> None:
    assert without_password(address) == address
    refuse_password("storage", address)


@pytest.mark.parametrize(("address", "shown"), UNSAFE.items())
def test_a_password_is_refused_and_never_repeated(address: str, shown: str) -> None:
    assert without_password(address) == shown
    with pytest.raises(ConfigError) as refusal:
        refuse_password("storage", address)
    assert shown in str(refusal.value)
    assert "cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("http://me:secret@127.0.0.1:1", "MLFLOW_TRACKING_PASSWORD"),
        ("postgresql://me:secret@127.0.0.1:1/mlflow", "~/.pgpass"),
    ],
)
def test_a_tracking_uri_with_a_password_is_refused_before_it_is_used(
    address: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match="tracking_uri: must carry no password") as refusal:
        Tracker("sweep", address)
    assert remedy in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_passwords_are_hidden_in_a_text_that_holds_addresses() -> None:
    text = "no answer from 'http://me:secret@h:5000/x' (asked me@h, then 'odd://a:cret@b')"
    shown = "no answer from 'http://me:***@h:5000/x' (asked me@h, then 'odd://a:***@b')"
    assert without_password(text) == shown
    text = "could not connect: postgresql://leaky:12/secret@h/d (as leaky@h)"
    assert without_password(text) == "could not connect: postgresql://leaky:***@h/d (as leaky@h)"


def test_an_error_line_of_a_command_holds_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    complain(ValueError("no answer from postgresql://leaky:1#secret@h/d\nand from http://h:5000"))
    shown = capsys.readouterr().err
    assert shown == (
        "error: no answer from postgresql://leaky:***@h/d\nerror: and from http://h:5000\n"
    )


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://127.0.0.1:5000/x", "127.0.0.1"),
        ("postgresql://me@localhost:5432/d", "localhost"),
        ("postgresql://leaky:12/secret@localhost/d", "localhost"),
        ("postgresql:///d?host=/tmp", None),
    ],
)
def test_the_host_is_the_one_that_is_connected_to(address: str, host: str | None) -> None:
    assert host_of(address) == host


def test_postgresql_is_known_with_any_driver() -> None:
    for address in ("postgresql://h/d", "postgresql+psycopg://h/d", "postgres://h/d"):
        assert is_postgresql(address)
    for address in ("sqlite:///postgresql.db", "http://postgresql", "mysql://h/d", ""):
        assert not is_postgresql(address)


@pytest.mark.parametrize("place", ["", "kept", "/mnt/kept", "file:///mnt/kept", "C:/odd"])
def test_folders_may_be_state_directories(place: str) -> None:
    assert Machine(state_dir=place).state_dir == place


@pytest.mark.parametrize("scheme", OBJECT_STORES)
def test_object_stores_may_be_state_directories(scheme: str) -> None:
    assert Machine(state_dir=f"{scheme}://bucket/kept").state_dir == f"{scheme}://bucket/kept"


@pytest.mark.parametrize("place", ["sftp://h/kept", "memory://kept", "https://h/kept", "://x"])
def test_other_addresses_are_refused_with_a_remedy(place: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Machine.parse({"state_dir": place})
    assert str(refusal.value).startswith("state_dir: must be a folder or an address that begins")
    assert str(refusal.value).endswith("; mount the file system and give the folder")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("address", "folder"),
    [
        ("exported", Path("exported")),
        ("./a b", Path("a b")),
        ("~/exported", Path("~/exported").expanduser()),
        ("file:///data/a%20b", Path("/data/a b")),
        ("sqlite:///mlflow.db", None),
        ("http://127.0.0.1:5000", None),
        ("databricks", None),
        ("uc:profile", None),
    ],
)
def test_a_folder_is_told_from_an_address(address: str, folder: Path | None) -> None:
    assert local_folder(address) == folder
