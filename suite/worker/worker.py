"""One worker of a sweep: takes runs nobody else has, trains them as fleets, until none is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch

from suite.declarations.config import RunConfig
from suite.engine.calibration import Calibrator
from suite.engine.device import data_key, load_data, set_threads, torch_device
from suite.engine.fleet import Fleet, Interrupted
from suite.engine.memory import release
from suite.engine.runs import EpochOutcome, fusion_key
from suite.state.leases import LeaseLostError, LeasesAwayError
from suite.state.workspace import KeptResult, Workspace
from suite.tracking.ledger import Ledger, LedgerReader
from suite.tracking.runs import Tracker
from suite.worker.held_run import Claim, FleetError, UnreadableError
from suite.worker.messages import Event, FinishedNews, FleetEpoch, FleetStart, Found, Job
from suite.worker.session import Session
from suite.worker.writer import Writer

WAIT_FOR_OTHERS = 2.0  # seconds between two looks at runs which other processes hold
LONGEST_ABSENCE = 60.0  # seconds that a worker without anything to train waits for MLflow


@dataclass
class Bench:
    """Where runs on one data set are trained."""

    session: Session
    calibrator: Calibrator


class Worker:
    """Trains the runs of a job.

    Parameters
    ----------
    job
        What to do.
    tell
        Takes the worker's events; called from two threads.
    interrupted
        Whether to stop.
    """

    def __init__(
        self, job: Job, tell: Callable[[Event], None], interrupted: Callable[[], bool]
    ) -> None:
        self.job, self.tell, self.interrupted = job, tell, interrupted
        set_threads(job.machine.threads)
        self.device = torch_device(job.machine.device)
        self.tracker = Tracker(job.experiment, job.tracking_uri)
        self.reader = LedgerReader(self.tracker)
        self.workspace = Workspace.of(self.tracker, job.state_dir, job.lease_database)
        self.writer = Writer(self._notice)
        self.benches: dict[object, Bench] = {}
        self.failures: Counter[str] = Counter()
        self.settled: set[str] = set()  # trained here, or given up
        self.elsewhere: set[str] = set()  # finished by other processes
        self.held = 0  # runs which other processes held when the pass under way came to them
        self.lost = 0  # runs whose leases were lost in the pass under way
        self.told = False  # that the leases are away
        self.limits: dict[object, int] = {}  # fusion key to the largest fleet that fits in memory

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
        with self._open():
            while self._pass() and self._seconds_away() < LONGEST_ABSENCE:
                self.tell(Event("idle"))
                self._sleep(WAIT_FOR_OTHERS)

    def run_one(self) -> Found:
        """Train one fleet to its end, if there is one that nobody else trains.

        Raises
        ------
        Interrupted, CheckpointError, WriteError
            As :meth:`run` does.
        """
        with self._open():
            self.held = self.lost = 0
            for bench, claims in self._claims():
                self._train_all(bench, claims)
                return "trained"
        return "held" if self.held else "nothing"

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Wait for MLflow in the end, for a shorter time if something broke off the work."""
        try:
            yield
        except BaseException:
            self._close(interrupted=True)
            raise
        self._close(interrupted=False)

    def _close(self, *, interrupted: bool) -> None:
        for bench in list(self.benches.values())[:1]:  # they share one writer
            bench.session.close(interrupted=interrupted)
        self.workspace.leases.close()

    def _seconds_away(self) -> float:
        return max(self.reader.seconds_away, self.workspace.leases.seconds_away)

    def _pass(self) -> int:
        """Train what can be had; the number of runs which other processes hold, or may hold."""
        self.held = self.lost = 0
        for bench, claims in self._claims():
            self._train_all(bench, claims)
        return self.held + self.lost

    def _train_all(self, bench: Bench, claims: list[Claim]) -> None:
        for fleet in _by_epoch(claims):
            self._train(bench, fleet)

    def _claims(self) -> Iterator[tuple[Bench, list[Claim]]]:
        """Claims for one fleet after another, of what can be had."""
        for group in self._groups(self.reader.latest()):
            bench = self._bench(group[0])
            size = self._fleet_size(bench, group)
            remaining = group
            while remaining:
                if self.interrupted():
                    raise Interrupted
                most = self._limit(group[0], size)
                claims, remaining, busy = self._claim(bench, remaining, most)
                self.held += busy
                if claims:
                    yield bench, claims

    def _bench(self, config: RunConfig) -> Bench:
        key = data_key(config)
        if key not in self.benches:
            data, _ = load_data(config, self.job.machine)
            session = Session(
                self.tracker,
                self.workspace,
                data,
                self.device,
                source=self.job.machine.source(config.dataset),
                checkpoints=self.job.machine.checkpoint == "on",
                notify=self._notice,
                uploaded=self._uploaded,
                writer=self.writer,
            )
            sharing = self.job.neighbours or self.job.workers
            calibrator = Calibrator(data, self.device, sharing, self._notice, self.interrupted)
            self.benches[key] = Bench(session, calibrator)
        return self.benches[key]

    def _groups(self, ledger: Ledger) -> list[list[RunConfig]]:
        """The runs left, in groups that may train together; each worker begins elsewhere."""
        groups: dict[object, list[RunConfig]] = {}
        done = {c.fingerprint for c in self.job.configs} & ledger.finished.keys()
        if news := done - self.settled - self.elsewhere:
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
        given_up = ledger.failed.get(fingerprint, -1) >= self.job.began
        return fingerprint in self.settled or fingerprint in ledger.finished or given_up

    def _fleet_size(self, bench: Bench, group: Sequence[RunConfig]) -> int:
        if self.job.fleet:
            return self.job.fleet
        share = -(-len(group) // self.job.workers)
        best = bench.calibrator.calibrate(group[0], share).best.runs
        fleets = -(-len(group) // best)
        return -(-len(group) // fleets)  # fleets of nearly equal size

    def _limit(self, config: RunConfig, size: int) -> int:
        """A fleet's size, or the smaller one at which fleets of such runs fit in memory."""
        return min(size, self.limits.get(fusion_key(config), size))

    def _claim(
        self, bench: Bench, configs: Sequence[RunConfig], size: int
    ) -> tuple[list[Claim], list[RunConfig], int]:
        """Claims on up to `size` runs, the runs not looked at, and how many others hold."""
        claims: list[Claim] = []
        busy = 0
        rest = list(configs)
        while rest and len(claims) < size:
            config = rest.pop(0)
            parent = self.job.parents.get(config.recipe_fingerprint, "")
            try:
                claim = bench.session.claim(config, parent=parent)
            except UnreadableError as error:
                self._give_up(config, str(error))
                continue
            except LeasesAwayError as error:
                if not self.told:
                    self._notice(str(error))
                self.told = True
                return self._still_open(claims), [], busy + 1
            self.told = False
            if claim is None:
                busy += 1
            else:
                claims.append(claim)
        return self._still_open(claims), rest, busy

    def _still_open(self, claims: list[Claim]) -> list[Claim]:
        """Those claims whose runs nobody has finished since the ledger was read."""
        if not claims:
            return []
        ledger = self.reader.of([claim.config.fingerprint for claim in claims])
        kept = []
        for claim in claims:
            if self._is_done(claim.config.fingerprint, ledger):
                claim.lock.release()
            else:
                claim.run_id = ledger.unfinished.get(claim.config.fingerprint)
                kept.append(claim)
        return kept

    def _train(self, bench: Bench, claims: list[Claim]) -> None:
        """Train claimed runs; a fleet that breaks is halved until the run at fault is alone."""
        configs = [claim.config for claim in claims]
        names = tuple(config.fingerprint for config in configs)
        images = len(bench.session.data.train)
        start = FleetStart(_fleet_name(configs), names, configs[0].epochs, claims[0].epoch, images)
        self.tell(Event("fleet", start))
        broken: FleetError | None = None
        try:
            finished = bench.session.train(
                claims, on_epoch=self._epoch, interrupted=self.interrupted
            )
            self.settled |= {run.config.fingerprint for run in finished}
        except LeaseLostError:  # the next pass takes up again what nobody else has
            self.lost += len(claims)
            self._notice(f"PostgreSQL ended the leases of {len(claims)} runs; claiming them again")
        except FleetError as error:
            broken = error
        if broken is not None:  # not within `except`, which would hold the broken fleet
            release(broken)
            ended = set(names) - {claim.config.fingerprint for claim in broken.claims}
            self.settled |= ended
            self._recover(bench, broken)

    def _recover(self, bench: Bench, broken: FleetError) -> None:
        claims = [bench.session.again(claim) for claim in broken.claims]
        full = isinstance(broken.error, torch.OutOfMemoryError)
        if len(claims) > 1:
            half = len(claims) // 2
            if full:
                self._shrink(bench, claims)
            else:
                self._notice(f"a fleet of {len(claims)} broke ({broken}); halving it")
            for part in (claims[:half], claims[half:]):
                for fleet in _by_epoch(part):
                    for piece in _pieces(fleet, self._limit(fleet[0].config, len(fleet))):
                        self._train(bench, piece)
            return
        (claim,) = claims
        self.failures[claim.config.fingerprint] += 1
        if self.failures[claim.config.fingerprint] <= self.job.retries:
            self._notice(f"{claim.config.run_name} broke ({broken}); trying again")
            self._train(bench, [claim])
            return
        error, reason = broken.error, str(broken)
        if full:
            reason = (
                f"out of memory on {self.device} with this run alone; choose a smaller "
                "batch_size or width, a larger device, or fewer --workers on it"
            )
            error = torch.OutOfMemoryError(reason)
        bench.session.fail(claim, error)
        self._give_up(claim.config, reason)

    def _shrink(self, bench: Bench, claims: Sequence[Claim]) -> None:
        """Plan smaller fleets of such runs from now on, here and at the next start."""
        config, runs = claims[0].config, len(claims)
        fits = runs - runs // 2
        self.limits[fusion_key(config)] = fits
        with suppress(Interrupted):  # training is asked again at once, and marks the runs
            bench.calibrator.too_large(config, runs)
        self._notice(
            f"a fleet of {runs} ran out of memory on {self.device}; "
            f"its runs go on from their checkpoints in fleets of at most {fits}"
        )

    def _give_up(self, config: RunConfig, reason: str) -> None:
        self.settled.add(config.fingerprint)
        self.tell(Event("failed", (config.fingerprint, config.run_name, _one_line(reason))))

    def _epoch(self, _fleet: Fleet, outcome: EpochOutcome) -> None:
        records = outcome.records
        if records:
            accuracy = sum(record.val_accuracy for record in records.values()) / len(records)
            epoch = next(iter(records.values())).epoch
            self.tell(Event("epoch", FleetEpoch(epoch, tuple(records), accuracy)))

    def _uploaded(self, run_id: str, result: KeptResult) -> None:
        fingerprint = result.config.fingerprint
        news = FinishedNews(fingerprint, run_id, result.history, result.summary, result.diverged)
        self.settled.add(fingerprint)
        self.tell(Event("finished", news))

    def _notice(self, line: str) -> None:
        self.tell(Event("notice", _one_line(line)))

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.interrupted():
                raise Interrupted
            time.sleep(0.1)


def _by_epoch(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Claims in groups that stand at the same epoch, those furthest on first."""
    for epoch in sorted({claim.epoch for claim in claims}, reverse=True):
        yield [claim for claim in claims if claim.epoch == epoch]


def _pieces(claims: Sequence[Claim], size: int) -> Iterator[list[Claim]]:
    for start in range(0, len(claims), size):
        yield list(claims[start : start + size])


def _fleet_name(configs: Sequence[RunConfig]) -> str:
    names = {config.recipe_name for config in configs}
    if len(configs) == 1:
        return configs[0].run_name
    return names.pop() if len(names) == 1 else f"{configs[0].optimizer} b{configs[0].batch_size} …"


def _one_line(text: str) -> str:
    return " ".join(text.split())
