"""Ray on this machine alone: heard on loopback only, and by who has the sweep's own token.

Whoever reaches Ray's ports can have it run any code. Ray has no setting for the addresses on which
they listen: on Linux it listens on all of them, on macOS and Windows on loopback, as a constant of
its own says. That is set here, and whether it has helped is looked at. From :data:`LEAST_VERSION`
on, Ray asks each caller of a cluster that it has started by itself for a token.
"""

from __future__ import annotations

import os
import re
import secrets
from ipaddress import ip_address

import ray
from ray._private import ray_constants

from suite.basics.settings import ConfigError

LEAST_VERSION = (2, 59)
MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


def prepare() -> None:
    """Have the cluster that this process starts next keep to itself.

    Raises
    ------
    ConfigError
        If Ray is of a version that lets everybody in, or was told to.
    """
    version = tuple(int(number) for number in re.findall(r"\d+", ray.__version__)[:2])
    if version < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise ConfigError(
            f"executor: needs Ray {least} or newer to be alone on this machine, since older ones "
            f"run what anybody asks for, got {ray.__version__}; pip install 'ray>={least}'"
        )
    mode = os.environ.get(MODE, "token")
    if mode.lower() != "token":
        raise ConfigError(
            f"{MODE}: must be token where a sweep starts Ray, got {mode!r}; unset it, or start "
            "Ray yourself and give --ray-address"
        )
    if not os.environ.get(TOKEN) and not os.environ.get(TOKEN_FILE):
        os.environ[TOKEN] = secrets.token_hex(32)  # for this sweep; Ray would keep one in the home
    ray_constants.ENABLE_RAY_CLUSTER = False


def caution() -> str:
    """What to put behind a sentence about the cluster that was started; empty if all is well."""
    address = ray.util.get_node_ip_address()
    if ip_address(address).is_loopback:
        return ""
    return f" (Ray listens on all addresses of {address}, and asks callers for a token)"
