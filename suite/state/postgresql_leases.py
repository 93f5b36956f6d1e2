"""Leases as advisory locks of PostgreSQL, for processes of many machines.

The server drops such a lock with the connection that took it: at once when the process dies, after
`UNREACHABLE_SECONDS` without an answer when its whole machine does.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, TextClause, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError

from suite.basics.addresses import without_password
from suite.basics.errors import first_line
from suite.basics.locks import BETWEEN_LOOKS, LINE_AFTER, PATIENCE
from suite.basics.settings import ConfigError
from suite.state.leases import Lease, LeasesAwayError

# A silent peer is asked after so many seconds, again in between, and given up after so many tries.
IDLE_SECONDS, PROBE_SECONDS, PROBES = 30, 10, 3
UNREACHABLE_SECONDS = IDLE_SECONDS + PROBE_SECONDS * PROBES
CONNECT_SECONDS = 10

# Our end of the connection, as libpq names it; and the server's end, as PostgreSQL does.
CLIENT_SETTINGS = {
    "application_name": "initialization-memory leases",
    "connect_timeout": CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": IDLE_SECONDS,
    "keepalives_interval": PROBE_SECONDS,
    "keepalives_count": PROBES,
    "tcp_user_timeout": UNREACHABLE_SECONDS * 1000,
}
SERVER_SETTINGS = {
    "tcp_keepalives_idle": IDLE_SECONDS,
    "tcp_keepalives_interval": PROBE_SECONDS,
    "tcp_keepalives_count": PROBES,
    "tcp_user_timeout": UNREACHABLE_SECONDS * 1000,
    "idle_session_timeout": 0,
}
# Joined with pg_settings, since not every version has every setting.
SET = text("SELECT set_config(name, :value, false) FROM pg_settings WHERE name = :name")
WHO = text("SELECT pg_backend_pid()")
TAKE = text("SELECT pg_try_advisory_lock(:number)")
GIVE_BACK = text("SELECT pg_advisory_unlock(:number)")
TRY = text("SELECT pg_try_advisory_xact_lock(:number)")
# The lock's number stands there in two halves.
HOLDER = text(
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (l.classid::bigint << 32) | l.objid::bigint = :number"
)


class PostgresLeases:
    """Leases as PostgreSQL's advisory locks, for processes anywhere.

    All leases of a process are held by one connection, which opens with the first of them.

    Parameters
    ----------
    database
        Its address.
    experiment
        What tells the experiment from all others on every machine.

    Raises
    ------
    ConfigError
        If there is no driver for PostgreSQL.
    """

    def __init__(self, database: str, experiment: str) -> None:
        self._database, self._experiment = database, experiment
        self._engine = _engine(database)
        self._connection: Connection | None = None
        self._session = 0  # counts connections: a lease belongs to the one it was taken on
        self._taken: set[str] = set()
        self._away_since: float | None = None
        self._lock = threading.RLock()  # training and the MLflow writer both ask

    @property
    def seconds_away(self) -> float:
        """See :meth:`Leases.seconds_away`."""
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    def take(self, key: str) -> Lease | None:
        """See :meth:`Leases.take`."""
        with self._lock:
            if key in self._taken or not self._ask_again_once(TAKE, number=self._number(key)):
                return None
            self._taken.add(key)
            return _PostgresLease(self, key, self._session)

    def check(self) -> None:
        """See :meth:`Leases.check`."""
        with self._lock:
            self._ask_again_once(WHO)

    def confirm(self) -> None:
        """See :meth:`Leases.confirm`: one round trip to the server."""
        with self._lock, suppress(OperationalError):  # which ends all leases, as `held` tells
            if self._connection is not None:
                self._ask(WHO)

    def exclusively(self, what: str) -> AbstractContextManager[object]:
        """See :meth:`Leases.exclusively`."""
        return exclusively(self._database, f"{self._experiment}/{what}")

    def close(self) -> None:
        """See :meth:`Leases.close`."""
        with self._lock:
            self._drop()

    def holds(self, session: int) -> bool:
        """Whether leases taken on a connection are held."""
        return session == self._session and self._connection is not None

    def give_back(self, key: str, session: int) -> None:
        """Release a lease, if its connection still is there."""
        with self._lock:
            if self.holds(session) and key in self._taken:
                self._taken.remove(key)
                with suppress(OperationalError):  # the server has released it already
                    self._ask(GIVE_BACK, number=self._number(key))

    def _number(self, key: str) -> int:
        return _number(f"{self._experiment}/{key}")

    def _ask_again_once(self, question: TextClause, **values: Any) -> Any:
        """An answer, if need be on a new connection: the old one may have died long ago."""
        if self._connection is not None:
            with suppress(OperationalError):
                return self._ask(question, **values)
        try:
            return self._ask(question, **values)
        except OperationalError as error:
            raise LeasesAwayError(
                f"leases: PostgreSQL does not answer ({first_line(error.orig or error)}); "
                "see to it and start the command again"
            ) from error

    def _ask(self, question: TextClause, **values: Any) -> Any:
        try:
            if self._connection is None:
                self._connection = self._connect()
            answer = self._connection.execute(question, values).scalar()
        except OperationalError:
            self._away_since = self._away_since or time.monotonic()
            self._drop()
            raise
        self._away_since = None
        return answer

    def _connect(self) -> Connection:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            for name, value in SERVER_SETTINGS.items():
                connection.execute(SET, {"name": name, "value": str(value)})
            _refuse_pooler(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop(self) -> None:
        """Forget a connection, and with it all leases that were taken on it."""
        self._session += 1
        self._taken.clear()
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


class _PostgresLease:
    def __init__(self, leases: PostgresLeases, key: str, session: int) -> None:
        self._leases, self._key, self._session = leases, key, session
        self._released = False

    @property
    def held(self) -> bool:
        return not self._released and self._leases.holds(self._session)

    def release(self) -> None:
        if not self._released:
            self._released = True
            self._leases.give_back(self._key, self._session)


def _refuse_pooler(connection: Connection) -> None:
    """A pooler answers with a process id of its own, and hands one session's locks to another."""
    driver: Any = connection.connection.dbapi_connection
    if driver.info.backend_pid != connection.execute(WHO).scalar():
        raise ConfigError(
            "storage: must lead to PostgreSQL itself, got a connection pooler, on which locks "
            "are not safe; give the server's own port"
        )


