"""What a sweep's writer does for one run in MLflow: its place, its epochs, its end.

All of it can be cut off anywhere and done again. A run that has ended is on disk before it comes
here, and its files go once MLflow has all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from suite.declarations.metrics import EPOCH_METRIC_NAMES, EpochRecord
from suite.state.workspace import KeptResult, Workspace
from suite.tracking.data_description import DataDescription
from suite.tracking.runs import Tracker
from suite.worker.held_run import Claim


class Delivery:
    """Brings runs of one MLflow experiment into it.

    Parameters
    ----------
    tracker, workspace
        The experiment, and where the state of its runs is kept.
    data
        The data set of all its runs.
    device
        Where they are trained, for a person.
    uploaded
        Called with MLflow's id and the result, when MLflow has all of a finished run.

    Attributes
    ----------
    logging_seconds
        Time spent in logging epochs so far.
    """

    def __init__(
        self,
        tracker: Tracker,
        workspace: Workspace,
        data: DataDescription,
        device: str,
        uploaded: Callable[[str, KeptResult], None],
    ) -> None:
        self.tracker, self.workspace, self.data, self.device = tracker, workspace, data, device
        self.uploaded = uploaded
        self.logging_seconds = 0.0

    def open(self, claim: Claim) -> None:
        """Give a run its place in MLflow, complete with what its checkpoint knows."""
        tracker, about = self.tracker, (self.data, self.device)
        if claim.run_id is None:  # an attempt that was cut off may have begun it
            claim.run_id = tracker.unfinished(claim.config.fingerprint)
        if claim.run_id is None:
            claim.run_id = tracker.create(claim.config, *about, claim.parent)
        else:
            tracker.take_up(claim.run_id, claim.config, *about)
            claim.logged = tracker.last_epoch(claim.run_id)
        if claim.state is not None:
            tracker.log_missing_epochs(claim.run_id, claim.state.history)

    def log(self, claim: Claim, records: Sequence[EpochRecord]) -> None:
        """Log epochs of a run that goes on."""
        assert claim.run_id is not None
        start = time.monotonic()
        # MLflow is ahead of a run that starts anew, or from another machine's checkpoint.
        again = [record for record in records if record.epoch <= claim.logged]
        if again:
            self.tracker.log_missing_epochs(claim.run_id, again)
        self.tracker.log_epochs(claim.run_id, records[len(again) :])
        self.logging_seconds += time.monotonic() - start

    def interrupt(self, claim: Claim) -> None:
        """End a run for now."""
        assert claim.run_id is not None
        self.tracker.interrupt(claim.run_id)
        claim.lock.release()

    def fail(self, claim: Claim, reason: str) -> None:
        """Give a run up."""
        if claim.run_id is not None:
            self.tracker.fail(claim.run_id, reason)
        claim.lock.release()

    def finish(self, claim: Claim) -> None:
        """Upload a run that has just been put aside, on a new lease if the first was lost."""
        if self.workspace.still(claim.lock):
            self._upload(claim)
        elif lock := self.workspace.lease(claim.config.fingerprint):
            claim.lock = lock
            self.finish_kept(claim)
        # Else whoever has the run now finishes it, from its result if the state is shared.

    def finish_kept(self, claim: Claim) -> None:
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
            self.open(claim)
        self._upload(claim)

    def _is_of(self, run_id: str, result: KeptResult) -> bool:
        """Whether MLflow's run is this result's: no two trainings end in the same millisecond."""
        points = self.tracker.client.get_metric_history(run_id, EPOCH_METRIC_NAMES[0])
        return result.history[-1].timestamp in {point.timestamp for point in points}

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
        run_id = self.tracker.create(claim.config, self.data, self.device, claim.parent)
        self.tracker.log_epochs(run_id, result.history)
        return run_id
