"""Trains fleets and keeps what they measure: on disk first, then in MLflow.

At a pace that costs a few percent of the time, each run's state is written to its checkpoint, and
then the epochs up to that state are logged. MLflow never holds an epoch which a crash could make
the run repeat with another clock time, so none is there twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from suite.checkpoint import CheckpointError, RunState
from suite.claims import Claim, FleetError, UnreadableError
from suite.config import RunConfig
from suite.data import ImageData
from suite.data_description import describe_data
from suite.fleet import Fleet, Interrupted
from suite.leases import LeaseLostError
from suite.member import EpochOutcome, FinishedRun
from suite.metrics import EPOCH_METRIC_NAMES, EpochRecord
from suite.pace import Pace
from suite.tracking import Tracker
from suite.workspace import KeptResult, Workspace
from suite.writer import WriteError, Writer

FINAL_WAIT = 60.0  # seconds that a finished session waits for MLflow
INTERRUPTED_WAIT = 3.0
REASON_LENGTH = 500

OnEpoch = Callable[[Fleet, EpochOutcome], None]


class Session:
    """One process's work on the runs of one MLflow experiment.

    Parameters
    ----------
    tracker, workspace, data, device
        The experiment, where its state is kept, the data set of all its runs, where to train.
    checkpoints
        Whether to write checkpoints; without, an interrupted run starts anew.
    notify
        Called with one line on what a person should know.
    uploaded
        Called with MLflow's id and the result, when MLflow has all of a finished run.
    writer
        Where sessions share one.
    """

    def __init__(
        self,
        tracker: Tracker,
        workspace: Workspace,
        data: ImageData,
        device: torch.device,
        *,
        source: str,
        checkpoints: bool = True,
        notify: Callable[[str], None],
        uploaded: Callable[[str, KeptResult], None] = lambda _run_id, _result: None,
        writer: Writer | None = None,
    ) -> None:
        self.tracker, self.workspace, self.data, self.device = tracker, workspace, data, device
        self.checkpoints, self.notify, self.uploaded = checkpoints, notify, uploaded
        self.description = describe_data(data, source)
        self.writer = writer or Writer(notify)

    def claim(
        self, config: RunConfig, run_id: str | None = None, *, parent: str = ""
    ) -> Claim | None:
        """Take a run for training; None if another process has it, or it only needs uploading.

        Parameters
        ----------
        run_id
            The run's unfinished MLflow run, which then goes on, if there is one.
        parent
            MLflow id of the run under which it is listed.

        Raises
        ------
        UnreadableError
            If its checkpoint cannot be read.
        CheckpointError
            If the state directory cannot be written.
        LeasesAwayError
            If the server that keeps the leases does not answer.
        """
        lock = self.workspace.lease(config.fingerprint)
        if lock is None:
            return None
        if self.workspace.has_result(config.fingerprint):
            self._upload_kept(Claim(config, lock, None, None, parent))
            return None
        try:
            return Claim(config, lock, self._state(config), run_id, parent)
        except CheckpointError as error:
            lock.release()
            raise UnreadableError(str(error)) from error

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
        on_epoch, interrupted
            Called after every epoch; asked before every step.

        Raises
        ------
        Interrupted
            If asked to stop; the runs are marked, and go on from their checkpoints next time.
        CheckpointError
            If the disk is full.
        FleetError
            If training broke for another reason; the claims are still held.
        LeaseLostError
            If the leases ended meanwhile; the runs are left as they are, for whoever has them.
        WriteError
            If MLflow refuses a write for good.
        """
        by_fingerprint = {claim.config.fingerprint: claim for claim in claims}
        for claim in claims:
            self._submit(claim, self._open)
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
                notify=self.notify,
            )
            pace = Pace()
            for outcome in fleet.epochs():
                for key, record in outcome.records.items():
                    pending[key].append(record)
                for run in outcome.finished:
                    self._finish(run, by_fingerprint[run.config.fingerprint])
                    finished.append(run)
                    pending.pop(run.config.fingerprint)
                on_epoch(fleet, outcome)
                if fleet.members and pace.due():
                    self._secure(fleet, pending, by_fingerprint, pace)
        except Interrupted:
            self._suspend([c for c in claims if c.config.fingerprint in pending])
            raise
        except CheckpointError:  # the disk, not a run, is at fault
            self._suspend([c for c in claims if c.config.fingerprint in pending])
            raise
        except (WriteError, LeaseLostError):
            raise  # nor is a run, if MLflow refuses or another worker may have it
        except Exception as error:
            done = {run.config.fingerprint for run in finished}
            left = [claim for claim in claims if claim.config.fingerprint not in done]
            raise FleetError(error, left) from error
        return finished

    def _submit(self, claim: Claim, write: Callable[[Claim], None]) -> None:
        """Have the writer write for a run, if its lease is still held when it comes to that."""

        def guarded() -> None:
            if self.workspace.still(claim.lock):
                write(claim)

        self.writer.submit(guarded)

    def _open(self, claim: Claim) -> None:
        """Give a run its place in MLflow, complete with what its checkpoint knows."""
        tracker, about = self.tracker, (self.description, str(self.device))
        if claim.run_id is None:  # an attempt that was cut off may have begun it
            claim.run_id = tracker.unfinished(claim.config.fingerprint)
        if claim.run_id is None:
            claim.run_id = tracker.create(claim.config, *about, claim.parent)
        else:
            tracker.take_up(claim.run_id, claim.config, *about)
            claim.logged = tracker.last_epoch(claim.run_id)
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
        self.workspace.insist([claims[key].lock for key in pending])
        if self.checkpoints:
            for state in fleet.states():
                self.workspace.save(state)
        pace.done(time.monotonic() - start)
        for key, records in pending.items():
            if records:
                self._log(claims[key], list(records))
                records.clear()

    def _log(self, claim: Claim, records: list[EpochRecord]) -> None:
        def write(claim: Claim) -> None:
            assert claim.run_id is not None
            # MLflow is ahead of a run that starts anew, or from another machine's checkpoint.
            again = [record for record in records if record.epoch <= claim.logged]
            if again:
                self.tracker.log_missing_epochs(claim.run_id, again)
            self.tracker.log_epochs(claim.run_id, records[len(again) :])

        self._submit(claim, write)

    def _finish(self, run: FinishedRun, claim: Claim) -> None:
        about = self.description
        self.workspace.insist([claim.lock])
        self.workspace.keep_result(run, about.classes, about.image_shape)
        self.writer.submit(lambda: self._deliver(claim))

    def _deliver(self, claim: Claim) -> None:
        """Upload a run that has just been put aside, on a new lease if the first was lost."""
        if self.workspace.still(claim.lock):
            self._upload(claim)
        elif lock := self.workspace.lease(claim.config.fingerprint):
            claim.lock = lock
            self._upload_left(claim)
        # Else whoever has the run now finishes it, from its result if the state is shared.

    def _upload(self, claim: Claim) -> None:
        """Give MLflow all of a finished run, then remove its files."""
        fingerprint = claim.config.fingerprint
        result = self.workspace.result(fingerprint)
        assert claim.run_id is not None
        if self.tracker.log_missing_epochs(claim.run_id, result.history):
            claim.run_id = self._anew(claim, claim.run_id, result)
        with self.workspace.best(result) as folder:
            if folder is not None:
                self.tracker.log_best(claim.run_id, folder)
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

    def _anew(self, claim: Claim, spoilt: str, result: KeptResult) -> str:
        """A run in place of one to which two workers wrote before one of them knew it lost it."""
        self.tracker.delete(spoilt)
        run_id = self.tracker.create(claim.config, self.description, str(self.device), claim.parent)
        self.tracker.log_epochs(run_id, result.history)
        return run_id

    def upload_kept(self) -> None:
        """Upload results which an earlier session could not bring into MLflow."""
        for fingerprint in self.workspace.kept_results():
            lock = self.workspace.lease(fingerprint)
            if lock is not None:
                config = self.workspace.result(fingerprint).config
                self._upload_kept(Claim(config, lock, None, None))

    def _upload_kept(self, claim: Claim) -> None:
        self._submit(claim, self._upload_left)

    def _upload_left(self, claim: Claim) -> None:
        """Upload a result whose lease was had anew: others may have done so, or more."""
        fingerprint = claim.config.fingerprint
        if not self.workspace.has_result(fingerprint):
            claim.lock.release()
            return
        there = self.tracker.finished(fingerprint)
        if there and self._is_of(there, self.workspace.result(fingerprint)):
            claim.run_id = there  # only the last steps of an upload were cut off
        elif there and there == claim.run_id:  # another worker took the run up and finished it
            self.workspace.forget(fingerprint)
            claim.lock.release()
            return
        else:
            self._open(claim)
        self._upload(claim)

    def _is_of(self, run_id: str, result: KeptResult) -> bool:
        """Whether MLflow's run is this result's: no two trainings end in the same millisecond."""
        points = self.tracker.client.get_metric_history(run_id, EPOCH_METRIC_NAMES[0])
        return result.history[-1].timestamp in {point.timestamp for point in points}

    def _suspend(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._submit(claim, self._interrupt)

    def _interrupt(self, claim: Claim) -> None:
        assert claim.run_id is not None
        self.tracker.interrupt(claim.run_id)
        claim.lock.release()

    def fail(self, claim: Claim, error: BaseException) -> None:
        """Give a run up: it is marked with the reason, and its lease ends."""
        reason = f"{type(error).__name__}: {error}"[:REASON_LENGTH]

        def mark(claim: Claim) -> None:
            if claim.run_id is not None:
                self.tracker.fail(claim.run_id, reason)
            claim.lock.release()

        self._submit(claim, mark)

    def again(self, claim: Claim) -> Claim:
        """A claim on the same run from its last checkpoint, after its fleet broke."""
        # The same object: writes that still wait give it its place in MLflow.
        claim.state = self._state(claim.config)
        return claim

    def close(self, *, interrupted: bool = False) -> None:
        """Wait for MLflow; what it could not take stays on disk, and a line says so."""
        left = self.writer.drain(INTERRUPTED_WAIT if interrupted else FINAL_WAIT)
        self.writer.close()
        if left:
            self.notify(
                f"MLflow did not take everything in time; the rest is in "
                f"{self.workspace.folder} and the next start uploads it"
            )
