"""The list of runs out of MLflow's tables, the same for SQLite and PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from sys import intern  # one text for a key, not one a row
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, func, select
from sqlalchemy.exc import SQLAlchemyError

from analysis.store.artifacts import read_all
from analysis.store.backend import TAGS, RawRun, no_store
from suite.basics.mlflow_tables import (
    ACTIVE,
    LISTED,
    experiments,
    latest_metrics,
    params,
    restored,
    runs,
    tags,
    with_runs,
    without_index,
)
from suite.declarations.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES
from suite.declarations.predictions import Predictions
from suite.declarations.tags import CONFIG_TAG, FINGERPRINT_TAG, IMAGE_COUNTS

Texts = Mapping[str, Mapping[str, str]]  # run id to key to value

EXPERIMENTS = select(experiments.c.name, experiments.c.experiment_id).where(
    experiments.c.lifecycle_stage == ACTIVE
)
DELETED = select(experiments.c.name).where(experiments.c.lifecycle_stage != ACTIVE)
NEWEST = (
    select(experiments.c.name)
    .select_from(
        with_runs(tags).join(experiments, experiments.c.experiment_id == runs.c.experiment_id)
    )
    .where(
        tags.c.key == FINGERPRINT_TAG,
        runs.c.lifecycle_stage == ACTIVE,
        experiments.c.lifecycle_stage == ACTIVE,
    )
    .order_by(runs.c.start_time.desc(), runs.c.run_uuid)
    .limit(1)
)
RUNS = select(
    runs.c.run_uuid, runs.c.name, runs.c.status, runs.c.start_time, runs.c.end_time
).where(LISTED)
FOLDERS = select(runs.c.run_uuid, runs.c.artifact_uri).where(LISTED)


class SqlListing:
    """Experiments and runs of a store that is a database."""

    errors: tuple[type[Exception], ...] = (SQLAlchemyError,)
    is_mlflow = True

    def __init__(self, engine: Engine, address: str) -> None:
        self.engine, self.address = engine, address
        try:
            self.connection: Connection = engine.connect()
            self.connection.execute(EXPERIMENTS.limit(0))
        except SQLAlchemyError as error:
            engine.dispose()
            raise no_store(address, error) from None

    def close(self) -> None:
        """Free the connection."""
        self.connection.close()
        self.engine.dispose()

    def experiments(self) -> Mapping[str, str]:
        """See :class:`analysis.store.backend.Backend`."""
        return {name: str(number) for name, number in self.connection.execute(EXPERIMENTS)}

    def deleted_experiments(self) -> Collection[str]:
        """See :class:`analysis.store.backend.Backend`."""
        return list(self.connection.execute(DELETED).scalars())

    def origin(self, experiment_id: str) -> str:  # noqa: ARG002
        """See :class:`analysis.store.backend.Backend`."""
        return ""

    def newest(self) -> str:
        """See :class:`analysis.store.backend.Backend`."""
        return str(self.connection.execute(NEWEST).scalar_one_or_none() or "")

    def runs(self, experiment_id: str) -> Sequence[RawRun]:
        """See :class:`analysis.store.backend.Backend`."""
        number = int(experiment_id)
        tags_of = self._texts(tags, number, TAGS)
        tags_of = {run_id: found for run_id, found in tags_of.items() if FINGERPRINT_TAG in found}
        have_settings = all(CONFIG_TAG in found for found in tags_of.values())
        params_of = self._texts(params, number, IMAGE_COUNTS if have_settings else ())
        summaries, last = self._summaries(number), self._last_epochs(number)
        return [
            RawRun(
                run_id=run_id,
                name=name or "",
                status=status,
                start_time=start or 0,
                end_time=end or 0,
                tags=tags_of[run_id],
                params=params_of.get(run_id, {}),
                metrics=summaries.get(run_id, {}),
                last_epoch=last.get(run_id, (0, 0))[0],
                last_timestamp=last.get(run_id, (0, 0))[1],
            )
            for run_id, name, status, start, end in self.connection.execute(
                RUNS, {"experiment": number}
            )
            if run_id in tags_of
        ]

    def predictions(
        self, experiment_id: str, wanted: Mapping[str, str]
    ) -> Mapping[str, Predictions]:
        """See :class:`analysis.store.backend.Backend`."""
        found = self.connection.execute(FOLDERS, {"experiment": int(experiment_id)})
        return read_all({run_id: folder or "" for run_id, folder in found}, wanted, self.address)

    def _texts(self, table: Table, experiment: int, keys: Sequence[str]) -> Texts:
        """Tags or params of the experiment's runs; all of them if no keys are given."""
        query = select(table.c.run_uuid, table.c.key, table.c.value)
        query = query.select_from(with_runs(table)).where(LISTED)
        if keys:
            query = query.where(without_index(table.c.key).in_(keys))
        texts: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for run_id, key, value in self.connection.execute(query, {"experiment": experiment}):
            texts[run_id][intern(key)] = value
        return texts

    def _summaries(self, experiment: int) -> Mapping[str, Mapping[str, float]]:
        """Per run, its summary metrics."""
        latest = latest_metrics.c
        query = select(latest.run_uuid, latest.key, latest.value, latest.is_nan)
        found: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for run_id, key, value, is_nan in self._latest(query, SUMMARY_METRIC_NAMES, experiment):
            found[run_id][intern(key)] = restored(value, is_nan)
        return found

    def _last_epochs(self, experiment: int) -> Mapping[str, tuple[int, int]]:
        """Per run, the last logged epoch and its timestamp."""
        latest = latest_metrics.c
        query = select(latest.run_uuid, func.max(latest.step), func.max(latest.timestamp))
        found = self._latest(query.group_by(latest.run_uuid), EPOCH_METRIC_NAMES, experiment)
        return {run_id: (step, timestamp) for run_id, step, timestamp in found}

    def _latest(self, query: Select[Any], names: Sequence[str], experiment: int) -> Iterable[Any]:
        """The query's rows about the latest values of some metrics of the experiment's runs."""
        query = query.select_from(with_runs(latest_metrics))
        query = query.where(LISTED, without_index(latest_metrics.c.key).in_(names))
        return self.connection.execute(query, {"experiment": experiment})
