"""One worker: takes runs that nobody else has, trains them as fleets, until none is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from suite.basics.settings import ConfigError
from suite.data.parts import DataError
from suite.data.splits import ImageData
from suite.declarations.config import RunConfig
from suite.declarations.results import RunResult
from suite.engine.calibration import Calibrator
from suite.engine.checkpoint import CheckpointError, RefusedError
from suite.engine.device import set_threads, torch_device
from suite.engine.fleet import Interrupted
from suite.engine.preparation import data_key, load_data
from suite.engine.runs import fusion_key
from suite.state.leases import LeasesAwayError
from suite.state.workspace import Workspace
from suite.tracking.ledger import Ledger, LedgerReader
from suite.tracking.runs import Tracker
from suite.worker.held_run import HeldRun, UnreadableError
from suite.worker.messages import Event, Found, Job, Uploaded
from suite.worker.session import Session
from suite.worker.training import Bench, FleetTraining, one_line
from suite.worker.uploads import FINAL_WAIT, Uploads

WAIT_FOR_OTHERS = 2.0  # seconds between two looks at runs which other processes hold
LONGEST_ABSENCE = 60.0  # seconds that a worker without anything to train waits for MLflow


@dataclass(frozen=True)
class Turn:
    """What came of one turn of a worker: what it found, and what it trained to its end."""

    found: Found
    results: Sequence[RunResult] = ()


class Worker:
    """Trains the runs of a job; to be entered, and at the end it waits for MLflow.

    Parameters
    ----------
    job
        What to do.
    tell
        Takes the worker's events; called from two threads.
    interrupted
        Whether to stop.
    loaded
        Data sets that are in memory already, by `data_key`.
    """

    def __init__(
        self,
        job: Job,
        tell: Callable[[Event], None],
        interrupted: Callable[[], bool],
        *,
        loaded: Mapping[object, ImageData] | None = None,
    ) -> None:
        self.job, self.tell, self.interrupted = job, tell, interrupted
        self.loaded = loaded or {}
        set_threads(job.machine.threads)
        self.device = torch_device(job.machine.device)
        self.tracker = Tracker(job.experiment, job.tracking_uri)
        self.reader = LedgerReader(self.tracker)
        self.workspace = Workspace(job.state_dir, self.tracker.place, job.lease_database)
        self.uploads = Uploads(
            self.tracker, self.workspace, str(self.device), self._notice, self._uploaded
        )
        self.benches: dict[object, Bench] = {}
        self.training = FleetTraining(self.uploads, tell, interrupted, job.retries)
        self.failed_before = job.failed_before
        self.elsewhere: set[str] = set()  # finished by other processes
        self.held = 0  # runs which other processes held when the pass under way came to them
        self.noticed_absence = False  # of what keeps the leases
        self.waited_in_vain = False  # for MLflow

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Wait for MLflow, for a shorter time if something broke off the work."""
        try:
            self.uploads.close(interrupted=error is not None or self.waited_in_vain)
        finally:
            self.workspace.leases.close()

    def run(self) -> None:
        """Work until every run of the job is finished or given up.

        Raises
        ------
        Interrupted
            If asked to stop.
        CheckpointError
            If the disk is full.
        WriteError
            If MLflow refuses a write for good.
        """
        while self._pass() and self._seconds_away() < LONGEST_ABSENCE:
            self.tell(Event("idle"))
            self._sleep(WAIT_FOR_OTHERS)

    def run_one(self) -> Turn:
        """Train one fleet to its end, if there is one that nobody else trains.

        Raises
        ------
        Interrupted, CheckpointError, WriteError
            As :meth:`run` does.
        """
        self.held = self.training.lost = 0
        for bench, runs in self._fleets():
            return Turn("trained", self.training.train_all(bench, runs))
        return Turn("held" if self.held else "nothing")

    def upload_kept(self) -> None:
        """Bring into MLflow what earlier processes could not, and wait until it is there.

        A result that is damaged, or whose data set is not at hand, stays where it is, and a line
        says so.
        """
        kept = self.workspace.kept_results()
        for fingerprint in kept:
            try:
                self._upload_kept(fingerprint)
            except FileNotFoundError:
                continue  # another process has just brought it into MLflow
            except RefusedError as error:
                if fingerprint not in {config.fingerprint for config in self.job.configs}:
                    self._notice(f"{error.finding}; its run is trained anew when it is started")
                # Else that comes with the run's own turn.
            except CheckpointError as error:
                self._notice(str(error))
        self.waited_in_vain = self.uploads.queue.drain(FINAL_WAIT) > 0
        self.training.settled -= set(kept)  # whether they are done, MLflow says

    def _upload_kept(self, fingerprint: str) -> None:
        config = self.workspace.result(fingerprint).config
        try:
            bench = self._bench(config)
        except (ConfigError, DataError) as error:
            self._notice(f"the result of {config.run_name} stays on disk: {error}")
            return
        bench.session.take_kept(config)

    def _seconds_away(self) -> float:
        return max(self.reader.seconds_away, self.workspace.leases.seconds_away)

    def _pass(self) -> int:
        """Train what can be had; the number of runs which other processes hold, or may hold."""
        self.held = self.training.lost = 0
        for bench, runs in self._fleets():
            self.training.train_all(bench, runs)
        return self.held + self.training.lost

    # --- which runs ---------------------------------------------------------------------------

    def _fleets(self) -> Iterator[tuple[Bench, list[HeldRun]]]:
        """The runs for one fleet after another, of those that can be had."""
        for group in self._groups(self.reader.latest()):
            bench = self._bench(group[0])
            size = self._fleet_size(bench, group)
            remaining = group
            while remaining:
                if self.interrupted():
                    raise Interrupted
                most = self.training.limit(group[0], size)
                runs, remaining, busy = self._take(bench, remaining, most)
                self.held += busy
                if runs:
                    yield bench, runs

    def _bench(self, config: RunConfig) -> Bench:
        key = data_key(config)
        if key not in self.benches:
            data = self.loaded.get(key) or load_data(config, self.job.machine)[0]
            session = Session(
                self.workspace,
                self.uploads,
                data,
                self.device,
                source=self.job.machine.source(config.dataset),
                checkpoints=self.job.machine.checkpoint == "on",
                notify=self._notice,
            )
            sharing = self.job.neighbours or self.job.workers
            calibrator = Calibrator(data, self.device, sharing, self._notice, self.interrupted)
            self.benches[key] = Bench(session, calibrator)
        return self.benches[key]

    def _groups(self, ledger: Ledger) -> list[list[RunConfig]]:
        """The runs left, in groups that may train together; each worker begins elsewhere."""
        if self.failed_before is None:
            self.failed_before = ledger.failed
        groups: dict[object, list[RunConfig]] = {}
        done = {c.fingerprint for c in self.job.configs} & ledger.finished.keys()
        if news := done - self.training.settled - self.elsewhere:
            self.elsewhere |= news
            self.tell(Event("elsewhere", frozenset(news)))
        for config in self.job.configs:
            if not self._is_done(config.fingerprint, ledger):
                groups.setdefault(fusion_key(config), []).append(config)
        ordered = list(groups.values())
        start = self.job.index * len(ordered) // self.job.workers
        return ordered[start:] + ordered[:start]

    def _is_done(self, fingerprint: str, ledger: Ledger) -> bool:
        """Whether a run is finished, or given up by any worker since the sweep began."""
        given_up = ledger.failed_since(fingerprint, self.failed_before or {})
        finished = fingerprint in ledger.finished and not self.job.force
        return fingerprint in self.training.settled or finished or given_up

    def _fleet_size(self, bench: Bench, group: Sequence[RunConfig]) -> int:
        if self.job.fleet:
            return self.job.fleet
        share = -(-len(group) // self.job.workers)
        best = bench.calibrator.calibrate(group[0], share).best.runs
        fleets = -(-len(group) // best)
        return -(-len(group) // fleets)  # fleets of nearly equal size

    def _take(
        self, bench: Bench, configs: Sequence[RunConfig], size: int
    ) -> tuple[list[HeldRun], list[RunConfig], int]:
        """Up to `size` runs of these, those not looked at, and how many others hold."""
        runs: list[HeldRun] = []
        busy = 0
        rest = list(configs)
        while rest and len(runs) < size:
            config = rest.pop(0)
            parent = self.job.parents.get(config.recipe_fingerprint, "")
            try:
                run = bench.session.take(config, parent=parent)
            except UnreadableError as error:
                self.training.give_up(config, str(error))
                continue
            except LeasesAwayError as error:
                if not self.noticed_absence:
                    self._notice(str(error))
                self.noticed_absence = True
                return self._still_open(runs), [], busy + 1
            self.noticed_absence = False
            if run is None:
                busy += 1
            else:
                runs.append(run)
        return self._still_open(runs), rest, busy

    def _still_open(self, runs: list[HeldRun]) -> list[HeldRun]:
        """Those runs which nobody has finished since the ledger was read."""
        if not runs:
            return []
        ledger = self.reader.of([run.config.fingerprint for run in runs])
        kept = []
        for run in runs:
            if self._is_done(run.config.fingerprint, ledger):
                run.lease.release()
            else:
                run.run_id = self._begun(run.config, ledger) or self.job.adopt or None
                kept.append(run)
        return kept

    def _begun(self, config: RunConfig, ledger: Ledger) -> str | None:
        """MLflow's id of a run that was interrupted; the ledger has none beside finished ones."""
        if self.job.force:
            return self.tracker.unfinished(config.fingerprint)
        return ledger.unfinished.get(config.fingerprint)

    # --- what the worker tells ----------------------------------------------------------------

    def _uploaded(self, run_id: str, result: RunResult) -> None:
        self.training.settled.add(result.config.fingerprint)
        self.tell(Event("finished", Uploaded(run_id, result)))

    def _notice(self, line: str) -> None:
        self.tell(Event("notice", one_line(line)))

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.interrupted():
                raise Interrupted
            time.sleep(0.1)