@contextmanager
def exclusively(database: str, what: str) -> Iterator[None]:
    """Wait until nobody on any machine does `what`, and keep others from it meanwhile.

    For short work, such as creating tables: the lock lives in an open transaction.

    Raises
    ------
    TimeoutError
        If somebody does it for longer than `PATIENCE`: one line that says who.
    """
    number = _number(what)
    with _engine(database, application_name=_me()).begin() as connection:
        began = time.monotonic()
        said = False
        while not connection.execute(TRY, {"number": number}).scalar():
            waited = time.monotonic() - began
            if waited > PATIENCE:
                raise TimeoutError(
                    f"{what}: done for {PATIENCE:.0f} s by {_holder(connection, number)}; let it "
                    "go on (fg, kill -CONT), or end it, and start the command again"
                )
            if waited > LINE_AFTER and not said:
                said = True
                who = _holder(connection, number)
                line = f"{what}: waits for {who}; gives up after {PATIENCE:.0f} s"
                print(line, file=sys.stderr, flush=True)
            time.sleep(BETWEEN_LOOKS)
        yield


def _me() -> str:
    """What this process is called by others that wait for it; PostgreSQL keeps 63 bytes."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _holder(connection: Connection, number: int) -> str:
    return str(connection.execute(HOLDER, {"number": number}).scalar() or "another process")


def _engine(database: str, **changed: Any) -> Engine:
    url = make_url(database)
    if "+" not in url.drivername:
        url = url.set(drivername="postgresql+psycopg")
    settings = CLIENT_SETTINGS | changed
    try:
        return create_engine(url, poolclass=NullPool, connect_args=settings)
    except (ArgumentError, ImportError) as error:
        raise ConfigError(
            f"storage: must be a database URL whose driver is installed, got "
            f"{without_password(database)!r} ({first_line(error)}); pip install 'psycopg[binary]'"
        ) from None


def _number(name: str) -> int:
    """A name as the 64-bit number that an advisory lock has."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
