"""Leases: one holder on any machine, gone when it dies, and known to be lost when it lives on."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgresql_server import PostgresqlServer
from servers import free_port
from sqlalchemy import text

from suite.basics.settings import ConfigError
from suite.state import postgresql_leases
from suite.state.leases import FileLeases, LeaseLostError, Leases, LeasesAwayError, lease_database
from suite.state.postgresql_leases import SERVER_SETTINGS, PostgresLeases, exclusively
from suite.state.workspace import Workspace

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
PATIENCE = 30.0  # seconds
HOLDER = """
import sys
from pathlib import Path
from suite.state.leases import FileLeases
from suite.state.postgresql_leases import PostgresLeases
where, key = sys.argv[1:]
leases = PostgresLeases(where, "sweep") if "://" in where else FileLeases(Path(where))
lease = leases.take(key)
print("held" if lease else "busy", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def postgres_leases(postgresql: str) -> Iterator[Callable[[], PostgresLeases]]:
    """Makes leases as separate processes have them: each with a connection of its own."""
    made: list[PostgresLeases] = []

    def make(experiment: str = "sweep") -> PostgresLeases:
        made.append(PostgresLeases(postgresql, experiment))
        return made[-1]

    yield make
    for leases in made:
        leases.close()


@pytest.fixture(params=["files", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "files" else request.getfixturevalue("postgresql")


def leases_at(where: str) -> Leases:
    return PostgresLeases(where, "sweep") if "://" in where else FileLeases(Path(where))


def test_a_lease_ends_with_its_process_however_that_dies(where: str) -> None:
    command = [sys.executable, "-c", HOLDER, where, KEY]
    ours = leases_at(where)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            assert ours.take(KEY) is None
            other = ours.take(OTHER)  # other runs are free
            assert other is not None
        finally:
            os.kill(holder.pid, signal.SIGKILL)
    until = time.monotonic() + PATIENCE
    while (lease := ours.take(KEY)) is None:
        assert time.monotonic() < until, "the dead process keeps its lease"
        time.sleep(0.02)
    ours.confirm()
    assert lease.held
    lease.release()
    other.release()
    ours.close()


def test_a_process_does_not_have_a_lease_twice(where: str) -> None:
    leases = leases_at(where)
    first = leases.take(KEY)
    assert first is not None
    assert leases.take(KEY) is None
    first.release()
    assert not first.held
    second = leases.take(KEY)
    assert second is not None
    first.release()  # of no consequence for the second
    leases.confirm()
    assert second.held
    second.release()
    leases.close()


def test_short_work_is_done_by_one_at_a_time(where: str) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        with leases_at(where).exclusively("recipes"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_a_broken_connection_ends_its_leases_and_the_holder_learns_of_it(
    postgres_leases: Callable[[], PostgresLeases],
    postgresql_server: PostgresqlServer,
    postgresql: str,
) -> None:
    ours, theirs = postgres_leases(), postgres_leases()
    lost = ours.take(KEY)
    assert lost is not None
    assert postgresql_server.end_leases(postgresql) == 1
    taken = theirs.take(KEY)
    assert taken is not None, "the server has not ended the lease"
    ours.confirm()
    assert not lost.held
    lost.release()  # must not end the other's
    assert ours.take(KEY) is None
    theirs.confirm()
    assert taken.held


def test_leases_of_a_new_connection_do_not_bring_back_those_of_the_old(
    postgres_leases: Callable[[], PostgresLeases],
    postgresql_server: PostgresqlServer,
    postgresql: str,
) -> None:
    leases = postgres_leases()
    lost = leases.take(KEY)
    assert lost is not None
    postgresql_server.end_leases(postgresql)
    fresh = leases.take(OTHER)  # without a look at the first before
    assert fresh is not None
    leases.confirm()
    assert (lost.held, fresh.held) == (False, True)
    again = leases.take(KEY)
    assert again is not None
    lost.release()
    leases.confirm()
    assert again.held


def test_a_workspace_insists_on_every_lease(
    tmp_path: Path, postgresql_server: PostgresqlServer, postgresql: str
) -> None:
    workspace = Workspace(tmp_path, ("created 1", "1"), postgresql)
    leases = [workspace.take_lease(key) for key in (KEY, OTHER)]
    held = [lease for lease in leases if lease is not None]
    assert len(held) == 2
    workspace.require_held(held)
    assert workspace.is_held(held[0])
    postgresql_server.end_leases(postgresql)
    with pytest.raises(LeaseLostError, match="2 of 2 runs") as lost:
        workspace.require_held(held)
    assert "\n" not in str(lost.value)
    assert not workspace.is_held(held[0])
    workspace.leases.close()


def test_machines_with_different_folders_share_the_leases_of_an_experiment(
    tmp_path: Path, postgresql: str
) -> None:
    key = hashlib.sha256(b"created 1|1").hexdigest()[:8]
    (tmp_path / "b" / f"of-an-earlier-version-{key}").mkdir(parents=True)
    here, there, elsewhere = (
        Workspace(tmp_path / name, ("created 1", experiment), postgresql)
        for name, experiment in (("a", "1"), ("b", "1"), ("b", "2"))
    )
    assert here.take_lease(KEY) is not None
    assert there.take_lease(KEY) is None
    assert elsewhere.take_lease(KEY) is not None, "another experiment's run"
    for workspace in (here, there, elsewhere):
        workspace.leases.close()


def test_both_ends_notice_a_silent_peer(postgres_leases: Callable[[], PostgresLeases]) -> None:
    leases = postgres_leases()
    leases.check()
    shown = {
        name: leases._ask(text(f"SELECT setting FROM pg_settings WHERE name = '{name}'"))
        for name in SERVER_SETTINGS
    }
    assert shown == {name: str(value) for name, value in SERVER_SETTINGS.items()}


def test_a_server_that_does_not_answer_is_one_line_and_counts_the_seconds() -> None:
    leases = PostgresLeases(f"postgresql://suite@127.0.0.1:{free_port()}/sweep", "sweep")
    assert leases.seconds_away == 0
    for ask in (leases.check, lambda: leases.take(KEY)):
        with pytest.raises(LeasesAwayError, match="leases: PostgreSQL does not answer") as away:
            ask()
        assert "\n" not in str(away.value)
    assert leases.seconds_away > 0


@pytest.fixture
def pooler(postgresql: str, tmp_path: Path) -> Iterator[str]:
    """The database behind a real PgBouncer that pools by transaction."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    port, server = free_port(), postgresql.split("@")[1]
    host, database = server.split("/")
    settings = tmp_path / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{database} = host=127.0.0.1 port={host.split(':')[1]} user=suite\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
        f"pool_mode = transaction\nunix_socket_dir =\n"
        "ignore_startup_parameters = extra_float_digits\n"
    )
    settings.chmod(0o644)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:  # it refuses to be root, and another user has to get here
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    user = ["--user", "postgres"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, *user, str(settings)], stderr=subprocess.DEVNULL)
    yield f"postgresql://suite@127.0.0.1:{port}/{database}"
    process.kill()
    process.wait()


def test_a_connection_pooler_is_refused(pooler: str) -> None:
    with pytest.raises(ConfigError, match="got a connection pooler") as refusal:
        check_once_it_answers(pooler)
    assert "\n" not in str(refusal.value)


def check_once_it_answers(database: str) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            PostgresLeases(database, "sweep").check()
        except LeasesAwayError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def test_the_leases_are_in_the_database_that_all_workers_share() -> None:
    server, optuna, mlflow = "http://h:5000", "postgresql://h/optuna", "postgresql+psycopg://h/m"
    assert lease_database(server, optuna) == optuna
    assert lease_database(mlflow, optuna) == optuna
    assert lease_database(mlflow, "sqlite:///optuna.db") == mlflow
    assert lease_database(server, "sqlite:///optuna.db") == ""
    assert lease_database("sqlite:///mlflow.db", "") == ""


def test_a_password_in_the_storages_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="storage: must carry no password") as refusal:
        lease_database("http://h:5000", "postgresql://me:secret@h/optuna")
    assert "secret" not in str(refusal.value)
    assert "~/.pgpass" in str(refusal.value)


def test_without_a_driver_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'psycopg\[binary\]'") as refusal:
        PostgresLeases("postgresql://me@127.0.0.1/sweep", "sweep")
    assert "\n" not in str(refusal.value)


def test_work_that_fails_lets_the_next_in(postgresql: str) -> None:
    with pytest.raises(KeyError), exclusively(postgresql, "something"):
        raise KeyError
    with exclusively(postgresql, "something"):
        pass


def test_who_waits_for_another_machine_is_told_for_whom_and_not_for_ever(
    postgresql: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(postgresql_leases, "PATIENCE", 0.2)
    monkeypatch.setattr(postgresql_leases, "LINE_AFTER", 0.0)
    who = f"process {os.getpid()} on {socket.gethostname()}"[:63]
    with exclusively(postgresql, "create tables"):
        with exclusively(postgresql, "something else"):
            pass
        with (
            pytest.raises(TimeoutError, match=f"^create tables: done for 0 s by {who}; let it go"),
            exclusively(postgresql, "create tables"),
        ):
            pass
    assert capsys.readouterr().err == f"create tables: waits for {who}; gives up after 0 s\n"
    with exclusively(postgresql, "create tables"):
        pass
