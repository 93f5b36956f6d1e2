"""What a worker writes to MLflow of its runs, through its `write_queue`.

Writes are done in order, in a thread of their own. All of them can be cut off anywhere and done
again: a run that has ended is on disk before it comes here, and its files go once MLflow has all of
it; what is left undone the next start uploads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from suite.declarations.metrics import EPOCH_METRIC_NAMES, EpochRecord
from suite.declarations.results import RunResult
from suite.engine.checkpoint import RefusedError
from suite.state.workspace import Workspace
from suite.tracking.runs import Tracker
from suite.worker.held_run import HeldRun
from suite.worker.write_queue import WriteQueue

FINAL_WAIT = 60.0  # seconds that a worker which has done its work waits for MLflow
INTERRUPTED_WAIT = 3.0
REASON_LENGTH = 500  # of the one that a failed run keeps


class Uploads:
    """Brings the runs of one MLflow experiment into it.

    Every method but :meth:`close` returns at once. What it asks for is done later, if the run's
    lease is still held by then.

    Parameters
    ----------
    tracker, workspace
        The experiment, and where the state of its runs is kept.
    device
        Where they are trained, for a person.
    notify
        Called with one line on what a person should know.
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
        device: str,
        notify: Callable[[str], None],
        uploaded: Callable[[str, RunResult], None] = lambda _run_id, _result: None,
    ) -> None:
        self.tracker, self.workspace, self.device = tracker, workspace, device
        self.notify, self.uploaded = notify, uploaded
        self.queue = WriteQueue(notify)
        self.logging_seconds = 0.0

    def begin(self, run: HeldRun) -> None:
        """Give a run its place in MLflow, complete with what its checkpoint knows."""
        self._submit(run, self._begin)

    def log(self, run: HeldRun, records: Sequence[EpochRecord]) -> None:
        """Log epochs of a run that goes on."""
        self._submit(run, lambda run: self._log(run, records))

    def interrupt(self, run: HeldRun) -> None:
        """End a run for now, and its lease."""
        self._submit(run, self._interrupt)

    def fail(self, run: HeldRun, error: BaseException) -> None:
        """Give a run up: it is marked with the reason, and its lease ends."""
        reason = f"{type(error).__name__}: {error}"[:REASON_LENGTH]
        self._submit(run, lambda run: self._fail(run, reason))

    def finish(self, run: HeldRun) -> None:
        """Upload a run that has just been put aside, on a new lease if the first was lost."""
        self.queue.submit(lambda: self._unless_lost(run, self._finish))

    def finish_kept(self, run: HeldRun) -> None:
        """Upload a result whose lease was taken anew: others may have uploaded it, or more."""
        self._submit(run, self._finish_kept)

    def close(self, *, interrupted: bool = False) -> None:
        """Wait for MLflow; what it could not take stays on disk, and a line says so.

        Raises
        ------
        WriteError
            If MLflow refused a write for good.
        """
        left = self.queue.drain(INTERRUPTED_WAIT if interrupted else FINAL_WAIT)
        self.queue.close()
        if left:
            self.notify(
                f"MLflow did not take everything in time; the rest is in "
                f"{self.workspace.folder} and the next start uploads it"
            )

    def _submit(self, run: HeldRun, write: Callable[[HeldRun], None]) -> None:
        def guarded() -> None:
            if self.workspace.is_held(run.lease):
                self._unless_lost(run, write)

        self.queue.submit(guarded)

    def _unless_lost(self, run: HeldRun, write: Callable[[HeldRun], None]) -> None:
        """Write; once the lease is lost, its new holder may remove the run's files meanwhile."""
        try:
            write(run)
        except FileNotFoundError:
            if self.workspace.is_held(run.lease):
                raise
        except RefusedError as error:  # it was whole when it was put aside, or taken up
            self.notify(f"{error.finding}; the next start trains {run.config.run_name} anew")
            run.lease.release()

    # --- what the thread does -----------------------------------------------------------------

    def _begin(self, run: HeldRun) -> None:
        tracker, about = self.tracker, (run.data, self.device)
        if run.run_id is None:  # an attempt that was cut off may have begun it
            run.run_id = tracker.unfinished(run.config.fingerprint)
        if run.run_id is None:
            run.run_id = tracker.create(run.config, *about, run.parent)
        else:
            tracker.take_up(run.run_id, run.config, *about)
            run.logged = tracker.last_epoch(run.run_id)
        if run.state is not None:
            tracker.log_missing_epochs(run.run_id, run.state.history)

    def _log(self, run: HeldRun, records: Sequence[EpochRecord]) -> None:
        assert run.run_id is not None
        start = time.monotonic()
        # MLflow is ahead of a run that starts anew, or from another machine's checkpoint.
        again = [record for record in records if record.epoch <= run.logged]
        if again:
            self.tracker.log_missing_epochs(run.run_id, again)
        self.tracker.log_epochs(run.run_id, records[len(again) :])
        self.logging_seconds += time.monotonic() - start

    def _interrupt(self, run: HeldRun) -> None:
        assert run.run_id is not None
        self.tracker.interrupt(run.run_id)
        run.lease.release()

    def _fail(self, run: HeldRun, reason: str) -> None:
        if run.run_id is not None:
            self.tracker.fail(run.run_id, reason)
        run.lease.release()

    def _finish(self, run: HeldRun) -> None:
        if self.workspace.is_held(run.lease):
            self._upload(run)
        elif lease := self.workspace.take_lease(run.config.fingerprint):
            run.lease = lease
            self._finish_kept(run)
        # Else whoever has the run now finishes it, from its result if the state is shared.

    def _finish_kept(self, run: HeldRun) -> None:
        fingerprint = run.config.fingerprint
        if not self.workspace.has_result(fingerprint):
            run.lease.release()
            return
        there = self.tracker.finished(fingerprint)
        if there and self._is_of(there, self.workspace.result(fingerprint)):
            run.run_id = there  # only the last steps of an upload were cut off
        elif there and there == run.run_id:  # another worker took the run up and finished it
            self.workspace.forget(fingerprint)
            run.lease.release()
            return
        else:
            self._begin(run)
        self._upload(run)

    def _is_of(self, run_id: str, result: RunResult) -> bool:
        """Whether an MLflow run and a result come from the same training.

        They do if the run has a point with the time of the result's last epoch, in milliseconds:
        no two trainings of one configuration share it.
        """
        points = self.tracker.client.get_metric_history(run_id, EPOCH_METRIC_NAMES[0])
        return result.history[-1].timestamp in {point.timestamp for point in points}

    def _upload(self, run: HeldRun) -> None:
        """Give MLflow all that it lacks of a finished run, then remove the run's files."""
        fingerprint = run.config.fingerprint
        result = self.workspace.result(fingerprint)
        assert run.run_id is not None
        if self.tracker.log_missing_epochs(run.run_id, result.history):
            run.run_id = self._anew(run, run.run_id, result)
        with self.workspace.best(result) as folder:
            if folder is not None:
                self.tracker.log_best(run.run_id, folder)
        self.tracker.finish(
            run.run_id,
            result.summary,
            result.history[-1].timestamp,
            diverged=result.diverged,
            layers=result.layers,
        )
        stays = self.tracker.supersede(run.run_id, fingerprint)
        self.workspace.forget(fingerprint)
        run.lease.release()
        if stays == run.run_id:
            self.uploaded(run.run_id, result)
        else:  # the ledger has it, and tells whoever asks
            self.notify(f"{run.config.run_name} was also trained elsewhere; run {stays} stays")

    def _anew(self, run: HeldRun, spoilt: str, result: RunResult) -> str:
        """Replace an MLflow run that holds some epoch twice by one made from the result.

        That comes about if a worker loses its lease and goes on logging until it notices, while
        another one already trains the run.
        """
        self.tracker.delete(spoilt)
        run_id = self.tracker.create(run.config, run.data, self.device, run.parent)
        self.tracker.log_epochs(run_id, result.history)
        return run_id
