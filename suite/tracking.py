"""MLflow's side of a run: opening it, its epochs in batches, its end, and what is done already.

Nothing here knows how a number was computed. Every write can be repeated: a row that MLflow has
is not written a second time, so a crash between a checkpoint and its logging costs nothing.
"""

from __future__ import annotations

import json
import platform
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from suite.addresses import SQLITE, is_postgresql, refuse_password
from suite.code_version import code_version
from suite.config import RunConfig
from suite.data_description import DataDescription
from suite.database import FINGERPRINT_TAG, engine_of, ids_of, prepare_sqlite
from suite.experiments import EXPERIMENTS
from suite.metrics import EPOCH_METRIC_NAMES, EpochRecord
from suite.postgresql_leases import exclusively

DIVERGED_TAG = "diverged"
STATE_TAG = "state"
NOTE_TAG = "mlflow.note.content"  # what MLflow shows as a description
BEST_ARTIFACT = "best"

METRICS_PER_BATCH = 1000  # MLflow's limit of one log_batch call
PARAMS_PER_BATCH = 100


class Tracker:
    """One MLflow experiment.

    Parameters
    ----------
    experiment
        Its name; it is created if need be. Empty takes MLflow's own default, which the
        environment variables MLFLOW_EXPERIMENT_NAME and MLFLOW_EXPERIMENT_ID set.
    tracking_uri
        Empty takes MLflow's own default, which MLFLOW_TRACKING_URI sets.

    Raises
    ------
    ConfigError
        If the URI carries a password.
    """

    def __init__(self, experiment: str = "", tracking_uri: str = "") -> None:
        self.uri = one_name(tracking_uri or mlflow.get_tracking_uri())
        refuse_password("tracking_uri", self.uri)
        self.client = _client(self.uri)
        self._engine = engine_of(self.uri)
        self.experiment_id = self._experiment(experiment)
        self.experiment_name = str(self.client.get_experiment(self.experiment_id).name)

    def _experiment(self, name: str) -> str:
        if not name:
            mlflow.set_tracking_uri(self.uri)
            return str(mlflow.tracking.fluent._get_experiment_id())
        if found := self.client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            return str(self.client.create_experiment(name, tags=_about(name)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self._experiment(name)  # another process was faster

    @property
    def place(self) -> tuple[str, str]:
        """What tells the experiment from all others.

        A server goes by another name on each machine, such as that of a tunnel's end; what it
        says of the experiment is the same everywhere.
        """
        if self.uri.startswith(SQLITE):
            return self.uri, self.experiment_id
        created = self.client.get_experiment(self.experiment_id).creation_time
        return f"created {created}", self.experiment_id

    def runs_of(self, fingerprint: str) -> list[Run]:
        """All runs of one configuration in the experiment, newest first."""
        if self._engine is not None:
            found = ids_of(self._engine, self.experiment_id, fingerprint)
            return [self.client.get_run(run_id) for run_id in found]
        runs: list[Run] = self.client.search_runs(
            [self.experiment_id],
            f"tags.{FINGERPRINT_TAG} = '{fingerprint}'",
            run_view_type=ViewType.ACTIVE_ONLY,
            order_by=["attributes.start_time DESC"],
        )
        return runs

    def finished(self, fingerprint: str) -> str | None:
        """The id of the FINISHED run of one configuration, if there is one."""
        ids = (r.info.run_id for r in self.runs_of(fingerprint) if r.info.status == "FINISHED")
        return next(ids, None)

    def unfinished(self, fingerprint: str) -> str | None:
        """The id of the newest run of one configuration that has not come to its end."""
        ids = (r.info.run_id for r in self.runs_of(fingerprint) if r.info.status != "FINISHED")
        return next(ids, None)

    def create(
        self, config: RunConfig, data: DataDescription, device: str, parent: str = ""
    ) -> str:
        """Begin a run; its id. It can be found by its fingerprint from the first moment."""
        tags = {**resolve_tags(), NOTE_TAG: note(config), **_tags(config, device)}
        if parent:
            tags["mlflow.parentRunId"] = parent
        run = self.client.create_run(self.experiment_id, tags=tags, run_name=config.run_name)
        run_id = str(run.info.run_id)
        self._log_params(run_id, _params(config, data))
        self._log_data(run_id, data)
        return run_id

    def take_up(self, run_id: str, config: RunConfig, data: DataDescription, device: str) -> None:
        """Go on with a run that was interrupted, or that ``mlflow run`` has begun.

        What it has already stays as it is: ``mlflow run`` logs parameters in the user's own
        spelling (1e-3), and MLflow lets nobody change them.
        """
        self.client.update_run(run_id, status="RUNNING", name=config.run_name)
        run = self.client.get_run(run_id)
        params = _params(config, data)
        missing = {key: value for key, value in params.items() if key not in run.data.params}
        self._log_params(run_id, missing)
        tags = _tags(config, device)
        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        if not (run.inputs and run.inputs.dataset_inputs):
            self._log_data(run_id, data)

    def _log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        entities = [Param(key, value) for key, value in params.items()]
        for start in range(0, len(entities), PARAMS_PER_BATCH):
            self.client.log_batch(run_id, params=entities[start : start + PARAMS_PER_BATCH])

    def _log_data(self, run_id: str, data: DataDescription) -> None:
        profile = {"splits": dict(data.sizes), "classes": list(data.classes)}
        shape = {"image_shape": data.image_shape, "image_type": "uint8"}
        dataset = Dataset(
            name=data.name,
            digest=data.digest,
            source_type="local",
            source=json.dumps({"uri": data.source}),
            schema=json.dumps(shape),
            profile=json.dumps(profile),
        )
        tag = InputTag("mlflow.data.context", "training")
        self.client.log_inputs(run_id, datasets=[DatasetInput(dataset, [tag])])

    def log_epochs(self, run_id: str, records: Iterable[EpochRecord]) -> None:
        """Log per-epoch metrics, many to a call."""
        self._log(
            run_id,
            [
                Metric(name, value, record.timestamp, record.epoch)
                for record in records
                for name, value in record.metrics().items()
            ],
        )

    def last_epoch(self, run_id: str) -> int:
        """The last epoch of which MLflow has any metric; 0 if there is none."""
        histories = (self.client.get_metric_history(run_id, name) for name in EPOCH_METRIC_NAMES)
        return max((point.step for points in histories for point in points), default=0)

    def log_missing_epochs(self, run_id: str, records: Sequence[EpochRecord]) -> bool:
        """Log those per-epoch metrics which MLflow does not have yet.

        Returns
        -------
        Whether MLflow has one twice, which it cannot undo.
        """
        points = [
            (name, point.step)
            for name in EPOCH_METRIC_NAMES
            for point in self.client.get_metric_history(run_id, name)
        ]
        there = set(points)
        self._log(
            run_id,
            [
                Metric(name, value, record.timestamp, record.epoch)
                for record in records
                for name, value in record.metrics().items()
                if (name, record.epoch) not in there
            ],
        )
        return len(there) < len(points)

    def _log(self, run_id: str, metrics: list[Metric]) -> None:
        for start in range(0, len(metrics), METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_BATCH])

    def finish(
        self, run_id: str, summary: Mapping[str, float], timestamp: int, *, diverged: bool
    ) -> None:
        """Log the summary metrics and end the run as FINISHED.

        Parameters
        ----------
        timestamp
            Milliseconds, the same whenever this is repeated for the run.
        """
        self._log(run_id, [Metric(name, value, timestamp, 0) for name, value in summary.items()])
        tags = [RunTag(STATE_TAG, "finished"), RunTag(DIVERGED_TAG, str(diverged).lower())]
        self.client.log_batch(run_id, tags=tags)
        self.client.set_terminated(run_id, "FINISHED")

    def log_best(self, run_id: str, folder: Path) -> None:
        """Log the files of the best checkpoint."""
        self.client.log_artifacts(run_id, str(folder), BEST_ARTIFACT)

    def interrupt(self, run_id: str) -> None:
        """End a run for now: it is taken up again by the next start of its configuration."""
        self.client.set_tag(run_id, STATE_TAG, "interrupted")
        self.client.set_terminated(run_id, "KILLED")

    def delete(self, run_id: str) -> None:
        """Take a run out of the experiment (MLflow can restore it)."""
        self.client.delete_run(run_id)

    def fail(self, run_id: str, reason: str) -> None:
        """End a run that broke, with its reason."""
        self.client.set_tag(run_id, STATE_TAG, "failed")
        self.client.set_tag(run_id, "failure", reason)
        self.client.set_terminated(run_id, "FAILED")

    def supersede(self, run_id: str, fingerprint: str) -> None:
        """Delete other FINISHED runs of the configuration (MLflow can restore them).

        The one that ended last stays, so that two machines which finish the same run at the same
        time keep the same one.
        """
        finished = [run for run in self.runs_of(fingerprint) if run.info.status == "FINISHED"]
        ends = {run.info.run_id: (run.info.end_time, run.info.run_id) for run in finished}
        for other in ends.keys() - {max(ends, key=lambda key: ends[key], default=run_id)}:
            self.delete(other)


def one_name(uri: str) -> str:
    """The same text for the same store, however a person writes it: leases depend on it."""
    if uri.startswith(SQLITE):
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).expanduser().resolve()}"
    return uri.rstrip("/")


