"""An MLflow store that is a database, asked by SQL where MLflow's own search is slow.

MLflow looks a tag's value up by going through that tag of all runs: 0.14 s at 62,500 runs, two or
three times a run. An index on the fingerprints makes it a millisecond at any number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Index,
    NullPool,
    Select,
    Table,
    and_,
    bindparam,
    create_engine,
    exists,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.schema import CreateIndex

from suite.basics.mlflow_client import artifacts_beside
from suite.basics.mlflow_tables import (
    LISTED,
    experiments,
    latest_metrics,
    metrics,
    restored,
    runs,
    tags,
    with_runs,
    without_index,
)
from suite.basics.sqlite_store import SQLITE_PATIENCE
from suite.declarations.attempts import ATTEMPT_TAG, attempt_of, rank
from suite.declarations.tags import DIVERGED_TAG, FINGERPRINT_TAG

DATABASES = ("sqlite", "postgresql", "postgres", "mysql", "mssql")
WRITE_AHEAD = text("PRAGMA journal_mode=WAL")

# Partial, so a few dozen bytes a run; MLflow's migrations leave it alone.
INDEX = CreateIndex(
    Index("suite_runs_by_fingerprint", tags.c.value, sqlite_where=tags.c.key == FINGERPRINT_TAG),
    if_not_exists=True,
)
# SQLite uses a partial index only where the query itself spells the key out.
IS_FINGERPRINT = tags.c.key == literal(FINGERPRINT_TAG, literal_execute=True)
IN_EXPERIMENT = runs.c.experiment_id == bindparam("experiment")
attempts = tags.alias("attempts")


def _numbered(*columns: ColumnElement[Any]) -> Select[Any]:
    """Columns of runs that have a fingerprint, and the tag with the number of each, if it has one.

    SQLite finds that tag by its primary key, which is name and run.
    """
    its_number = and_(attempts.c.run_uuid == runs.c.run_uuid, attempts.c.key == ATTEMPT_TAG)
    return (
        select(*columns, attempts.c.value)
        .select_from(with_runs(tags).outerjoin(attempts, its_number))
        .where(IS_FINGERPRINT)
    )


STORED = (runs.c.run_uuid, runs.c.status, runs.c.end_time)
OF_FINGERPRINT = tags.c.value == bindparam("fingerprint")
RUNS_OF = _numbered(*STORED).where(OF_FINGERPRINT, LISTED)
ATTEMPTS_OF = _numbered(runs.c.run_uuid).where(OF_FINGERPRINT, IN_EXPERIMENT)
ALL_RUNS = _numbered(tags.c.value, *STORED).where(LISTED)
SOME_RUNS = ALL_RUNS.where(tags.c.value.in_(bindparam("fingerprints", expanding=True)))

# By run: MLflow's own reading of histories is metric by metric, 3 ms each.
LOGGED = select(metrics.c.key, metrics.c.step).where(metrics.c.run_uuid == bindparam("run"))


# MLflow makes its experiment 0 with the store, for files below the directory it happens to run in.
MLFLOWS_OWN = "0"
ITS_PLACE = experiments.c.artifact_location
IS_ASTRAY = and_(
    experiments.c.experiment_id == int(MLFLOWS_OWN),
    ITS_PLACE.like("/%/mlruns/0"),  # no address, and nobody's own choice
    bindparam("place") != ITS_PLACE,
    ~exists().where(runs.c.experiment_id == experiments.c.experiment_id),
)
ASTRAY = select(ITS_PLACE).where(IS_ASTRAY)
PUT_BESIDE = update(experiments).where(IS_ASTRAY).values(artifact_location=bindparam("place"))


def _of_runs(table: Table) -> ColumnElement[bool]:
    return table.c.run_uuid.in_(bindparam("runs", expanding=True))


POINTS = select(
    metrics.c.run_uuid,
    metrics.c.key,
    metrics.c.step,
    metrics.c.timestamp,
    metrics.c.value,
    metrics.c.is_nan,
).where(_of_runs(metrics), without_index(metrics.c.key).in_(bindparam("names", expanding=True)))
LATEST = select(
    latest_metrics.c.run_uuid,
    latest_metrics.c.key,
    latest_metrics.c.value,
    latest_metrics.c.is_nan,
).where(_of_runs(latest_metrics))
DIVERGED = select(tags.c.run_uuid).where(
    _of_runs(tags), tags.c.key == DIVERGED_TAG, tags.c.value == "true"
)


class StoredRun(NamedTuple):
    """What the ledger needs to know of a run in MLflow.

    Attributes
    ----------
    end_time
        In milliseconds since 1970, by the clock of whoever ended it; None while it has not ended.
    attempt
        Its number among the runs of its configuration; see :mod:`suite.declarations.attempts`.
    """

    run_id: str
    status: str
    end_time: int | None
    attempt: int = 0

    @property
    def rank(self) -> tuple[int, str]:
        """Sorts the runs of one configuration; the last of them counts."""
        return rank(self.attempt, self.run_id)


def engine_of(uri: str) -> Engine | None:
    """Connections to a store, each closed after use; None if it is a server."""
    scheme = uri.split(":", 1)[0].split("+", 1)[0]
    if scheme not in DATABASES:
        return None
    patience = {"timeout": SQLITE_PATIENCE} if scheme == "sqlite" else {}
    return create_engine(uri, poolclass=NullPool, connect_args=patience)


def prepare_sqlite(uri: str) -> None:
    """Let readers and a writer work at once, and find runs by fingerprint; both last.

    And MLflow's own experiment, as long as it has no run, gets its files beside the store.
    """
    engine = engine_of(uri)
    assert engine is not None
    with engine.begin() as connection:
        connection.execute(WRITE_AHEAD)
        connection.execute(INDEX)
        place = artifacts_beside(uri, MLFLOWS_OWN)
        if place and connection.execute(ASTRAY, {"place": place}).first():
            connection.execute(PUT_BESIDE, {"place": place})


def runs_of(engine: Engine, experiment_id: str, fingerprint: str) -> list[StoredRun]:
    """A configuration's runs that are not deleted."""
    where = {"fingerprint": fingerprint, "experiment": int(experiment_id)}
    with engine.connect() as connection:
        return [_stored(*row) for row in connection.execute(RUNS_OF, where)]


