"""Jobs of workers, with what a test does not care about filled in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from suite.declarations.config import RunConfig
from suite.declarations.machine import Machine
from suite.worker.messages import Job
from suite.worker.worker import Worker


def some_job(folder: Path, **changes: Any) -> Job:
    """A worker's job: one run of the defaults, on one thread, store and state in `folder`."""
    whole: dict[str, Any] = {
        "configs": [RunConfig()],
        "parents": {},
        "experiment": "sweep",
        "tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "state_dir": folder / "state",
        "machine": Machine(threads=1, device="cpu"),
        "began": time.time_ns() // 1_000_000,
        "fleet": 4,
        "retries": 1,
        "workers": 1,
        "index": 0,
    }
    return Job(**(whole | changes))


class WholeWorker(Worker):
    """A worker whose `run` is all of its life: at the end it has waited for MLflow."""

    def run(self) -> None:
        with self:
            super().run()
