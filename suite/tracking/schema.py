"""An MLflow store that is a database, asked by SQL where MLflow's own search is slow.

MLflow looks a tag's value up by going through that tag of all runs: 0.14 s at 62,500 runs, two or
three times a run. An index on the fingerprints makes it a millisecond at any number.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Engine, NullPool, create_engine, text

from suite.declarations.tags import FINGERPRINT_TAG

DATABASES = ("sqlite", "postgresql", "postgres", "mysql", "mssql")
SQLITE_PATIENCE = 60.0  # seconds to wait for another process's write

# Partial, so a few dozen bytes a run; MLflow's migrations leave it alone. The key is written out
# in each query that is to use it.
INDEX = text(
    "CREATE INDEX IF NOT EXISTS suite_runs_by_fingerprint "
    f"ON tags (value) WHERE key = '{FINGERPRINT_TAG}'"
)
WRITE_AHEAD = text("PRAGMA journal_mode=WAL")
RUNS_OF = text(
    "SELECT r.run_uuid, r.status, r.end_time FROM tags t JOIN runs r ON r.run_uuid = t.run_uuid "
    f"WHERE t.key = '{FINGERPRINT_TAG}' AND t.value = :fingerprint "
    "AND r.experiment_id = :experiment AND r.lifecycle_stage = 'active' "
    "ORDER BY r.start_time DESC"
)
# By run: MLflow's own reading of histories is metric by metric, 3 ms each.
POINTS_OF = text("SELECT key, step FROM metrics WHERE run_uuid = :run")


class StoredRun(NamedTuple):
    """What the ledger needs of a run; it ends in milliseconds since 1970, if it has ended."""

    run_id: str
    status: str
    end_time: int | None


def engine_of(uri: str) -> Engine | None:
    """Connections to a store, each closed after use; None if it is a server."""
    scheme = uri.split(":", 1)[0].split("+", 1)[0]
    if scheme not in DATABASES:
        return None
    patience = {"timeout": SQLITE_PATIENCE} if scheme == "sqlite" else {}
    return create_engine(uri, poolclass=NullPool, connect_args=patience)


def prepare_sqlite(uri: str) -> None:
    """Let readers and a writer work at once, and find runs by fingerprint; both last."""
    engine = engine_of(uri)
    assert engine is not None
    with engine.begin() as connection:
        connection.execute(WRITE_AHEAD)
        connection.execute(INDEX)


def runs_of(engine: Engine, experiment_id: str, fingerprint: str) -> list[StoredRun]:
    """A configuration's runs that are not deleted, newest first."""
    where = {"fingerprint": fingerprint, "experiment": int(experiment_id)}
    with engine.connect() as connection:
        return [StoredRun(*row) for row in connection.execute(RUNS_OF, where)]


def points_of(engine: Engine, run_id: str) -> list[tuple[str, int]]:
    """Name and step of every metric logged for a run, a point logged twice twice."""
    with engine.connect() as connection:
        return [(name, step) for name, step in connection.execute(POINTS_OF, {"run": run_id})]
