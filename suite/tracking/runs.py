"""MLflow's side of a run: opening it, its epochs in batches, its end, and what is done already.

Nothing here knows how a number was computed. Every write can be repeated: a row that MLflow has
is not written a second time, so a crash between a checkpoint and its logging costs nothing. Calls
are few and large, for each costs a few milliseconds of the processor that trains.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from suite.basics.errors import first_line, shortened
from suite.basics.mlflow_client import (
    default_experiment_id,
    default_uri,
    every_page,
    experiment_id,
)
from suite.basics.settings import ConfigError
from suite.basics.sqlite_address import address_of, is_sqlite, sqlite_file
from suite.declarations.attempts import ATTEMPT_TAG, attempt_of, next_attempt
from suite.declarations.config import RunConfig
from suite.declarations.layers import LayerHistory, layers_tags
from suite.declarations.metrics import EPOCH_METRIC_NAMES, EpochRecord
from suite.declarations.predictions import BEST_ARTIFACT
from suite.declarations.tags import (
    DIVERGED_TAG,
    FAILURE_TAG,
    FINGERPRINT_TAG,
    NOTE_TAG,
    PARENT_TAG,
    STATE_TAG,
)
from suite.tracking.metadata import (
    DataDescription,
    about_experiment,
    note,
    params_of,
    tags_of,
)
from suite.tracking.queries import StoredRun, attempts_of, engine_of, points_of, runs_of
from suite.tracking.store import client_of, one_name

ENTITIES_PER_BATCH = 1000  # MLflow's limit of one log_batch call, metrics and tags together
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
        If the URI carries a password, or is of a file that cannot be a store, MLflow takes no such
        name, or the experiment is deleted or not to be had.
    """

    def __init__(self, experiment: str = "", tracking_uri: str = "") -> None:
        self.uri = one_name(tracking_uri or default_uri())
        self.client = client_of(self.uri)
        self._engine = engine_of(self.uri)
        self.experiment_id = self._experiment(experiment)
        self.experiment_name = str(self.client.get_experiment(self.experiment_id).name)

    def _experiment(self, name: str) -> str:
        if not name:
            return default_experiment_id(self.client)
        try:
            return experiment_id(self.client, name, tags=about_experiment(name))
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise ConfigError(
                f"experiment: must be a name that MLflow takes, got {shortened(name)!r} "
                f"({shortened(first_line(error))}); give another one"
            ) from error

    @property
    def place(self) -> tuple[str, ...]:
        """What tells the experiment from all others, whatever it is called.

        A server goes by another name on each machine, such as that of a tunnel's end; what it
        says of the experiment is the same everywhere.
        """
        return self._place(self.client.get_experiment(self.experiment_id))

    def places(self) -> list[tuple[str, ...]]:
        """What tells each of the store's experiments from all others, deleted ones included."""
        found = every_page(self.client.search_experiments, view_type=ViewType.ALL)
        return [self._place(experiment) for experiment in found]

    def _place(self, experiment: Experiment) -> tuple[str, ...]:
        created, number = f"created {experiment.creation_time}", str(experiment.experiment_id)
        if is_sqlite(self.uri):
            return address_of(sqlite_file(self.uri)), number, created
        return created, number

    def runs_of(self, fingerprint: str) -> list[StoredRun]:
        """All runs of one configuration in the experiment, the one that counts first."""
        if self._engine is not None:
            found = runs_of(self._engine, self.experiment_id, fingerprint)
        else:
            found = [
                StoredRun(
                    run.info.run_id,
                    run.info.status,
                    run.info.end_time,
                    attempt_of(run.data.tags.get(ATTEMPT_TAG)),
                )
                for run in self._search(fingerprint, ViewType.ACTIVE_ONLY)
            ]
        return sorted(found, key=lambda run: run.rank, reverse=True)

    def _search(self, fingerprint: str, view: int) -> list[Run]:
        asked = f"tags.{FINGERPRINT_TAG} = '{fingerprint}'"
        return list(self.client.search_runs([self.experiment_id], asked, run_view_type=view))

    def _attempt(self, fingerprint: str, run_id: str = "") -> dict[str, str]:
        """The tag of a run whose training is asked for now; of a new run without an id."""
        if self._engine is not None:
            found = attempts_of(self._engine, self.experiment_id, fingerprint)
        else:
            found = {
                run.info.run_id: attempt_of(run.data.tags.get(ATTEMPT_TAG))
                for run in self._search(fingerprint, ViewType.ALL)
            }
        others = (attempt for other, attempt in found.items() if other != run_id)
        return {ATTEMPT_TAG: str(next_attempt(others))}

    def finished(self, fingerprint: str) -> str | None:
        """The id of the FINISHED run of one configuration, if there is one."""
        ids = (run.run_id for run in self.runs_of(fingerprint) if run.status == "FINISHED")
        return next(ids, None)

    def unfinished(self, fingerprint: str) -> str | None:
        """The id of the last run of one configuration that has not come to its end."""
        ids = (run.run_id for run in self.runs_of(fingerprint) if run.status != "FINISHED")
        return next(ids, None)

    def create(
        self, config: RunConfig, data: DataDescription, device: str, parent: str = ""
    ) -> str:
        """Begin a run; its id. It can be found by its fingerprint from the first moment."""
        tags = {**resolve_tags(), NOTE_TAG: note(config), **tags_of(config, device)}
        tags |= self._attempt(config.fingerprint)
        if parent:
            tags[PARENT_TAG] = parent
        run = self.client.create_run(self.experiment_id, tags=tags, run_name=config.run_name)
        run_id = str(run.info.run_id)
        self._log_params(run_id, params_of(config, data))
        self._log_data(run_id, data)
        return run_id

    def take_up(self, run_id: str, config: RunConfig, data: DataDescription, device: str) -> None:
        """Go on with a run that was interrupted, or that ``mlflow run`` has begun.

        What it has already stays as it is: ``mlflow run`` logs parameters in the user's own
        spelling (1e-3), and MLflow lets nobody change them.
        """
        self.client.update_run(run_id, status="RUNNING", name=config.run_name)
        run = self.client.get_run(run_id)
        params = params_of(config, data)
        missing = {key: value for key, value in params.items() if key not in run.data.params}
        self._log_params(run_id, missing)
        tags = tags_of(config, device) | self._attempt(config.fingerprint, run_id)
        self._write(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        if not (run.inputs and run.inputs.dataset_inputs):
            self._log_data(run_id, data)

    def _log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        entities = [Param(key, value) for key, value in params.items()]
        for start in range(0, len(entities), PARAMS_PER_BATCH):
            self._write(run_id, params=entities[start : start + PARAMS_PER_BATCH])

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
        inputs = [DatasetInput(dataset, [tag])]
        try:
            self.client.log_inputs(run_id, datasets=inputs)
        except MlflowException as error:
            # Two processes that log a new data set at once: MLflow looks for it, then adds it.
            if "unique constraint" not in str(error).lower():
                raise
            self.client.log_inputs(run_id, datasets=inputs)

    def log_epochs(self, run_id: str, records: Iterable[EpochRecord]) -> None:
        """Log per-epoch metrics, many to a call."""
        self._log(run_id, _metrics_of(records))

    def last_epoch(self, run_id: str) -> int:
        """The last epoch of which MLflow has any metric; 0 if there is none."""
        return max((epoch for _, epoch in self._points(run_id)), default=0)

    def _points(self, run_id: str) -> list[tuple[str, int]]:
        """Name and epoch of the per-epoch metrics that MLflow has."""
        if self._engine is not None:
            points = points_of(self._engine, run_id)
            return [(name, epoch) for name, epoch in points if name in EPOCH_METRIC_NAMES]
        return [
            (name, point.step)
            for name in EPOCH_METRIC_NAMES
            for point in self.client.get_metric_history(run_id, name)
        ]

    def log_missing_epochs(self, run_id: str, records: Sequence[EpochRecord]) -> bool:
        """Log those per-epoch metrics which MLflow does not have yet.

        Returns
        -------
        bool
            Whether some metric of some epoch was logged twice. MLflow cannot delete the second
            point, so such a run has to be replaced.
        """
        points = self._points(run_id)
        there = set(points)
        missing = [one for one in _metrics_of(records) if (one.key, one.step) not in there]
        self._log(run_id, missing)
        return len(there) < len(points)

    def _log(self, run_id: str, metrics: list[Metric]) -> None:
        for start in range(0, len(metrics), ENTITIES_PER_BATCH):
            self._write(run_id, metrics=metrics[start : start + ENTITIES_PER_BATCH])

    def _write(self, run_id: str, **entities: Any) -> None:
        """Log metrics, params or tags, and return once MLflow has them.

        With MLFLOW_ENABLE_ASYNC_LOGGING set it would return before, and end the run without them.
        """
        self.client.log_batch(run_id, **entities, synchronous=True)

    def finish(
        self,
        run_id: str,
        summary: Mapping[str, float],
        timestamp: int,
        *,
        diverged: bool,
        layers: LayerHistory | None = None,
    ) -> None:
        """Log the summary metrics and what its layers did, and end the run as FINISHED.

        Parameters
        ----------
        timestamp
            Milliseconds, the same whenever this is repeated for the run.
        """
        metrics = [Metric(name, value, timestamp, 0) for name, value in summary.items()]
        tags = [RunTag(STATE_TAG, "finished"), RunTag(DIVERGED_TAG, str(diverged).lower())]
        if layers is not None:
            tags += [RunTag(key, value) for key, value in layers_tags(layers).items()]
        self._write(run_id, metrics=metrics, tags=tags)
        self.client.set_terminated(run_id, "FINISHED")

    def log_best(self, run_id: str, folder: Path) -> None:
        """Log the files of the best checkpoint."""
        self.client.log_artifacts(run_id, str(folder), BEST_ARTIFACT)

    def interrupt(self, run_id: str) -> None:
        """End a run for now: it is taken up again by the next start of its configuration."""
        self._write(run_id, tags=[RunTag(STATE_TAG, "interrupted")])
        self.client.set_terminated(run_id, "KILLED")

    def delete(self, run_id: str) -> None:
        """Take a run out of the experiment (MLflow can restore it)."""
        self.client.delete_run(run_id)

    def fail(self, run_id: str, reason: str) -> None:
        """End a run that broke, with its reason."""
        self._write(run_id, tags=[RunTag(STATE_TAG, "failed"), RunTag(FAILURE_TAG, reason)])
        self.client.set_terminated(run_id, "FAILED")

    def supersede(self, run_id: str, fingerprint: str) -> str:
        """Delete all FINISHED runs of the configuration but one (MLflow can restore them).

        The one whose training was asked for last stays, so that two machines which finish the
        same run at the same time keep the same one, and --force what it has just trained.

        Returns
        -------
        str
            The id of the run that stays; `run_id` if MLflow shows none that is finished.
        """
        finished = [run.run_id for run in self.runs_of(fingerprint) if run.status == "FINISHED"]
        for other in finished[1:]:
            self.delete(other)
        return finished[0] if finished else run_id


def _metrics_of(records: Iterable[EpochRecord]) -> list[Metric]:
    return [
        Metric(name, value, record.timestamp, record.epoch)
        for record in records
        for name, value in record.metrics().items()
    ]
