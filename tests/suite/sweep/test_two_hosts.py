"""Two hosts with a cable between them, which is pulled and plugged in again.

The second host is a network namespace of this machine: it has an address of its own, and reaches
the first one's servers through a pair of virtual Ethernet devices alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql_server import PostgresqlServer
from shared_store import SHARED, Shared
from sweep_commands import RUNS

from suite.state.postgresql_leases import UNREACHABLE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HERE, THERE, LENGTH = "10.213.77.1", "10.213.77.2", 24


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Cable:
    """Between this host and another one."""

    def __init__(self) -> None:
        self.host = f"suite-test-{os.getpid()}"
        self._near, self._far = f"near{os.getpid()}", f"far{os.getpid()}"
        ip("netns", "add", self.host)
        ip("link", "add", self._near, "type", "veth", "peer", self._far, "netns", self.host)
        ip("address", "add", f"{HERE}/{LENGTH}", "dev", self._near)
        inside = ("-netns", self.host)
        ip(*inside, "address", "add", f"{THERE}/{LENGTH}", "dev", self._far)
        ip(*inside, "link", "set", "lo", "up")
        ip(*inside, "link", "set", self._far, "up")
        ip("link", "set", self._near, "up")

    @property
    def there(self) -> tuple[str, ...]:
        """Words before a command that make it run on the other host."""
        return ("ip", "netns", "exec", self.host)

    def pull(self) -> None:
        ip("-netns", self.host, "link", "set", self._far, "down")

    def plug_in(self) -> None:
        ip("-netns", self.host, "link", "set", self._far, "up")

    def remove(self) -> None:
        ip("netns", "delete", self.host)  # its end of the cable goes, and so does ours


@pytest.fixture
def cable() -> Iterator[Cable]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network of one's own needs root and the ip command")
    try:
        made = Cable()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network can be made here: {error.stderr.strip()}")
    yield made
    made.remove()


@pytest.fixture
def shared(cable: Cable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    del cable  # the servers listen on its address
    with PostgresqlServer(f"{HERE}/{LENGTH}") as server:
        made = Shared(tmp_path, server, monkeypatch, hosts=[HERE])
        yield made
        made.end()


def test_a_host_that_drops_off_the_network_loses_its_run_and_learns_of_it(
    shared: Shared, cable: Cable
) -> None:
    here, there = shared.machine(), shared.machine(cable.there)
    lost = shared.start(there, (*SHARED, "--workers", "1"))
    lost.wait_until(lambda: there.epochs_logged() > 0, "an epoch in MLflow")
    cable.pull()
    pulled = time.monotonic()
    heir = shared.start(here, (*SHARED, "--workers", "1"))
    assert heir.wait() == 0, heir.text
    assert f"{RUNS} of {RUNS} runs done" in heir.text
    took = time.monotonic() - pulled
    assert took > UNREACHABLE_SECONDS - 5, "the run was taken from a host that could have had it"
    shared.assert_complete()
    cable.plug_in()
    assert lost.wait() == 0, lost.text
    assert "Traceback" not in lost.text
    shared.assert_complete()
