"""The list of runs out of MLflow's tables, the same for SQLite and PostgreSQL."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from sys import intern  # one text for a key, not one a row
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, text
from sqlalchemy.exc import SQLAlchemyError

from analysis.store.backend import TAGS, RawRun, no_store
from analysis.store.history import restored
from suite.declarations.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES
from suite.declarations.tags import CONFIG_TAG, FINGERPRINT_TAG, IMAGE_COUNTS

Texts = Mapping[str, Mapping[str, str]]  # run id to key to value

EXPERIMENTS = "SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active'"
NEWEST = """
    SELECT e.name FROM runs AS r
    JOIN experiments AS e ON e.experiment_id = r.experiment_id
    JOIN tags AS t ON t.run_uuid = r.run_uuid AND t.key = :fingerprint
    WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'
    ORDER BY r.start_time DESC, r.run_uuid LIMIT 1
"""
RUNS = """
    SELECT run_uuid, name, status, start_time, end_time FROM runs AS r WHERE {ours}
"""
OURS = "r.experiment_id = :experiment AND r.lifecycle_stage = 'active'"
TEXTS = """
    SELECT x.run_uuid, x.key, x.value FROM {table} AS x
    JOIN runs AS r ON r.run_uuid = x.run_uuid WHERE {ours}
"""
SUMMARIES = """
    SELECT x.run_uuid, x.key, x.value, x.is_nan FROM latest_metrics AS x
    JOIN runs AS r ON r.run_uuid = x.run_uuid WHERE {ours} AND {key} IN :keys
"""
LAST_EPOCHS = """
    SELECT x.run_uuid, max(x.step), max(x.timestamp) FROM latest_metrics AS x
    JOIN runs AS r ON r.run_uuid = x.run_uuid WHERE {ours} AND {key} IN :keys
    GROUP BY x.run_uuid
"""


class SqlListing:
    """Experiments and runs of a store that is a database."""

    errors: tuple[type[Exception], ...] = (SQLAlchemyError,)
    key = "x.key"  # a row's key, in a form from which the database finds its best way

    def __init__(self, engine: Engine, address: str) -> None:
        self.engine, self.address = engine, address
        try:
            self.connection: Connection = engine.connect()
            self.connection.execute(text("SELECT 1 FROM experiments WHERE 1 = 0"))
        except SQLAlchemyError as error:
            engine.dispose()
            raise no_store(address, error) from None

    def close(self) -> None:
        """Free the connection."""
        self.connection.close()
        self.engine.dispose()

    def experiments(self) -> Mapping[str, str]:
        """See :class:`analysis.store.backend.Backend`."""
        found = self.connection.execute(text(EXPERIMENTS))
        return {name: str(number) for name, number in found}

    def newest(self) -> str:
        """See :class:`analysis.store.backend.Backend`."""
        found = self.connection.execute(text(NEWEST), {"fingerprint": FINGERPRINT_TAG})
        return str(found.scalar_one_or_none() or "")

    def runs(self, experiment_id: str) -> Sequence[RawRun]:
        """See :class:`analysis.store.backend.Backend`."""
        number = int(experiment_id)
        tags = self._texts("tags", number, TAGS)
        tags = {run_id: found for run_id, found in tags.items() if FINGERPRINT_TAG in found}
        all_told = all(CONFIG_TAG in found for found in tags.values())
        params = self._texts("params", number, IMAGE_COUNTS if all_told else ())
        metrics, last = self._summaries(number), self._last_epochs(number)
        return [
            RawRun(
                run_id=run_id,
                name=name or "",
                status=status,
                start_time=start or 0,
                end_time=end or 0,
                tags=tags[run_id],
                params=params.get(run_id, {}),
                metrics=metrics.get(run_id, {}),
                last_epoch=last.get(run_id, (0, 0))[0],
                last_timestamp=last.get(run_id, (0, 0))[1],
            )
            for run_id, name, status, start, end in self.connection.execute(
                text(RUNS.format(ours=OURS)), {"experiment": number}
            )
            if run_id in tags
        ]

    def _texts(self, table: str, experiment: int, keys: Sequence[str]) -> Texts:
        """Tags or params of the experiment's runs; all of them if no keys are given."""
        statement = text(TEXTS.format(table=table, ours=OURS))
        if keys:
            statement = text(f"{statement} AND {self.key} IN :keys")
            statement = statement.bindparams(bindparam("keys", keys, expanding=True))
        texts: defaultdict[str, dict[str, str]] = defaultdict(dict)
        found = self.connection.execute(statement, {"experiment": experiment})
        for run_id, key, value in found:
            texts[run_id][intern(key)] = value
        return texts

    def _summaries(self, experiment: int) -> Mapping[str, Mapping[str, float]]:
        """Per run, its summary metrics."""
        metrics: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for run_id, key, value, is_nan in self._latest(SUMMARIES, SUMMARY_METRIC_NAMES, experiment):
            metrics[run_id][intern(key)] = math.nan if is_nan else restored(value)
        return metrics

    def _last_epochs(self, experiment: int) -> Mapping[str, tuple[int, int]]:
        """Per run, the last logged epoch and its timestamp."""
        found = self._latest(LAST_EPOCHS, EPOCH_METRIC_NAMES, experiment)
        return {run_id: (step, timestamp) for run_id, step, timestamp in found}

    def _latest(self, query: str, keys: Sequence[str], experiment: int) -> Iterable[Any]:
        statement = text(query.format(ours=OURS, key=self.key)).bindparams(
            bindparam("keys", keys, expanding=True)
        )
        return self.connection.execute(statement, {"experiment": experiment})
