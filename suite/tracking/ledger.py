"""What is done and what is not: MLflow's runs of an experiment by fingerprint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from mlflow.entities import Run, ViewType
from sqlalchemy import Engine, TextClause, bindparam, text

from suite.declarations.tags import FINGERPRINT_TAG
from suite.tracking.results import Result, read_results
from suite.tracking.runs import Tracker
from suite.tracking.schema import engine_of
from suite.worker.writer import passing

PAGE = 1000

ROWS = (
    "SELECT t.value, r.run_uuid, r.status, r.end_time FROM runs r "
    "JOIN tags t ON t.run_uuid = r.run_uuid "
    "WHERE r.experiment_id = :experiment AND r.lifecycle_stage = 'active' "
    f"AND t.key = '{FINGERPRINT_TAG}'"
)
ALL = text(f"{ROWS} ORDER BY r.start_time")
SOME = text(f"{ROWS} AND t.value IN :some ORDER BY r.start_time").bindparams(
    bindparam("some", expanding=True)
)
# Fingerprint, MLflow id, status, end in milliseconds since 1970.
Row = tuple[str, str, str, int | None]


@dataclass(frozen=True)
class Ledger:
    """The runs of one MLflow experiment, fingerprint to MLflow id.

    Attributes
    ----------
    finished
        Runs that came to their end.
    unfinished
        The newest of those that did not, where none is finished.
    failed
        Those of the unfinished ones that broke, with when, in milliseconds since 1970.
    """

    finished: dict[str, str]
    unfinished: dict[str, str]
    failed: dict[str, int]


class LedgerReader:
    """Reads the ledger, from a database directly: milliseconds at 6,250 runs instead of seconds.

    Parameters
    ----------
    tracker
        The experiment.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._engine = engine_of(tracker.uri)
        self._last: Ledger | None = None
        self._away_since: float | None = None

    @property
    def seconds_away(self) -> float:
        """For how long :meth:`latest` has had no answer from MLflow."""
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    def read(self) -> Ledger:
        """The ledger as it is now."""
        if self._engine is None:
            return _ledger(self._from_server())
        return _ledger(self._from_database(self._engine, ALL))

    def latest(self) -> Ledger:
        """The ledger as it is now or, while MLflow is away, as it was when last read.

        Raises
        ------
        MlflowException, SQLAlchemyError
            If it has never been read, or cannot be for a reason that waiting does not mend.
        """
        try:
            self._last = self.read()
            self._away_since = None
        except Exception as error:
            if self._last is None or not passing(error):
                raise
            self._away_since = self._away_since or time.monotonic()
        return self._last

    def of(self, fingerprints: Sequence[str]) -> Ledger:
        """The part of the ledger about a few runs; raises as :meth:`latest` does."""
        if self._last is None or self._away_since is not None:
            return self.latest()
        try:
            return _ledger(self._some(fingerprints))
        except Exception as error:
            if not passing(error):
                raise
            self._away_since = time.monotonic()
            return self._last

    def results(self, run_ids: Sequence[str]) -> dict[str, Result]:
        """What MLflow knows of finished runs, by its ids."""
        return read_results(self._tracker, self._engine, run_ids)

    def _some(self, fingerprints: Sequence[str]) -> list[Row]:
        """Not the whole ledger: a worker asks before each fleet, so its cost would be squared."""
        if self._engine is not None:
            return self._from_database(self._engine, SOME, some=list(fingerprints))
        return [(f, *run) for f in fingerprints for run in self._tracker.runs_of(f)[::-1]]

    def _from_database(self, engine: Engine, query: TextClause, **some: list[str]) -> list[Row]:
        where = {"experiment": int(self._tracker.experiment_id), **some}
        with engine.connect() as connection:
            return [
                (f, run, status, end) for f, run, status, end in connection.execute(query, where)
            ]

    def _from_server(self) -> list[Row]:
        rows: list[Row] = []
        token = None
        while True:
            page = self._tracker.client.search_runs(
                [self._tracker.experiment_id],
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            rows += [_row(run) for run in page if FINGERPRINT_TAG in run.data.tags]
            token = page.token
            if not token:
                return rows


def _row(run: Run) -> Row:
    info = run.info
    return run.data.tags[FINGERPRINT_TAG], info.run_id, info.status, info.end_time


def _ledger(rows: Sequence[Row]) -> Ledger:
    """The ledger of rows in the order in which their runs began."""
    finished = {fingerprint: run for fingerprint, run, status, _ in rows if status == "FINISHED"}
    rest = {f: (run, status, end) for f, run, status, end in rows if f not in finished}
    return Ledger(
        finished,
        {fingerprint: run for fingerprint, (run, _, _) in rest.items()},
        {fingerprint: end or 0 for fingerprint, (_, s, end) in rest.items() if s == "FAILED"},
    )
