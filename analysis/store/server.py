"""Any store that is neither SQLite nor PostgreSQL, above all an MLflow server, by its client."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from analysis.store.artifacts import read_all
from analysis.store.backend import RawRun, StoreError, no_store
from analysis.store.bulk import batches, bulk_history
from analysis.store.history import Slots
from suite.basics.addresses import without_password
from suite.basics.mlflow_client import every_page
from suite.basics.mlflow_tables import restored
from suite.basics.server import is_server, no_answer
from suite.declarations.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES
from suite.declarations.predictions import Predictions
from suite.declarations.tags import CONFIG_TAG, FINGERPRINT_TAG, IMAGE_COUNTS

REQUESTS_AT_ONCE = 8
OURS = f"tags.{FINGERPRINT_TAG} LIKE '%'"


class ClientStore:
    """See :class:`analysis.store.backend.Backend`."""

    errors: tuple[type[Exception], ...] = (MlflowException,)
    is_mlflow = True

    def __init__(self, uri: str) -> None:
        self.uri, self.address = uri, without_password(uri.rstrip("/"))
        if is_server(uri):
            _reach(uri, self.address)
        try:
            self.client = MlflowClient(uri)
            self._experiments = {
                experiment.name: str(experiment.experiment_id)
                for experiment in every_page(self.client.search_experiments)
            }
        except MlflowException as error:
            raise no_store(self.address, error) from None

    def close(self) -> None:
        """Nothing to free: the client opens a connection per request."""

    def experiments(self) -> Mapping[str, str]:
        """See :class:`analysis.store.backend.Backend`."""
        return self._experiments

    def deleted_experiments(self) -> Collection[str]:
        """See :class:`analysis.store.backend.Backend`."""
        found = every_page(self.client.search_experiments, view_type=ViewType.DELETED_ONLY)
        return [experiment.name for experiment in found]

    def origin(self, experiment_id: str) -> str:  # noqa: ARG002
        """See :class:`analysis.store.backend.Backend`."""
        return ""

    def newest(self) -> str:
        """See :class:`analysis.store.backend.Backend`."""
        names = {number: name for name, number in self._experiments.items()}
        found = self.client.search_runs(
            list(names), OURS, max_results=1, order_by=["attributes.start_time DESC"]
        )
        return names[found[0].info.experiment_id] if found else ""

    def runs(self, experiment_id: str) -> Sequence[RawRun]:
        """See :class:`analysis.store.backend.Backend`."""
        found = every_page(
            self.client.search_runs,
            experiment_ids=[experiment_id],
            filter_string=OURS,
            run_view_type=ViewType.ACTIVE_ONLY,
        )
        return [_raw(run) for run in found]

    def predictions(
        self, experiment_id: str, wanted: Mapping[str, str]
    ) -> Mapping[str, Predictions]:
        """See :class:`analysis.store.backend.Backend`."""
        found = every_page(
            self.client.search_runs, experiment_ids=[experiment_id], filter_string=OURS
        )
        folders = {run.info.run_id: run.info.artifact_uri for run in found}
        return read_all(folders, wanted, self.uri)

    def read(self, slots: Slots) -> None:
        """See :class:`analysis.store.backend.Backend`."""
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            wanted = product(batches(slots.lengths.tolist()), EPOCH_METRIC_NAMES)
            for _ in pool.map(lambda pair: self._read(slots, *pair), wanted):
                pass

    def _read(self, slots: Slots, runs: Sequence[int], name: str) -> None:
        run_ids = [slots.run_ids[run] for run in runs]
        points = bulk_history(self.uri, run_ids, name) if is_server(self.uri) else None
        if points is None:
            points = [
                (run_id, point.timestamp, point.step, point.value)
                for run_id in run_ids
                for point in self.client.get_metric_history(run_id, name)
            ]
        place = dict(zip(run_ids, runs, strict=True))
        points = [point for point in points if 1 <= point[2] <= slots.lengths[place[point[0]]]]
        points.sort(key=lambda point: (point[1], point[3]))
        slots.put(
            name,
            np.array([slots.first[place[p[0]]] + p[2] - 1 for p in points], dtype=np.int64),
            np.array([value for *_, value in points], dtype=np.float64),
        )


def _raw(run: Run) -> RawRun:
    latest = run.data.to_proto().metrics  # the entity itself drops their steps
    epochs = [metric for metric in latest if metric.key in EPOCH_METRIC_NAMES]
    keep = IMAGE_COUNTS if CONFIG_TAG in run.data.tags else run.data.params
    return RawRun(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        status=run.info.status,
        start_time=run.info.start_time or 0,
        end_time=run.info.end_time or 0,
        tags=run.data.tags,
        params={key: run.data.params[key] for key in keep if key in run.data.params},
        metrics={m.key: restored(m.value) for m in latest if m.key in SUMMARY_METRIC_NAMES},
        last_epoch=max((metric.step for metric in epochs), default=0),
        last_timestamp=max((metric.timestamp for metric in epochs), default=0),
    )


def _reach(uri: str, address: str) -> None:
    """Ask once whether anybody is there."""
    if reason := no_answer(uri):
        raise StoreError(
            f"tracking_uri: no server answers, got {address} ({reason}); start it with "
            "mlflow server, or give another --tracking-uri"
        )
