"""One worker of a sweep: takes runs nobody else has, trains them as fleets, until none is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from suite.calibration import Calibrator
from suite.claims import Claim, FleetError, UnreadableError
from suite.config import RunConfig
from suite.fleet import EpochOutcome, Fleet, Interrupted, fusion_key
from suite.jobs import Event, FinishedNews, FleetEpoch, FleetStart, Job
from suite.ledger import Ledger, LedgerReader
from suite.resources import data_key, load_data, set_threads, torch_device
from suite.session import Session
from suite.tracking import Tracker
from suite.workspace import KeptResult
from suite.writer import Writer

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
        self.writer = Writer(self._notice)
        self.benches: dict[object, Bench] = {}
        self.failures: Counter[str] = Counter()
        self.settled: set[str] = set()  # trained here, or given up
        self.elsewhere: set[str] = set()  # finished by other processes

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
        try:
            while self._pass() and self.reader.seconds_away < LONGEST_ABSENCE:
                self.tell(Event("idle"))
                self._sleep(WAIT_FOR_OTHERS)
        except BaseException:
            self._close(interrupted=True)
            raise
        self._close(interrupted=False)

    def _close(self, *, interrupted: bool) -> None:
        for bench in list(self.benches.values())[:1]:  # they share one writer
            bench.session.close(interrupted=interrupted)

    def _pass(self) -> int:
        """Train what can be had; the number of runs which other processes hold."""
        groups = self._groups(self.reader.latest())
        return sum(self._work_off(group) for group in groups)

    def _work_off(self, group: list[RunConfig]) -> int:
        bench = self._bench(group[0])
        size = self._fleet_size(bench, group)
        held, remaining = 0, group
        while remaining:
            if self.interrupted():
                raise Interrupted
            claims, remaining, busy = self._claim(bench, remaining, size)
            held += busy
            for fleet in _by_epoch(claims):
                self._train(bench, fleet)
        return held

    def _bench(self, config: RunConfig) -> Bench:
        key = data_key(config)
        if key not in self.benches:
            data, _ = load_data(config, self.job.machine)
            session = Session(
                self.tracker,
                self.job.state_dir,
                data,
                self.device,
                source=self.job.machine.source(config.dataset),
                checkpoints=self.job.machine.checkpoint == "on",
                notify=self._notice,
                uploaded=self._uploaded,
                writer=self.writer,
            )
            calibrator = Calibrator(data, self.device, self.job.workers, self._notice)
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

    def _claim(
        self, bench: Bench, configs: Sequence[RunConfig], size: int
    ) -> tuple[list[Claim], list[RunConfig], int]:
        """Claims on up to `size` runs, the runs not looked at, and how many others hold."""
        claims: list[Claim] = []
        busy = 0
        rest = list(configs)
        while rest and len(claims) < size:
            config = rest.pop(0)
            parent = self.job.parents.get(config.recipe_name, "")
            try:
                claim = bench.session.claim(config, parent=parent)
            except UnreadableError as error:
                self._give_up(config, str(error))
                continue
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
        try:
            finished = bench.session.train(
                claims, on_epoch=self._epoch, interrupted=self.interrupted
            )
            self.settled |= {run.config.fingerprint for run in finished}
        except FleetError as broken:
            if isinstance(broken.error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            ended = set(names) - {claim.config.fingerprint for claim in broken.claims}
            self.settled |= ended
            self._recover(bench, broken)

    def _recover(self, bench: Bench, broken: FleetError) -> None:
        claims = [bench.session.again(claim) for claim in broken.claims]
        if len(claims) > 1:
            self._notice(f"a fleet of {len(claims)} broke ({broken}); halving it")
            half = len(claims) // 2
            for part in (claims[:half], claims[half:]):
                for fleet in _by_epoch(part):
                    self._train(bench, fleet)
            return
        (claim,) = claims
        self.failures[claim.config.fingerprint] += 1
        if self.failures[claim.config.fingerprint] <= self.job.retries:
            self._notice(f"{claim.config.run_name} broke ({broken}); trying again")
            self._train(bench, [claim])
        else:
            bench.session.fail(claim, broken.error)
            self._give_up(claim.config, str(broken))

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


def _fleet_name(configs: Sequence[RunConfig]) -> str:
    names = {config.recipe_name for config in configs}
    if len(configs) == 1:
        return configs[0].run_name
    return names.pop() if len(names) == 1 else f"{configs[0].optimizer} b{configs[0].batch_size} …"


def _one_line(text: str) -> str:
    return " ".join(text.split())
