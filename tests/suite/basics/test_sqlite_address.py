"""SQLite addresses: one file has one spelling, which MLflow and SQLAlchemy open, too."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from suite.basics.settings import ConfigError
from suite.basics.sqlite_address import is_sqlite, sqlite_address, sqlite_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a b@c:d#e").mkdir()
    (tmp_path / "link").symlink_to("a b@c:d#e")
    return tmp_path


@pytest.mark.parametrize(
    "spelling",
    [
        "sqlite:///{}/a b@c:d#e/x.db",
        "sqlite:///{}/a%20b%40c:d%23e/x.db",
        "sqlite+pysqlite:///{}/link/x.db",
        "SQLite:///link/../link/x.db",
        "sqlite:///~/link/x.db",
    ],
)
def test_every_spelling_of_a_file_becomes_one_and_sqlalchemy_opens_that_file(
    folder: Path, spelling: str
) -> None:
    file = folder / "a b@c:d#e" / "x.db"
    address = sqlite_address(spelling.format(folder))
    assert address == f"sqlite:///{file}"
    assert sqlite_address(address) == address
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE mark (x)")
    engine.dispose()
    database = sqlite3.connect(file)
    assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("mark",)]
    database.close()


def test_what_follows_the_question_mark_stays_and_is_no_part_of_the_name(folder: Path) -> None:
    address = "sqlite:///x.db?timeout=60"
    assert sqlite_file(address) == folder / "x.db"
    assert sqlite_address(address) == f"sqlite:///{folder}/x.db?timeout=60"


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("sqlite://x.db", "three slashes"),
        ("sqlite://home/me/x.db", "three slashes"),
        ("sqlite:x.db", "begin with sqlite:///"),
        ("sqlite://", "name a file"),
        ("sqlite:///", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:///file:x.db?uri=true", "name a file"),
        ("sqlite:///~nobody-of-this-name/x.db", "name a file that can be"),
        ("sqlite+aiosqlite:///x.db", "no driver"),
        ("sqlite:///link", "no folder"),
        ("sqlite:///what?/x.db", "no ?"),
        ("sqlite:///what%3F/x.db", "no ?"),
        ("sqlite:///a%2520b/x.db", "read as it is written"),
    ],
)
def test_an_address_that_names_no_file_is_refused_in_one_line_with_a_remedy(
    folder: Path, address: str, rule: str
) -> None:
    assert is_sqlite(address)
    with pytest.raises(ConfigError) as refusal:
        sqlite_file(address, "storage")
    line = str(refusal.value)
    assert line.startswith("storage: must ")
    assert rule in line
    assert f"got {address}; " in line
    assert "\n" not in line


def test_a_folder_that_is_there_is_not_taken_for_what_its_escapes_mean(folder: Path) -> None:
    (folder / "a%20b").mkdir()
    with pytest.raises(ConfigError, match="read as it is written"):
        sqlite_file(f"sqlite:///{folder}/a%20b/x.db")
    (folder / "a b").mkdir()
    assert sqlite_file(f"sqlite:///{folder}/a%20b/x.db") == folder / "a b" / "x.db"


def test_other_addresses_are_not_taken_for_sqlite() -> None:
    for address in ("postgresql://h/sqlite", "http://sqlite", "sqlite", "", "exported/sqlite:x"):
        assert not is_sqlite(address)
