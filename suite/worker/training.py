"""Training held runs as fleets, and what to do when a fleet breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from suite.declarations.config import RunConfig
from suite.engine.calibration import Calibrator
from suite.engine.device_memory import release_memory
from suite.engine.fleet import Interrupted
from suite.engine.runs import EpochOutcome, TrainedRun, fusion_key
from suite.state.leases import LeaseLostError
from suite.worker.held_run import FleetError, HeldRun
from suite.worker.messages import Event, FleetEpoch, FleetStart
from suite.worker.session import Session
from suite.worker.uploads import Uploads


@dataclass
class Bench:
    """Where runs on one data set are trained."""

    session: Session
    calibrator: Calibrator


class FleetTraining:
    """Trains held runs; a fleet that breaks is halved until the run at fault is alone.

    Parameters
    ----------
    uploads
        What tells MLflow that a run is given up.
    tell
        Takes the worker's events.
    interrupted
        Whether to stop.
    retries
        How often a run that breaks alone is tried again.

    Attributes
    ----------
    settled
        Fingerprints of the runs that were trained here, or given up.
    lost
        Number of runs whose leases were lost.
    """

    def __init__(
        self,
        uploads: Uploads,
        tell: Callable[[Event], None],
        interrupted: Callable[[], bool],
        retries: int,
    ) -> None:
        self.uploads, self.tell, self.interrupted = uploads, tell, interrupted
        self.retries = retries
        self.settled: set[str] = set()
        self.lost = 0
        self._failures: Counter[str] = Counter()
        self._limits: dict[object, int] = {}  # fusion key to the largest fleet that fits in memory

    def limit(self, config: RunConfig, size: int) -> int:
        """A fleet's size, or the smaller one at which fleets of such runs fit in memory."""
        return min(size, self._limits.get(fusion_key(config), size))

    def train_all(self, bench: Bench, runs: Sequence[HeldRun]) -> list[TrainedRun]:
        """Train runs to their end, those that stand at one epoch together.

        Raises
        ------
        Interrupted, CheckpointError, WriteError
            As :meth:`suite.worker.session.Session.train` does.
        """
        return [trained for fleet in _by_epoch(runs) for trained in self._train(bench, fleet)]

    def give_up(self, config: RunConfig, reason: str) -> None:
        """Leave a run for the next start, and say why."""
        self.settled.add(config.fingerprint)
        self.tell(Event("failed", (config.fingerprint, config.run_name, one_line(reason))))

    def _train(self, bench: Bench, runs: Sequence[HeldRun]) -> list[TrainedRun]:
        names = {run.config.fingerprint for run in runs}
        self.tell(Event("fleet", _start_of(runs, len(bench.session.data.train))))
        try:
            ended = bench.session.train(runs, on_epoch=self._epoch, interrupted=self.interrupted)
        except LeaseLostError:  # the next pass takes up again what nobody else has
            self.lost += len(runs)
            self._notice(f"PostgreSQL ended the leases of {len(runs)} runs; taking them again")
            return []
        except FleetError as error:
            broken = error
        else:
            self.settled |= {run.config.fingerprint for run in ended}
            return ended
        # Not within `except`, which would hold the broken fleet.
        release_memory(broken)
        self.settled |= names - {run.config.fingerprint for run in broken.runs}
        return self._recover(bench, broken)

    def _recover(self, bench: Bench, broken: FleetError) -> list[TrainedRun]:
        runs = [bench.session.again(run) for run in broken.runs]
        if len(runs) > 1:
            return self._halve(bench, runs, broken)
        (run,) = runs
        self._failures[run.config.fingerprint] += 1
        if self._failures[run.config.fingerprint] <= self.retries:
            self._notice(f"{run.config.run_name} broke ({broken}); trying again")
            return self._train(bench, [run])
        error, reason = broken.error, str(broken)
        if isinstance(error, torch.OutOfMemoryError):
            reason = (
                f"out of memory on {bench.session.device} with this run alone; choose a smaller "
                "batch_size or width, a larger device, or fewer --workers on it"
            )
            error = torch.OutOfMemoryError(reason)
        self.uploads.fail(run, error)
        self.give_up(run.config, reason)
        return []

    def _halve(self, bench: Bench, runs: Sequence[HeldRun], broken: FleetError) -> list[TrainedRun]:
        half = len(runs) // 2
        if isinstance(broken.error, torch.OutOfMemoryError):
            self._shrink(bench, runs)
        else:
            self._notice(f"a fleet of {len(runs)} broke ({broken}); halving it")
        return [
            trained
            for part in (runs[:half], runs[half:])
            for fleet in _by_epoch(part)
            for piece in _pieces(fleet, self.limit(fleet[0].config, len(fleet)))
            for trained in self._train(bench, piece)
        ]

    def _shrink(self, bench: Bench, runs: Sequence[HeldRun]) -> None:
        """Plan smaller fleets of such runs from now on, here and at the next start."""
        config, count = runs[0].config, len(runs)
        fits = count - count // 2
        self._limits[fusion_key(config)] = fits
        with suppress(Interrupted):  # training is asked again at once, and marks the runs
            bench.calibrator.too_large(config, count)
        self._notice(
            f"a fleet of {count} ran out of memory on {bench.session.device}; "
            f"its runs go on from their checkpoints in fleets of at most {fits}"
        )

    def _epoch(self, outcome: EpochOutcome) -> None:
        records = outcome.records
        if records:
            accuracy = sum(record.val_accuracy for record in records.values()) / len(records)
            epoch = next(iter(records.values())).epoch
            self.tell(Event("epoch", FleetEpoch(epoch, tuple(records), accuracy)))

    def _notice(self, line: str) -> None:
        self.tell(Event("notice", one_line(line)))


def _by_epoch(runs: Sequence[HeldRun]) -> Iterator[list[HeldRun]]:
    """Runs in groups that stand at the same epoch, those furthest on first."""
    for epoch in sorted({run.epoch for run in runs}, reverse=True):
        yield [run for run in runs if run.epoch == epoch]


def _pieces(runs: Sequence[HeldRun], size: int) -> Iterator[list[HeldRun]]:
    for start in range(0, len(runs), size):
        yield list(runs[start : start + size])


def _start_of(runs: Sequence[HeldRun], images: int) -> FleetStart:
    configs = [run.config for run in runs]
    return FleetStart(
        _fleet_name(configs),
        tuple(config.fingerprint for config in configs),
        configs[0].epochs,
        runs[0].epoch,
        images,
        tuple(run.run_id or "" for run in runs),
    )


def _fleet_name(configs: Sequence[RunConfig]) -> str:
    if len(configs) == 1:
        return configs[0].run_name
    names = {config.recipe_name for config in configs}
    return names.pop() if len(names) == 1 else f"{configs[0].optimizer} b{configs[0].batch_size} …"


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())
