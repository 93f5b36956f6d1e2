"""One worker of a sweep: takes runs nobody else has, trains them as fleets, until none is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import torch

from suite.calibration import Calibrator
from suite.checkpoint import CheckpointError
from suite.config import RunConfig
from suite.fleet import EpochOutcome, Fleet, Interrupted, fusion_key
from suite.jobs import Event, Job
from suite.ledger import Ledger, LedgerReader
from suite.resources import load_data, set_threads, torch_device
from suite.session import Claim, FleetError, Session
from suite.tracking import Tracker
from suite.workspace import KeptResult

WAIT_FOR_OTHERS = 2.0  # seconds between two looks at runs which other processes hold

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
        device = torch_device(job.machine.device)
        data, _ = load_data(job.configs[0], job.machine)
        self.tracker = Tracker(job.experiment, job.tracking_uri)
        self.ledger = LedgerReader(self.tracker)
        self.session = Session(
            self.tracker,
            job.state_dir,
            data,
            device,
            source=job.machine.source(job.configs[0].dataset),
            checkpoints=job.machine.checkpoint == "on",
            notify=lambda line: tell(Event("notice", line)),
            uploaded=self._uploaded,
        )
        self.calibrator = Calibrator(
            data, device, job.workers, lambda line: tell(Event("notice", line))
        )
        self.failures: Counter[str] = Counter()
        self.settled: set[str] = set()  # trained here, or given up

    def run(self) -> None:
        """Work until every run of the job is finished or given up.

        Raises
        ------
        Interrupted
            If asked to stop.
        CheckpointError
            If the disk is full.
        """
        try:
            while left := self._pass():
                self.tell(Event("idle", f"{left} runs are being trained by other processes"))
                self._sleep(WAIT_FOR_OTHERS)
        except BaseException:
            self.session.close(interrupted=True)
            raise
        self.session.close()

    def _pass(self) -> int:
        """Train what can be had; the number of runs which other processes hold."""
        ledger = self.ledger.read()
        groups = self._groups(ledger)
        held = 0
        for group in groups:
            remaining = list(group)
            size = self._fleet_size(group)
            while remaining:
                claims, remaining, busy = self._claim(remaining, size)
                held += busy
                for fleet in _by_epoch(claims):
                    self._train(fleet)
                if self.interrupted():
                    raise Interrupted
        return held

    def _groups(self, ledger: Ledger) -> list[list[RunConfig]]:
        """The runs left, in groups that may train together; each worker begins elsewhere."""
        groups: dict[object, list[RunConfig]] = {}
        for config in self.job.configs:
            done = config.fingerprint in ledger.finished or config.fingerprint in self.settled
            if not done:
                groups.setdefault(fusion_key(config), []).append(config)
        ordered = list(groups.values())
        start = self.job.index * len(ordered) // self.job.workers
        return ordered[start:] + ordered[:start]

    def _fleet_size(self, group: Sequence[RunConfig]) -> int:
        if self.job.fleet:
            return self.job.fleet
        share = -(-len(group) // self.job.workers)
        best = self.calibrator.calibrate(group[0], share).best.runs
        fleets = -(-len(group) // best)
        return -(-len(group) // fleets)  # fleets of nearly equal size

    def _claim(
        self, configs: list[RunConfig], size: int
    ) -> tuple[list[Claim], list[RunConfig], int]:
        """Claims on up to `size` runs, the runs not looked at, and how many others hold."""
        claims: list[Claim] = []
        busy = 0
        rest = list(configs)
        while rest and len(claims) < size:
            config = rest.pop(0)
            try:
                claim = self.session.claim(config)
            except CheckpointError as error:
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
        ledger = self.ledger.read()
        kept = []
        for claim in claims:
            fingerprint = claim.config.fingerprint
            if fingerprint in ledger.finished:
                claim.lock.release()
                continue
            claim.run_id = ledger.unfinished.get(fingerprint)
            claim.parent = self.job.parents.get(claim.config.recipe_name, "")
            kept.append(claim)
        return kept

    def _train(self, claims: list[Claim]) -> None:
        """Train claimed runs; a fleet that breaks is halved until the run at fault is alone."""
        configs = [claim.config for claim in claims]
        epoch = claims[0].state.epoch if claims[0].state else 0
        self.tell(Event("fleet", (_fleet_name(configs), len(configs), configs[0].epochs, epoch)))
        try:
            finished = self.session.train(
                claims, on_epoch=self._epoch, interrupted=self.interrupted
            )
            self.settled |= {run.config.fingerprint for run in finished}
        except FleetError as broken:
            if isinstance(broken.error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            self._recover(broken)

    def _recover(self, broken: FleetError) -> None:
        claims = [self.session.again(claim) for claim in broken.claims]
        if len(claims) > 1:
            self.tell(Event("notice", f"a fleet of {len(claims)} broke ({broken}); halving it"))
            half = len(claims) // 2
            self._train(claims[:half])
            self._train(claims[half:])
            return
        (claim,) = claims
        fingerprint = claim.config.fingerprint
        self.failures[fingerprint] += 1
        if self.failures[fingerprint] <= self.job.retries:
            self.tell(Event("notice", f"{claim.config.run_name} broke ({broken}); trying again"))
            self._train([claim])
        else:
            self.session.fail(claim, broken.error)
            self._give_up(claim.config, str(broken))

    def _give_up(self, config: RunConfig, reason: str) -> None:
        self.settled.add(config.fingerprint)
        self.tell(Event("failed", (config.fingerprint, config.run_name, reason)))

    def _epoch(self, _fleet: Fleet, outcome: EpochOutcome) -> None:
        records = list(outcome.records.values())
        if records:
            accuracy = sum(record.val_accuracy for record in records) / len(records)
            self.tell(Event("epoch", (records[0].epoch, len(records), accuracy)))

    def _uploaded(self, run_id: str, result: KeptResult) -> None:
        content = (
            result.config.fingerprint,
            run_id,
            result.history,
            result.summary,
            result.diverged,
        )
        self.tell(Event("finished", content))

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.interrupted():
                raise Interrupted
            time.sleep(0.1)


def _by_epoch(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Claims in groups that stand at the same epoch, those furthest on first."""
    epochs: dict[int, list[Claim]] = {}
    for claim in claims:
        epochs.setdefault(claim.state.epoch if claim.state else 0, []).append(claim)
    for epoch in sorted(epochs, reverse=True):
        yield epochs[epoch]


def _fleet_name(configs: Sequence[RunConfig]) -> str:
    names = {config.recipe_name for config in configs}
    if len(configs) == 1:
        return configs[0].run_name
    return names.pop() if len(names) == 1 else f"{configs[0].optimizer} b{configs[0].batch_size} …"