def _client(uri: str) -> MlflowClient:
    """A client whose store exists.

    Several processes that create one store at the same time break it for good, so one of
    them creates it while the others wait.
    """
    if is_postgresql(uri):
        with exclusively(uri, "create MLflow's tables"):
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
        return client
    if not uri.startswith(SQLITE):
        return MlflowClient(uri)
    path = Path(uri.removeprefix(SQLITE)).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        prepare_sqlite(uri)
    return client


def note(config: RunConfig) -> str:
    """A run's description: the command that trains it alone."""
    chosen = [
        f"--{name.replace('_', '-')} {getattr(config, name)}"
        for name in config.names()
        if getattr(config, name) != config.default(name) and name != "dataset_digest"
    ]
    return f"`{' '.join(['python -m suite.train', *chosen])}`"


def _about(experiment: str) -> dict[str, str]:
    """The description of an experiment that is declared."""
    if experiment not in EXPERIMENTS:
        return {}
    declared = EXPERIMENTS[experiment]
    return {NOTE_TAG: f"{declared.description} (Das et al. 2026, {declared.source})"}


def _params(config: RunConfig, data: DataDescription) -> dict[str, str]:
    sizes = {f"{split}_images": str(count) for split, count in data.sizes.items()}
    return config.parameters() | sizes


def _tags(config: RunConfig, device: str) -> dict[str, str]:
    return {
        FINGERPRINT_TAG: config.fingerprint,
        "config": config.model_dump_json(),
        STATE_TAG: "running",
        "device": device,
        **machine_tags(),
    }


@cache
def machine_tags() -> dict[str, str]:
    """Code version, host and library versions."""
    libraries = ("torch", "timm", "mlflow", "numpy")
    versions = [f"python {platform.python_version()}", *(f"{n} {version(n)}" for n in libraries)]
    return {
        "code_version": code_version(),
        "host": socket.gethostname(),
        "versions": ", ".join(versions),  # one tag: MLflow shows all of a run's side by side
    }


def download_best(run_id: str, target: Path, tracking_uri: str = "") -> Path:
    """The folder below `target` with the files of a run's best checkpoint."""
    path = mlflow.artifacts.download_artifacts(
        run_id=run_id,
        artifact_path=BEST_ARTIFACT,
        dst_path=str(target),
        tracking_uri=tracking_uri or None,
    )
    return Path(path)
