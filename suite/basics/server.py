"""Whether an MLflow server answers. MLflow's client would try for minutes without a word."""

from __future__ import annotations

import ssl
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

from suite.basics.addresses import WEB, without_password
from suite.basics.settings import ConfigError

SECONDS_TO_ANSWER = 10
PATIENCE = 60.0  # seconds that a server is waited for at a start
BETWEEN_TRIES = 2.0


def is_server(uri: str) -> bool:
    """Whether an address is that of an MLflow server."""
    return uri.split("://", 1)[0].lower() in WEB


def no_answer(uri: str) -> str:
    """Why nobody answers at a server's address, asked once; '' if somebody does."""
    parts = urlsplit(uri)
    # urllib takes a login for a part of the host's name; that it is missing is an answer, too.
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        urllib.request.urlopen(f"{place.rstrip('/')}/health", timeout=SECONDS_TO_ANSWER).close()
    except urllib.error.HTTPError as error:
        error.close()  # somebody is there
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):  # MLflow has its own settings about these
            return str(reason) or type(reason).__name__
    return ""


def await_server(uri: str) -> None:
    """Wait until a server answers, and say on standard error that it is waited for.

    Raises
    ------
    ConfigError
        If no host can have the address.
    ConnectionError
        If nobody answers in time.
    """
    _refuse_impossible(uri)
    until = time.monotonic() + PATIENCE
    said = False
    while reason := no_answer(uri):
        shown = without_password(uri)
        if time.monotonic() >= until:
            raise ConnectionError(
                f"tracking_uri: no server answers, got {shown} ({reason}; waited {PATIENCE:.0f} s)"
                "; start it with mlflow server, or give another --tracking-uri"
            )
        if not said:
            said = True
            line = f"waits up to {PATIENCE:.0f} s for the MLflow server at {shown} ({reason})"
            print(line, file=sys.stderr, flush=True)
        time.sleep(BETWEEN_TRIES)


def _refuse_impossible(uri: str) -> None:
    try:
        possible = bool(urlsplit(uri).hostname) and urlsplit(uri).port != 0
    except ValueError:
        possible = False
    if not possible:
        raise ConfigError(
            f"tracking_uri: must have a host and, at most, a number for its port, got "
            f"{without_password(uri)}; e.g. http://127.0.0.1:5000"
        )
