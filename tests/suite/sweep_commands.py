"""The real sweep command in processes of its own, and what it left in the MLflow database."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from suite.declarations.metrics import EPOCH_METRIC_NAMES

ROOT = Path(__file__).parents[2]
EPOCHS = 30
PATIENCE = 600.0  # seconds for a sweep of these runs on a busy machine
# fp64, so that a run's numbers agree to 1e-9 whatever its company.
SMALL = (
    *("--experiment", "demo", "--set", "optimizer=sgd,adam", "--set", "sigma_w=0.5,2.5"),
    *("--set", "learning_rate=0.001", "--set", "batch_size=64", "--set", "seed=0,1"),
    *("--set", "width=2", "--set", f"epochs={EPOCHS}"),
    *("--set", "train_fraction=0.3", "--set", "precision=fp64"),
    *("--fleet", "2", "--workers", "2", "--threads", "1", "--device", "cpu"),
)
RUNS = 8
Reference = dict[str, np.ndarray]  # a run's name to its history


@dataclass
class Command:
    """A sweep under way; its process group is its own."""

    process: subprocess.Popen[str]
    output: Path

    def wait(self, patience: float = PATIENCE) -> int:
        return self.process.wait(patience)

    @property
    def text(self) -> str:
        return self.output.read_text(encoding="utf-8")

    @property
    def workers(self) -> list[int]:
        """Process ids of its workers."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            lines = {int(c): Path(f"/proc/{c}/cmdline").read_text() for c in children}
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [child for child, line in lines.items() if "spawn_main" in line]

    def signal(self, number: signal.Signals) -> None:
        """As a terminal sends it: to the command and all its workers."""
        os.killpg(self.process.pid, number)

    def wait_for(self, text: str, patience: float = PATIENCE) -> None:
        self.wait_until(lambda: text in self.text, text, patience)

    def wait_until(self, there: object, what: str, patience: float = PATIENCE) -> None:
        until = time.monotonic() + patience
        while not there():  # type: ignore[operator]
            assert time.monotonic() < until, f"never saw {what!r} in:\n{self.text}"
            assert self.process.poll() is None, f"ended before {what!r}:\n{self.text}"
            time.sleep(0.05)


@dataclass
class Place:
    """A working directory with an MLflow store."""

    folder: Path
    uri: str = ""
    prefix: Sequence[str] = ()  # words before the command, which go where it is to run
    commands: list[Command] = field(default_factory=list)
    epochs: int = EPOCHS  # of its runs

    def start(self, arguments: Sequence[str] = SMALL) -> Command:
        output = self.folder / f"output-{len(self.commands)}.txt"
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "SUITE_CACHE_DIR": str(self.folder / "cache"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        if self.uri:
            environment["MLFLOW_TRACKING_URI"] = self.uri
        with output.open("w") as file:
            process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "suite.grid", *arguments],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.commands.append(Command(process, output))
        return self.commands[-1]

    def begin(self, arguments: Sequence[str] = SMALL, epochs: int = 5) -> Command:
        """Start the sweep, and let it train until MLflow has some epochs of it."""
        command = self.start(arguments)
        command.wait_until(lambda: self.epochs_logged() >= epochs, "epochs in MLflow")
        return command

    def finish(self, arguments: Sequence[str] = SMALL) -> Command:
        """Start the sweep and let it come to its end."""
        command = self.start(arguments)
        assert command.wait() == 0, command.text
        return command

    def clean(self) -> None:
        """End what a failed test has left running."""
        for command in self.commands:
            if command.process.poll() is None:
                command.signal(signal.SIGKILL)
                command.wait()

    @property
    def database(self) -> Path:
        return self.folder / "mlflow.db"

    def rows(self, query: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.database, timeout=30)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def epochs_logged(self) -> int:
        if not self.database.exists():
            return 0
        try:
            return int(str(self.rows("SELECT count(*) FROM metrics WHERE key='val_loss'")[0][0]))
        except sqlite3.OperationalError:  # the tables are being made
            return 0


def histories(place: Place) -> dict[str, np.ndarray]:
    """Fingerprint to the per-epoch metrics of its finished run, shape (epochs, metrics).

    Read from the raw table: an epoch that is there twice, or not at all, fails here.
    """
    finished = place.rows(
        "SELECT t.value, r.run_uuid FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
        "WHERE t.key = 'fingerprint' AND r.status = 'FINISHED' AND r.lifecycle_stage = 'active'"
    )
    fingerprints = Counter(str(fingerprint) for fingerprint, _ in finished)
    assert set(fingerprints.values()) <= {1}, f"finished more than once: {fingerprints}"
    found = {}
    for fingerprint, run in finished:
        columns = []
        for name in EPOCH_METRIC_NAMES:
            points = place.rows(
                f"SELECT step, value FROM metrics WHERE run_uuid = '{run}' AND key = '{name}' "
                "ORDER BY step"
            )
            assert [step for step, _ in points] == list(range(1, place.epochs + 1)), (run, name)
            columns.append([float(str(value)) for _, value in points])
        found[str(fingerprint)] = np.array(columns).T
    return found


def unfinished(place: Place) -> list[tuple[object, ...]]:
    """Runs which MLflow shows as anything but finished, recipes included."""
    return place.rows(
        "SELECT name, status FROM runs WHERE status != 'FINISHED' AND lifecycle_stage = 'active'"
    )


def assert_undisturbed(place: Place, reference: dict[str, np.ndarray]) -> None:
    """Exactly the points, each finished once, complete, and with the undisturbed numbers."""
    found = histories(place)
    assert found.keys() == reference.keys()
    for fingerprint, values in reference.items():
        np.testing.assert_allclose(found[fingerprint], values, rtol=1e-9, atol=1e-12)
    assert unfinished(place) == []
    leftovers = [p for p in place.folder.glob("state/*/*/*") if p.parent.name != "leases"]
    assert leftovers == [], "files of finished runs"
