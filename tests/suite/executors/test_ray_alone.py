"""A sweep's own Ray: what the kernel says of its ports, and what becomes of a stranger."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra ray is not installed")

import ray

from suite.basics.settings import ConfigError
from suite.executors import ray_alone

MAPPED = "::ffff:"  # what an address of IPv4 begins with in IPv6
LISTENING = "0A"  # of /proc/net/tcp


@pytest.fixture(autouse=True)
def _no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ray_alone.MODE, ray_alone.TOKEN, ray_alone.TOKEN_FILE):
        monkeypatch.setenv(name, "")  # or what is set in a test would stay after it
        monkeypatch.delenv(name)
    monkeypatch.setattr(ray_alone.ray_constants, "ENABLE_RAY_CLUSTER", True)


def test_a_version_that_lets_everybody_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "__version__", "2.58.1")
    with pytest.raises(ConfigError, match=r"needs Ray 2\.59 or newer .* got 2\.58\.1; pip install"):
        ray_alone.prepare()
    for version in ("2.59.0", "2.100.0rc1", "3.0.0.dev0"):
        monkeypatch.setattr(ray, "__version__", version)
        ray_alone.prepare()


def test_a_ray_that_was_told_to_let_everybody_in_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ray_alone.MODE, "disabled")
    with pytest.raises(ConfigError, match=r"RAY_AUTH_MODE: must be token .* got 'disabled'"):
        ray_alone.prepare()


def test_each_sweep_has_a_token_of_its_own_unless_a_person_gave_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = set()
    for _ in range(2):
        ray_alone.prepare()
        tokens.add(os.environ.pop(ray_alone.TOKEN))
    assert len(tokens) == 2
    assert {len(token) for token in tokens} == {64}
    monkeypatch.setenv(ray_alone.TOKEN, "a person's")
    ray_alone.prepare()
    assert os.environ[ray_alone.TOKEN] == "a person's"


def test_rays_own_constant_is_where_it_is_looked_for() -> None:
    """Of this one place, and of no public one, it depends on which addresses Ray listens."""
    from ray._private import services

    assert services.ray_constants is ray_alone.ray_constants
    ray_alone.prepare()
    assert services.get_node_ip_address() == "127.0.0.1"


def listeners() -> set[tuple[str, int]]:
    """Address and port of every TCP socket of this machine that listens, as the kernel has it."""
    found = set()
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == LISTENING:
                number, port = local.split(":")
                words = [bytes.fromhex(number[i : i + 8])[::-1] for i in range(0, len(number), 8)]
                found.add((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


CALLER = """
import sys
from ray._raylet import GcsClient
print(len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=5)))
"""


def call(address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ask the cluster for its machines, as a process that shares nothing else with the sweep."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    return subprocess.run(
        [sys.executable, "-c", CALLER, address],
        env={**others, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def cluster() -> Iterator[str]:
    from suite.executors.ray_cluster import ALONE, _connect

    _connect(ALONE)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.mark.slow
def test_ray_alone_listens_on_loopback_and_answers_nobody_without_its_token(
    request: pytest.FixtureRequest,
) -> None:
    before = listeners()
    address = request.getfixturevalue("cluster")
    assert ray.get([ray.remote(lambda: 1).remote() for _ in range(2)]) == [1, 1]
    addresses = {number for number, _ in listeners() - before}
    assert addresses
    assert all(ip_address(one.removeprefix(MAPPED)).is_loopback for one in addresses), addresses
    assert ray_alone.caution() == ""
    known = call(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=os.environ[ray_alone.TOKEN])
    assert (known.stdout, known.returncode) == ("1\n", 0), known.stderr
    for said in (
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
    ):
        stranger = call(address, **said)
        assert stranger.stdout == ""
        assert "InvalidAuthToken" in stranger.stderr
