"""A real tracking server of MLflow, for the tests of what talks to one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from servers import Server, free_port

PATIENCE = 180.0  # seconds for it to come up on a busy machine


class MlflowServer(Server):
    """A server on a store, which can go away and come back.

    Parameters
    ----------
    folder
        Where its log and its artifacts lie.
    store
        The database it serves.
    host
        The address it listens on.
    """

    def __init__(self, folder: Path, store: str, host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.uri = f"http://{host}:{self.port}"
        self._folder, self._store, self._host = folder, store, host
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", self._host),
            *("--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", self._store),
            *("--artifacts-destination", str(self._folder / "artifacts")),
        ]
        # Jobs are for evaluating language models, and take seven more processes.
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self._folder / "server.txt").open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < until, (self._folder / "server.txt").read_text()
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    def stop(self) -> None:
        """Go away, at once and without a word."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    remove = stop
