"""Trains fleets and keeps what they measure: on disk first, then in MLflow.

Every epoch is safe in two steps. At a pace that costs a few percent of the time, each run's state
is written to its checkpoint, and then the epochs up to that state are logged. MLflow never holds an
epoch which a crash could make the run repeat with another clock time, so none is there twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock

from suite.checkpoint import CheckpointError, RunState
from suite.config import RunConfig
from suite.data import ImageData
from suite.fleet import EpochOutcome, FinishedRun, Fleet, Interrupted
from suite.metrics import EpochRecord
from suite.tracking import DataDescription, Tracker
from suite.workspace import KeptResult, Workspace
from suite.writer import Writer

# A checkpoint is due once training has taken so many times what the last one cost, and not sooner
# than this many seconds after it.
TRAINING_PER_CHECKPOINT = 30.0
SHORTEST_INTERVAL = 1.0

FINAL_WAIT = 60.0  # seconds that a finished session waits for MLflow
INTERRUPTED_WAIT = 3.0
REASON_LENGTH = 500

OnEpoch = Callable[[Fleet, EpochOutcome], None]


class FleetError(RuntimeError):
    """A fleet broke; `claims` are its runs that had not ended."""

    def __init__(self, error: Exception, claims: list[Claim]) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error, self.claims = error, claims


@dataclass
class Claim:
    """The right to train one run, and where it goes on from."""

    config: RunConfig
    lock: FileLock
    state: RunState | None
    run_id: str | None  # None until MLflow has the run
    parent: str = ""  # MLflow id of the run under which it is listed


class Session:
    """One process's work on the runs of one MLflow experiment.

    Parameters
    ----------
    tracker
        The experiment.
    state_dir
        Where checkpoints live.
    data
        The data set of all its runs.
    device
        Where to train.
    checkpoints
        Whether to write checkpoints; without, an interrupted run starts anew.
    notify
        Called with one line on what a person should know.
    uploaded
        Called with MLflow's id and the result, when MLflow has all of a finished run.
    """

    def __init__(
        self,
        tracker: Tracker,
        state_dir: Path,
        data: ImageData,
        device: torch.device,
        *,
        source: str,
        checkpoints: bool = True,
        notify: Callable[[str], None],
        uploaded: Callable[[str, KeptResult], None] = lambda _run_id, _result: None,
    ) -> None:
        self.tracker, self.data, self.device = tracker, data, device
        self.workspace = Workspace(
            state_dir, (tracker.uri, tracker.experiment_id), tracker.experiment_name
        )
        self.checkpoints, self.notify, self.uploaded = checkpoints, notify, uploaded
        self.description = describe_data(data, source)
        self.writer = Writer(notify)

    def claim(self, config: RunConfig, run_id: str | None = None) -> Claim | None:
        """Take a run for training; None if another process has it, or it only needs uploading.

        Parameters
        ----------
        config
            The run.
        run_id
            Its unfinished MLflow run, which then goes on, if there is one.
        """
        lock = self.workspace.lease(config.fingerprint)
        if lock is None:
            return None
        if self.workspace.has_result(config.fingerprint):
            self._upload_kept(config, lock)
            return None
        try:
            return Claim(config, lock, self._state(config), run_id)
        except CheckpointError:
            lock.release()
            raise

    def _state(self, config: RunConfig) -> RunState | None:
        return self.workspace.load(config.fingerprint) if self.checkpoints else None

    def train(
        self,
        claims: Sequence[Claim],
        *,
        on_epoch: OnEpoch,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> list[FinishedRun]:
        """Train claimed runs as one fleet to their end.

        Parameters
        ----------
        claims
            Runs that may train together and stand at the same epoch.
        on_epoch
            Called after every epoch.
        interrupted
            Asked before every step.

        Raises
        ------
        Interrupted
            If asked to stop; the runs are marked, and go on from their checkpoints next time.
        CheckpointError
            If the disk is full.
        FleetError
            If training broke for another reason; the claims are still held.
        WriteError
            If MLflow refuses a write for good.
        """
        by_fingerprint = {claim.config.fingerprint: claim for claim in claims}
        for claim in claims:
            self.writer.submit(lambda claim=claim: self._open(claim))  # type: ignore[misc]
        finished: list[FinishedRun] = []
        pending: dict[str, list[EpochRecord]] = {key: [] for key in by_fingerprint}
        try:
            states = [claim.state for claim in claims if claim.state is not None]
            fleet = Fleet(
                [claim.config for claim in claims],
                self.data,
                self.device,
                states=states or None,
                interrupted=interrupted,
            )
            pace = Pace()
            for outcome in fleet.epochs():
                for key, record in outcome.records.items():
                    pending[key].append(record)
                for run in outcome.finished:
                    finished.append(run)
                    pending.pop(run.config.fingerprint)
                    self._finish(run, by_fingerprint[run.config.fingerprint])
                on_epoch(fleet, outcome)
                if fleet.members and pace.due():
                    self._secure(fleet, pending, by_fingerprint, pace)
        except Interrupted:
            self._suspend([c for c in claims if c.config.fingerprint in pending])
            raise
        except CheckpointError:
            raise  # the disk, not a run, is at fault
        except Exception as error:
            done = {run.config.fingerprint for run in finished}
            left = [claim for claim in claims if claim.config.fingerprint not in done]
            raise FleetError(error, left) from error
        return finished

    def _open(self, claim: Claim) -> None:
        """Give a run its place in MLflow, complete with what its checkpoint knows."""
        tracker, about = self.tracker, (self.description, str(self.device))
        if claim.run_id is None:
            claim.run_id = tracker.create(claim.config, *about, claim.parent)
        else:
            tracker.take_up(claim.run_id, claim.config, *about)
        if claim.state is not None:
            tracker.log_missing_epochs(claim.run_id, claim.state.history)

    def _secure(
        self,
        fleet: Fleet,
        pending: dict[str, list[EpochRecord]],
        claims: dict[str, Claim],
        pace: Pace,
    ) -> None:
        """Checkpoint all runs, then log the epochs up to here."""
        start = time.monotonic()
        if self.checkpoints:
            for state in fleet.states():
                self.workspace.save(state)
        pace.done(time.monotonic() - start)
        for key, records in pending.items():
            if records:
                self._log(claims[key], list(records))
                records.clear()

    def _log(self, claim: Claim, records: list[EpochRecord]) -> None:
        def write() -> None:
            assert claim.run_id is not None
            if self.checkpoints:
                self.tracker.log_epochs(claim.run_id, records)
            else:  # started anew: epochs of the first attempt may be there
                self.tracker.log_missing_epochs(claim.run_id, records)

        self.writer.submit(write)

    def _finish(self, run: FinishedRun, claim: Claim) -> None:
        about = self.description
        self.workspace.keep_result(run, about.classes, about.image_shape)
        self.writer.submit(lambda: self._upload(claim))

    def _upload(self, claim: Claim) -> None:
        """Give MLflow all of a finished run, then remove its local files."""
        fingerprint = claim.config.fingerprint
        result = self.workspace.result(fingerprint)
        assert claim.run_id is not None
        self.tracker.log_missing_epochs(claim.run_id, result.history)
        if result.best is not None:
            self.tracker.log_best(claim.run_id, result.best)
        self.tracker.finish(
            claim.run_id,
            result.summary,
            result.history[-1].timestamp,
            diverged=result.diverged,
        )
        self.tracker.supersede(claim.run_id, fingerprint)
        self.workspace.forget(fingerprint)
        claim.lock.release()
        self.uploaded(claim.run_id, result)

    def upload_kept(self) -> None:
        """Upload results which an earlier session could not bring into MLflow."""
        for fingerprint in self.workspace.kept_results():
            lock = self.workspace.lease(fingerprint)
            if lock is not None:
                self._upload_kept(self.workspace.result(fingerprint).config, lock)

    def _upload_kept(self, config: RunConfig, lock: FileLock) -> None:
        claim = Claim(config, lock, None, None)

        def upload() -> None:
            claim.run_id = self.tracker.unfinished(config.fingerprint)
            self._open(claim)
            self._upload(claim)

        self.writer.submit(upload)

    def _suspend(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self.writer.submit(lambda claim=claim: self._interrupt(claim))  # type: ignore[misc]

    def _interrupt(self, claim: Claim) -> None:
        assert claim.run_id is not None
        self.tracker.interrupt(claim.run_id)
        claim.lock.release()

    def fail(self, claim: Claim, error: BaseException) -> None:
        """Give a run up: it is marked with the reason, and its lease ends."""
        reason = f"{type(error).__name__}: {error}"[:REASON_LENGTH]

        def mark() -> None:
            if claim.run_id is not None:
                self.tracker.fail(claim.run_id, reason)
            claim.lock.release()

        self.writer.submit(mark)

    def again(self, claim: Claim) -> Claim:
        """A claim on the same run from its last checkpoint, after its fleet broke."""
        return replace(claim, state=self._state(claim.config))

    def close(self, *, interrupted: bool = False) -> None:
        """Wait for MLflow; what it could not take stays on disk, and a line says so."""
        left = self.writer.drain(INTERRUPTED_WAIT if interrupted else FINAL_WAIT)
        self.writer.close()
        if left:
            self.notify(
                f"MLflow did not take everything in time; the rest is in "
                f"{self.workspace.folder} and the next start uploads it"
            )


class Pace:
    """When the next checkpoint is due: its cost stays a small part of the time."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._interval = SHORTEST_INTERVAL

    def due(self) -> bool:
        """Whether enough training has passed since the last one."""
        return time.monotonic() - self._last >= self._interval

    def done(self, cost: float) -> None:
        """A checkpoint was written and took `cost` seconds."""
        self._last = time.monotonic()
        self._interval = max(SHORTEST_INTERVAL, TRAINING_PER_CHECKPOINT * cost)


def describe_data(data: ImageData, source: str) -> DataDescription:
    """The data set for MLflow."""
    return DataDescription(
        name=data.name,
        digest=data.digest,
        source=source,
        sizes={
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        image_shape=(data.channels, data.height, data.width),
        classes=data.classes,
    )