def attempts_of(engine: Engine, experiment_id: str, fingerprint: str) -> dict[str, int]:
    """All runs of a configuration, deleted ones too: MLflow's id to the run's number."""
    where = {"fingerprint": fingerprint, "experiment": int(experiment_id)}
    with engine.connect() as connection:
        found = connection.execute(ATTEMPTS_OF, where).all()
    return {run_id: attempt_of(number) for run_id, number in found}


def _stored(run_id: str, status: str, end_time: int | None, number: str | None) -> StoredRun:
    return StoredRun(run_id, status, end_time, attempt_of(number))


def runs_by_fingerprint(
    engine: Engine, experiment_id: str, fingerprints: Sequence[str] | None = None
) -> list[tuple[str, StoredRun]]:
    """Runs that are not deleted with their fingerprints.

    Parameters
    ----------
    fingerprints
        Those asked for; None asks for all.
    """
    query, asked = ALL_RUNS, {"experiment": int(experiment_id)}
    if fingerprints is not None:
        query = SOME_RUNS.params(fingerprints=list(fingerprints))
    with engine.connect() as connection:
        return [(key, _stored(*run)) for key, *run in connection.execute(query, asked)]


def points_of(engine: Engine, run_id: str) -> list[tuple[str, int]]:
    """Name and step of every point logged for a run; one that was logged twice comes twice."""
    with engine.connect() as connection:
        return [(name, step) for name, step in connection.execute(LOGGED, {"run": run_id})]


def points_of_runs(
    connection: Connection, run_ids: Sequence[str], names: Sequence[str]
) -> Iterator[tuple[str, str, int, int, float]]:
    """Some metrics of some runs: MLflow's id, name, step, timestamp and value of every point."""
    asked = {"runs": list(run_ids), "names": list(names)}
    for run_id, name, step, timestamp, value, is_nan in connection.execute(POINTS, asked):
        yield run_id, name, step, timestamp, restored(value, is_nan)


def latest_values(connection: Connection, run_ids: Sequence[str]) -> Mapping[str, dict[str, float]]:
    """The latest value of every metric of some runs: MLflow's id to name to value."""
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for run_id, name, value, is_nan in connection.execute(LATEST, {"runs": list(run_ids)}):
        found[run_id][name] = restored(value, is_nan)
    return found


def diverged(connection: Connection, run_ids: Sequence[str]) -> set[str]:
    """Those of some runs that diverged."""
    return set(connection.execute(DIVERGED, {"runs": list(run_ids)}).scalars())
