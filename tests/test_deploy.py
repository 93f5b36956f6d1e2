"""What starts the shared store: nothing beyond loopback, no password in the open."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import yaml
from postgresql_server import binaries, free_port

DEPLOY = Path(__file__).parents[1] / "deploy"
SCRIPT = DEPLOY / "local.sh"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return content


def test_containers_are_reached_from_this_machine_alone(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["ports"], name
        assert all(str(port).startswith("127.0.0.1:") for port in service["ports"]), name
        assert "network_mode" not in service


def test_the_containers_password_comes_from_a_file_that_is_not_in_the_repository(
    compose: dict[str, Any],
) -> None:
    secrets = [
        value
        for service in compose["services"].values()
        for name, value in service["environment"].items()
        if "PASSWORD" in name
    ]
    assert len(secrets) == 2
    assert all(value.startswith("${POSTGRES_PASSWORD:?") for value in secrets), "no default"
    assert (
        "scram-sha-256" in compose["services"]["postgresql"]["environment"]["POSTGRES_INITDB_ARGS"]
    )
    assert ".env" in (DEPLOY / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_containers_keep_their_data_and_say_when_they_are_ready(compose: dict[str, Any]) -> None:
    named = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service["volumes"]
        if not volume.startswith(".")
    }
    assert named == set(compose["volumes"])
    assert all("healthcheck" in service for service in compose["services"].values())
    waits = compose["services"]["mlflow"]["depends_on"]
    assert waits == {"postgresql": {"condition": "service_healthy"}}
    for file in ("databases.sql", "mlflow.Dockerfile"):
        assert (DEPLOY / file).exists()


def script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments],
        env=os.environ | {"PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["start"], "error: DIR: must be a folder, got nothing"),
        (["start", "somewhere", "--atuh"], "error: --atuh: is no option"),
        (["begin", "somewhere"], "usage: "),
        ([], "usage: "),
    ],
)
def test_a_wrong_command_line_is_answered_before_anything_happens(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = script(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith(line)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["stop", "env"])
def test_what_was_never_started_is_not_made(command: str, tmp_path: Path) -> None:
    ended = script(command, str(tmp_path / "store"))
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: DIR: nothing was ever started here")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder where another user gets to, as PostgreSQL's must when this is root."""
    made = Path(mkdtemp())
    made.chmod(0o711)
    yield made / "store"
    script("stop", str(made / "store"))
    shutil.rmtree(made)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_script_starts_both_servers_on_loopback_with_a_password_and_keeps_their_data(
    folder: Path,
) -> None:
    psycopg = pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed")
    binaries()
    ports = {"MLFLOW_PORT": str(free_port()), "PGPORT": str(free_port())}
    started = script("start", str(folder), **ports)
    assert started.returncode == 0, started.stderr
    exported = [line.removeprefix("export ").split("=", 1) for line in started.stdout.splitlines()]
    environment = {name: value.strip("'") for name, value in exported}
    assert environment["MLFLOW_TRACKING_URI"] == f"http://127.0.0.1:{ports['MLFLOW_PORT']}"
    storage = environment["SUITE_STORAGE"]
    assert storage == f"postgresql://suite@127.0.0.1:{ports['PGPORT']}/optuna"

    passwords = Path(environment["PGPASSFILE"])
    password = passwords.read_text(encoding="utf-8").strip().rpartition(":")[2]
    assert len(password) >= 32
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    assert password not in started.stdout + started.stderr
    for text in (
        folder / "mlflow.txt",
        Path(f"/proc/{(folder / 'mlflow.pid').read_text().strip()}/cmdline"),
    ):
        assert password not in text.read_text(encoding="utf-8")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(storage, passfile="/nowhere")
    with closing(psycopg.connect(storage, passfile=str(passwords), autocommit=True)) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
        assert connection.execute("SHOW password_encryption").fetchone() == ("scram-sha-256",)
        connection.execute("CREATE TABLE kept (number int)")

    assert script("stop", str(folder)).returncode == 0
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(storage, passfile=str(passwords))
    again = script("start", str(folder))
    assert again.stdout == started.stdout, "other ports or another password than before"
    with closing(psycopg.connect(storage, passfile=str(passwords))) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert script("env", str(folder)).stdout == started.stdout
