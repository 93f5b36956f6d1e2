"""Delete a run which ``mlflow run`` has begun, once its runner has let go of it.

The runner sets the run's final status after the command has ended, and fails if the run is deleted
by then. So the deletion is left to a process that outlives the command: it waits for the status.
"""

from __future__ import annotations

import subprocess
import sys
import time

from mlflow import MlflowClient

PATIENCE = 60.0  # seconds after which a runner is taken to be gone
PAUSE = 0.2


def discard_later(run_id: str, tracking_uri: str) -> None:
    """Delete the run as soon as its status is final, in a process of its own."""
    subprocess.Popen(
        [sys.executable, "-m", "suite.tracking.discard", run_id, tracking_uri],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main(run_id: str, tracking_uri: str) -> None:
    """Wait for the run's final status, then delete it."""
    client = MlflowClient(tracking_uri)
    waited_until = time.monotonic() + PATIENCE
    while time.monotonic() < waited_until:
        if client.get_run(run_id).info.status in ("FINISHED", "FAILED", "KILLED"):
            break
        time.sleep(PAUSE)
    client.delete_run(run_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
