"""Trains fleets on one data set, writes their checkpoints, and has their epochs logged to MLflow.

Every now and then each run's state is written to its checkpoint; this takes a few percent of the
time at most. An epoch is logged only once a checkpoint holds it. After a crash, training goes on
from the checkpoint, so no epoch that MLflow knows is trained, and logged, a second time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from suite.data.splits import ImageData
from suite.declarations.config import RunConfig
from suite.engine.checkpoint import CheckpointError, RefusedError, RunState
from suite.engine.fitting import require_fit
from suite.engine.fleet import Fleet, Interrupted
from suite.engine.runs import EpochOutcome, TrainedRun
from suite.models import build
from suite.state.leases import LeaseLostError
from suite.state.workspace import CHECKPOINT_FILE, RESULT_FILE, Workspace
from suite.tracking.metadata import describe_data
from suite.worker.held_run import FleetError, HeldRun, UnreadableError
from suite.worker.pace import Pace, checkpoint_pace, logging_pace
from suite.worker.uploads import Uploads
from suite.worker.write_queue import WriteError


class Session:
    """A worker's runs on one data set.

    Parameters
    ----------
    workspace, uploads
        Where the runs' state is kept, and what brings them into MLflow; the worker's, which its
        sessions share.
    data, device
        What to train on, and where.
    source
        Where the data come from, for MLflow.
    checkpoints
        Whether to write checkpoints; without, an interrupted run starts anew.
    notify
        Called with one line on what a person should know.
    """

    def __init__(
        self,
        workspace: Workspace,
        uploads: Uploads,
        data: ImageData,
        device: torch.device,
        *,
        source: str,
        checkpoints: bool,
        notify: Callable[[str], None],
    ) -> None:
        self.workspace, self.uploads, self.data, self.device = workspace, uploads, data, device
        self.checkpoints, self.notify = checkpoints, notify
        self.description = describe_data(data, source)
        self._logging_seconds = 0.0  # of what was logged when logging was last due

    def take(self, config: RunConfig, *, parent: str = "") -> HeldRun | None:
        """Take a run for training; None if another process has it, or it only needs uploading.

        A damaged file of the run is set aside, and it goes on from what is left.

        Parameters
        ----------
        parent
            MLflow's id of the run under which it is to be listed.

        Raises
        ------
        UnreadableError
            If the system does not let its files be read.
        CheckpointError
            If the state directory cannot be written.
        LeasesAwayError
            If the server that keeps the leases does not answer.
        """
        lease = self.workspace.take_lease(config.fingerprint)
        if lease is None:
            return None
        run = HeldRun(config, lease, self.description, parent=parent)
        try:
            if self._has_result(config):
                self.uploads.finish_kept(run)
                return None
            run.state = self._state(config)
        except CheckpointError as error:
            lease.release()
            raise UnreadableError(str(error)) from error
        return run

    def take_kept(self, config: RunConfig) -> None:
        """Upload a result which an earlier process put aside, unless another one does so now.

        Raises
        ------
        CheckpointError
            If it is damaged, or the system does not let it be read; it stays where it is.
        """
        lease = self.workspace.take_lease(config.fingerprint)
        if lease is None:
            return
        try:
            if self.workspace.has_result(config.fingerprint):
                self.workspace.check_result(config.fingerprint)
        except CheckpointError:
            lease.release()
            raise
        self.uploads.finish_kept(HeldRun(config, lease, self.description))

    def _has_result(self, config: RunConfig) -> bool:
        """Whether the run has come to its end, and what it left there is whole."""
        if not self.workspace.has_result(config.fingerprint):
            return False
        try:
            self.workspace.check_result(config.fingerprint)
        except RefusedError as error:
            self._set_aside(config, RESULT_FILE, error)
            return False
        return True

    def _state(self, config: RunConfig) -> RunState | None:
        """Where the run goes on from; None if it starts anew."""
        if not self.checkpoints:
            return None

        def require(state: RunState) -> None:
            data = self.data
            shape = (data.channels, data.height, data.width, data.num_classes)
            require_fit(state, config, build(config, *shape))

        try:
            return self.workspace.load(config.fingerprint, require)
        except RefusedError as error:
            self._set_aside(config, CHECKPOINT_FILE, error)
            return None

    def _set_aside(self, config: RunConfig, file: str, error: RefusedError) -> None:
        aside = self.workspace.set_aside(config.fingerprint, file)
        start = "from epoch 0" if file == CHECKPOINT_FILE else "from what checkpoint it has"
        self.notify(
            f"{error.finding}; {config.run_name} is trained anew {start}, "
            f"and until that is done the file stays as {aside}"
        )

    def again(self, run: HeldRun) -> HeldRun:
        """The same run from its last checkpoint, after its fleet broke."""
        # The same object: writes that still wait give it its place in MLflow.
        run.state = self._state(run.config)
        return run

    def train(
        self,
        runs: Sequence[HeldRun],
        *,
        on_epoch: Callable[[EpochOutcome], None],
        interrupted: Callable[[], bool] = lambda: False,
    ) -> list[TrainedRun]:
        """Train held runs as one fleet to their end.

        Parameters
        ----------
        runs
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
            If training broke for another reason; the runs are still held.
        LeaseLostError
            If the leases ended meanwhile; the runs are left as they are, for whoever has them.
        WriteError
            If MLflow refuses a write for good.
        """
        training = {run.config.fingerprint: run for run in runs}
        for run in runs:
            run.begin()
            self.uploads.begin(run)
        ended: list[TrainedRun] = []
        try:
            fleet = self._fleet(runs, interrupted)
            checkpoints, logging = checkpoint_pace(), logging_pace()
            for outcome in fleet.epochs():
                for key, record in outcome.records.items():
                    training[key].unlogged.append(record)
                for trained in outcome.ended:
                    self._finish(trained, training[trained.config.fingerprint])
                    del training[trained.config.fingerprint]
                    ended.append(trained)
                on_epoch(outcome)
                if training and checkpoints.due():
                    self._secure(fleet, training, checkpoints)
                    if logging.due():
                        self._log_all(training.values(), logging)
        except (Interrupted, CheckpointError):  # no run is at fault, but a person or the disk
            for run in training.values():
                self._log(run)
                self.uploads.interrupt(run)
            raise
        except (WriteError, LeaseLostError):
            raise  # nor is a run, if MLflow refuses or another worker may have it
        except Exception as error:
            for run in training.values():
                self._log(run)
            raise FleetError(error, list(training.values())) from error
        return ended

    def _fleet(self, runs: Sequence[HeldRun], interrupted: Callable[[], bool]) -> Fleet:
        states = [run.state for run in runs if run.state is not None]
        return Fleet(
            [run.config for run in runs],
            self.data,
            self.device,
            states=states or None,
            interrupted=interrupted,
            notify=self.notify,
        )

    def _secure(self, fleet: Fleet, training: Mapping[str, HeldRun], pace: Pace) -> None:
        """Checkpoint all runs; with no checkpoints, what is trained now counts as if it had one."""
        start = time.monotonic()
        self.workspace.require_held([run.lease for run in training.values()])
        for state in fleet.states() if self.checkpoints else ():
            self.workspace.save(state)
            training[state.config.fingerprint].secured = state.epoch
        if not self.checkpoints:
            for run in training.values():
                run.secured = run.unlogged[-1].epoch if run.unlogged else run.secured
        pace.done(time.monotonic() - start)

    def _log_all(self, runs: Iterable[HeldRun], pace: Pace) -> None:
        """Log all that is secured; its cost is known when it is due again."""
        pace.done(self.uploads.logging_seconds - self._logging_seconds)
        self._logging_seconds = self.uploads.logging_seconds
        for run in runs:
            self._log(run)

    def _log(self, run: HeldRun) -> None:
        if records := run.take_secured():
            self.uploads.log(run, records)

    def _finish(self, trained: TrainedRun, run: HeldRun) -> None:
        self.workspace.require_held([run.lease])
        self.workspace.keep_result(trained, self.description.classes, self.description.image_shape)
        self.uploads.finish(run)
