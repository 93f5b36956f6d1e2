"""What is done and what is not: MLflow's runs of an experiment by fingerprint."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlflow.entities import Run, ViewType
from sqlalchemy import Engine

from suite.basics.mlflow_client import every_page
from suite.declarations.attempts import ATTEMPT_TAG, attempt_of
from suite.declarations.config import RunConfig
from suite.declarations.results import RunResult
from suite.declarations.tags import FINGERPRINT_TAG
from suite.tracking.queries import StoredRun, engine_of, runs_by_fingerprint
from suite.tracking.results import read_results
from suite.tracking.runs import Tracker
from suite.tracking.store import is_transient

Row = tuple[str, StoredRun]  # a fingerprint and one of its runs
Failure = tuple[str, int | None]  # MLflow's id of a run that broke, and its end by some clock


@dataclass(frozen=True)
class Ledger:
    """The runs of one MLflow experiment, fingerprint to MLflow id.

    Attributes
    ----------
    finished
        Runs that came to their end; of several the one that counts
        (:mod:`suite.declarations.attempts`).
    unfinished
        The last of those that did not, where none is finished.
    failed
        Those of the unfinished ones that broke, and which time it was: two of these are equal or
        not, and which is later they cannot say.
    doubled
        Where several are finished, those that do not count.
    """

    finished: dict[str, str]
    unfinished: dict[str, str]
    failed: dict[str, Failure]
    doubled: dict[str, list[str]] = field(default_factory=dict)

    def failed_since(self, fingerprint: str, before: Mapping[str, Failure]) -> bool:
        """Whether a run is one that broke after another ledger's `failed` was read.

        Times of two machines, or from before and after a clock was set, cannot be compared. So
        this asks whether it has broken once more, not when.
        """
        failure = self.failed.get(fingerprint)
        return failure is not None and failure != before.get(fingerprint)


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
        return _ledger(self._from_database(self._engine))

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
            if self._last is None or not is_transient(error):
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
            if not is_transient(error):
                raise
            self._away_since = time.monotonic()
            return self._last

    def results(self, runs: Mapping[str, RunConfig]) -> dict[str, RunResult]:
        """What finished runs have come to, by MLflow's ids; given with their settings."""
        return read_results(self._tracker, self._engine, runs)

    def _some(self, fingerprints: Sequence[str]) -> list[Row]:
        """The runs of a few configurations.

        A worker asks before each fleet. If it read the whole ledger every time, a sweep of n runs
        would read n rows n times.
        """
        if self._engine is not None:
            return self._from_database(self._engine, fingerprints)
        return [(f, run) for f in fingerprints for run in self._tracker.runs_of(f)]

    def _from_database(
        self, engine: Engine, fingerprints: Sequence[str] | None = None
    ) -> list[Row]:
        return runs_by_fingerprint(engine, self._tracker.experiment_id, fingerprints)

    def _from_server(self) -> list[Row]:
        runs = every_page(
            self._tracker.client.search_runs,
            experiment_ids=[self._tracker.experiment_id],
            run_view_type=ViewType.ACTIVE_ONLY,
        )
        return [_row(run) for run in runs if FINGERPRINT_TAG in run.data.tags]


def _row(run: Run) -> Row:
    info, tags = run.info, run.data.tags
    attempt = attempt_of(tags.get(ATTEMPT_TAG))
    return tags[FINGERPRINT_TAG], StoredRun(info.run_id, info.status, info.end_time, attempt)


def _ledger(rows: Sequence[Row]) -> Ledger:
    """The ledger of rows in any order."""
    finished: dict[str, str] = {}
    doubled: dict[str, list[str]] = {}
    ordered = sorted(rows, key=lambda row: row[1].rank)
    for fingerprint, run in ordered:
        if run.status == "FINISHED":
            if fingerprint in finished:
                doubled.setdefault(fingerprint, []).append(finished[fingerprint])
            finished[fingerprint] = run.run_id
    rest = {fingerprint: run for fingerprint, run in ordered if fingerprint not in finished}
    return Ledger(
        finished,
        {fingerprint: run.run_id for fingerprint, run in rest.items()},
        {key: (run.run_id, run.end_time) for key, run in rest.items() if run.status == "FAILED"},
        doubled,
    )
