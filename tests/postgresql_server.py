"""A real PostgreSQL of the tests' own, on loopback, whose databases come and go."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from servers import Server, free_port

PATIENCE = 120.0  # seconds for a server to answer
LEASES = "initialization-memory leases"


def binaries() -> Path:
    """The folder with PostgreSQL's programs; Debian keeps them out of the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("the PostgreSQL server (initdb, postgres) is not installed")


def _user() -> str | None:
    """Whom to run it as: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")


class PostgresqlServer(Server):
    """A server which can be stopped, started again, and watched."""

    def __init__(self, network: str = "") -> None:
        """`network` is one more address to listen on, with its prefix length: 10.0.0.1/24."""
        pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed")
        self._binaries, self._user, self.port = binaries(), _user(), free_port()
        # Made by the user who owns it, and short: a socket's path has at most 107 characters.
        made = self._run(["mktemp", "-d"], cwd="/")
        self._folder = Path(made.stdout.strip())
        self._process: subprocess.Popen[bytes] | None = None
        self._address = network.partition("/")[0] or "127.0.0.1"
        self._names = count()
        command = [str(self._binaries / "initdb"), "--pgdata", str(self._folder / "data")]
        self._run(
            [
                *command,
                "--locale",
                "C",
                "--username",
                "suite",
                "--auth",
                "trust",
                "--no-sync",
                "-E",
                "UTF8",
            ]
        )
        if network:
            with (self._folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {network} trust\n")

    def _run(self, command: list[str], cwd: str = "") -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {"user": self._user, "cwd": cwd or self._folder}
        return subprocess.run(command, check=True, capture_output=True, text=True, **options)

    def start(self) -> None:
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data")]
        command += [
            "-p",
            str(self.port),
            "-k",
            str(self._folder),
            "-h",
            f"127.0.0.1,{self._address}",
        ]
        command += ["-c", "fsync=off", "-c", "log_destination=stderr"]
        options: dict[str, Any] = {"user": self._user, "cwd": self._folder}
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, f"it ended with {self._process.returncode}"
            assert time.monotonic() < until, "it does not answer"
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it at once, whoever is connected."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGINT)  # SIGTERM would wait for the clients
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def url(self, database: str) -> str:
        return f"postgresql://suite@{self._address}:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test{next(self._names)}"
        self.rows("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """What SQL sees; `database` is a name or a URL."""
        import psycopg

        address = database if "://" in database else self.url(database)
        with closing(psycopg.connect(address, autocommit=True)) as connection:
            cursor = connection.execute(query)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def end_leases(self, database: str) -> int:
        """Break the connections that hold leases, as a lost network would; their number."""
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE application_name = '{LEASES}' AND datname = current_database()"
        )
        return len(self.rows(database, query))
