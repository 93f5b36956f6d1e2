"""Trains fleets and keeps what they measure: on disk first, then in MLflow.

At a pace that costs a few percent of the time, each run's state is written to its checkpoint, and
the epochs up to that state are logged. MLflow never holds an epoch which a crash could make the
run repeat with another clock time, so none is there twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from suite.data.splits import ImageData
from suite.declarations.config import RunConfig
from suite.engine.checkpoint import CheckpointError, RunState
from suite.engine.fleet import Fleet, Interrupted
from suite.engine.runs import EpochOutcome, FinishedRun
from suite.state.leases import LeaseLostError
from suite.state.workspace import KeptResult, Workspace
from suite.tracking.data_description import describe_data
from suite.tracking.runs import Tracker
from suite.worker.delivery import Delivery
from suite.worker.held_run import Claim, FleetError, UnreadableError
from suite.worker.pace import Pace, checkpoint_pace, logging_pace
from suite.worker.writer import WriteError, Writer

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
        self.checkpoints, self.notify = checkpoints, notify
        self.description = describe_data(data, source)
        about = (self.description, str(device))
        self.delivery = Delivery(tracker, workspace, *about, uploaded)
        self._logging_seconds = 0.0  # of what was logged when logging was last due
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
        training = {claim.config.fingerprint: claim for claim in claims}
        for claim in claims:
            claim.begin()
            self._submit(claim, self.delivery.open)
        finished: list[FinishedRun] = []
        try:
            fleet = self._fleet(claims, interrupted)
            checkpoints, logging = checkpoint_pace(), logging_pace()
            for outcome in fleet.epochs():
                for key, record in outcome.records.items():
                    training[key].unlogged.append(record)
                for run in outcome.finished:
                    self._finish(run, training[run.config.fingerprint])
                    finished.append(run)
                    del training[run.config.fingerprint]
                on_epoch(fleet, outcome)
                if training and checkpoints.due():
                    self._secure(fleet, training, checkpoints)
                    if logging.due():
                        self._log_all(training.values(), logging)
        except (Interrupted, CheckpointError):  # no run is at fault, but a person or the disk
            for claim in training.values():
                self._log(claim)
                self._submit(claim, self.delivery.interrupt)
            raise
        except (WriteError, LeaseLostError):
            raise  # nor is a run, if MLflow refuses or another worker may have it
        except Exception as error:
            for claim in training.values():
                self._log(claim)
            raise FleetError(error, list(training.values())) from error
        return finished

    def _fleet(self, claims: Sequence[Claim], interrupted: Callable[[], bool]) -> Fleet:
        states = [claim.state for claim in claims if claim.state is not None]
        return Fleet(
            [claim.config for claim in claims],
            self.data,
            self.device,
            states=states or None,
            interrupted=interrupted,
            notify=self.notify,
        )

    def _submit(self, claim: Claim, write: Callable[[Claim], None]) -> None:
        """Have the writer write for a run, if its lease is still held when it comes to that."""

        def guarded() -> None:
            if self.workspace.still(claim.lock):
                write(claim)

        self.writer.submit(guarded)

    def _secure(self, fleet: Fleet, training: Mapping[str, Claim], pace: Pace) -> None:
        """Checkpoint all runs; with no checkpoints, what is trained now counts as if it had one."""
        start = time.monotonic()
        self.workspace.insist([claim.lock for claim in training.values()])
        for state in fleet.states() if self.checkpoints else ():
            self.workspace.save(state)
            training[state.config.fingerprint].secured = state.epoch
        if not self.checkpoints:
            for claim in training.values():
                claim.secured = claim.unlogged[-1].epoch if claim.unlogged else claim.secured
        pace.done(time.monotonic() - start)

    def _log_all(self, claims: Iterable[Claim], pace: Pace) -> None:
        """Log all that is secured; its cost is known when it is due again."""
        pace.done(self.delivery.logging_seconds - self._logging_seconds)
        self._logging_seconds = self.delivery.logging_seconds
        for claim in claims:
            self._log(claim)

    def _log(self, claim: Claim) -> None:
        if records := claim.take_secured():
            self._submit(claim, lambda claim: self.delivery.log(claim, records))

    def _finish(self, run: FinishedRun, claim: Claim) -> None:
        about = self.description
        self.workspace.insist([claim.lock])
        self.workspace.keep_result(run, about.classes, about.image_shape)
        self.writer.submit(lambda: self.delivery.finish(claim))

    def upload_kept(self) -> None:
        """Upload results which an earlier session could not bring into MLflow."""
        for fingerprint in self.workspace.kept_results():
            lock = self.workspace.lease(fingerprint)
            if lock is not None:
                config = self.workspace.result(fingerprint).config
                self._upload_kept(Claim(config, lock, None, None))

    def _upload_kept(self, claim: Claim) -> None:
        self._submit(claim, self.delivery.finish_kept)

    def fail(self, claim: Claim, error: BaseException) -> None:
        """Give a run up: it is marked with the reason, and its lease ends."""
        reason = f"{type(error).__name__}: {error}"[:REASON_LENGTH]
        self._submit(claim, lambda claim: self.delivery.fail(claim, reason))

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
