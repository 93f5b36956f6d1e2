"""What several machines share in a test: an MLflow server on PostgreSQL, Optuna's storage, state.

Each machine is a working directory of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pytest
from mlflow_server import MlflowServer
from optuna.storages import RDBStorage
from postgresql_server import PostgresqlServer
from sqlalchemy import NullPool
from sweep_commands import EPOCHS, RUNS, SMALL, Command, Place, histories, unfinished

from suite.sweep.study import STORAGE_VARIABLE, shown_epochs

# One run at a time, so that there is work for every worker.
SHARED = (*SMALL, "--fleet", "1")


@dataclass
class SharedPlace(Place):
    """One machine's working directory; its MLflow is a server on PostgreSQL."""

    server: PostgresqlServer = field(kw_only=True)
    mlflow: str = field(kw_only=True)  # the server's database

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.server.rows(self.mlflow, query)

    def epochs_logged(self) -> int:
        return int(str(self.rows("SELECT count(*) FROM metrics WHERE key = 'val_loss'")[0][0]))


class Shared:
    """What the machines share."""

    def __init__(
        self,
        folder: Path,
        server: PostgresqlServer,
        monkeypatch: pytest.MonkeyPatch,
        hosts: Sequence[str] = ("127.0.0.1", "localhost"),
    ) -> None:
        self.folder, self.server, self.hosts = folder, server, hosts
        self.mlflow, self.optuna = server.new_database(), server.new_database()
        self.state = folder / "shared state"
        self.machines: list[SharedPlace] = []
        monkeypatch.setenv(STORAGE_VARIABLE, self.optuna)
        self._mlflow_server = MlflowServer(folder, self.mlflow, hosts[0])
        self._mlflow_server.start()

    def machine(self, prefix: Sequence[str] = ()) -> SharedPlace:
        """Another machine. The server may go by another name on every second one."""
        number = len(self.machines)
        folder = self.folder / f"machine {number}"
        folder.mkdir()
        host = self.hosts[number % len(self.hosts)]
        uri = f"http://{host}:{self._mlflow_server.port}"
        place = SharedPlace(folder, uri, prefix, server=self.server, mlflow=self.mlflow)
        self.machines.append(place)
        return place

    def start(self, place: Place, arguments: Sequence[str] = SHARED) -> Command:
        return place.start((*arguments, "--state-dir", self.state.as_uri()))

    def end(self) -> None:
        for machine in self.machines:
            machine.clean()
        self._mlflow_server.stop()

    def checkpoints(self) -> list[Path]:
        return sorted(self.state.glob("*/*/checkpoint.safetensors"))

    def assert_complete(self, runs: int = RUNS) -> None:
        """Each point one FINISHED run with every epoch once; nothing left of it but its trial."""
        place = self.machines[0]
        assert len(histories(place)) == runs
        assert unfinished(place) == []
        kept = [p for p in self.state.glob("*/*/*") if p.parent.name != "leases"]
        assert kept == [], "state of finished runs"
        storage = RDBStorage(self.optuna, engine_kwargs={"poolclass": NullPool})
        studies = optuna.get_all_study_names(storage)
        trials = [
            trial
            for name in studies
            for trial in optuna.load_study(study_name=name, storage=storage).trials
        ]
        assert len({trial.user_attrs["fingerprint"] for trial in trials}) == len(trials) == runs
        assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)
        assert all(
            sorted(trial.intermediate_values)
            == shown_epochs(range(1, EPOCHS + 1), trial.user_attrs["best_epoch"])
            for trial in trials
        )
