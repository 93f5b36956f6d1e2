"""One invocation of a sweep: the to-do list, the workers, the scoreboard, and how it went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from suite.basics.errors import first_line
from suite.basics.settings import ConfigError
from suite.basics.waiting import with_progress
from suite.declarations.config import RunConfig
from suite.declarations.factorial import Experiment
from suite.declarations.machine import Machine
from suite.declarations.results import RunResult
from suite.executors.placement import Placement
from suite.executors.places import Executor, Place, find_place
from suite.executors.processes import default_workers
from suite.state.leases import lease_database
from suite.state.place import locate
from suite.state.workspace import Workspace
from suite.sweep.display import Display
from suite.sweep.outcome import Outcome, looking
from suite.sweep.study import Scoreboard, default_storage
from suite.sweep.study_storage import storage_address
from suite.tracking.ledger import Ledger, LedgerReader
from suite.tracking.moved import notices
from suite.tracking.parents import Parents
from suite.tracking.runs import Tracker
from suite.tracking.soundness import doubts
from suite.worker.messages import Event, Job

RUNS_AT_ONCE = 50  # whose results are read and written together: seconds, as others may wait


class Sweep:
    """An experiment on one store, from what is done already to the end.

    Parameters
    ----------
    experiment, points
        The factorial, and every point of it with its configuration.
    machine
        Device, threads, paths.
    storage
        Optuna storage URL; None is a file beside MLflow's.
    fleet, workers, retries
        Runs at once (0 measures), workers (0 decides), second tries.
    placement
        Where to train.

    Raises
    ------
    ConfigError, DataError
        If the data are not there or a run cannot be trained on them.
    """

    def __init__(
        self,
        experiment: Experiment,
        points: list[tuple[dict[str, Any], RunConfig]],
        machine: Machine,
        *,
        tracking_uri: str,
        storage: str | None,
        fleet: int,
        workers: int,
        retries: int,
        placement: Placement,
    ) -> None:
        self.experiment, self.machine, self.placement = experiment, machine, placement
        self.fleet, self.retries = fleet, retries
        self.points = _with_digest(points, machine)
        self.tracker = Tracker(experiment.name, tracking_uri)
        self.reader = LedgerReader(self.tracker)
        self.ledger = self.reader.latest()
        self.left = [c for _, c in self.points if c.fingerprint not in self.ledger.finished]
        self._workers_asked = workers
        here = placement.executor == "processes"
        self.workers = workers or (default_workers(machine) if here else 1)
        if self.left:
            self.workers = min(self.workers, len(self.left))
        self.state_dir = locate(machine.state_dir, self.tracker.uri)
        chosen = default_storage(self.tracker.uri) if storage is None else storage
        self.storage = storage_address(chosen)
        self._by_fingerprint = {config.fingerprint: (p, config) for p, config in self.points}
        self.lease_database = lease_database(self.tracker.uri, self.storage)
        self.workspace = Workspace(self.state_dir, self.tracker.place, self.lease_database)
        self.parents = Parents(self.tracker, self.workspace.leases)
        self._scoreboard: Scoreboard | None = None

    @property
    def scoreboard(self) -> Scoreboard:
        """The study, opened when first asked for."""
        if self._scoreboard is None:
            self._scoreboard = Scoreboard(self.experiment, self.storage)
        return self._scoreboard

    def check(self) -> None:
        """Make sure that every run left can be trained.

        Raises
        ------
        ConfigError, DataError
            If one cannot.
        """
        from suite.engine.device import torch_device
        from suite.engine.preparation import check, data_key, load_data
        from suite.engine.runs import fusion_key

        if self.placement.executor == "processes":
            torch_device(self.machine.device)
        self.workspace.leases.check()
        kinds = {fusion_key(config): config for config in self.left}
        parts = {data_key(config): config for config in self.left}
        for key, first in parts.items():
            data, _ = load_data(first, self.machine)
            for config in kinds.values():
                if data_key(config) == key:
                    check(config, data)

    def doubts(self) -> list[str]:
        """What of the finished runs may not be as it should, a line each."""
        return doubts(self.tracker, self.ledger, (config for _, config in self.points))

    def settle(self) -> None:
        """Bring the scoreboard up to date with what MLflow has finished, and end parent runs."""
        finished = self.ledger.finished
        lacks = self.scoreboard.lacks
        missing = [f for f in finished if f in self._by_fingerprint and lacks(f, finished[f])]
        parts = [missing[i : i + RUNS_AT_ONCE] for i in range(0, len(missing), RUNS_AT_ONCE)]
        doing = (
            f"bringing {len(missing):,} finished runs into the Optuna study, {RUNS_AT_ONCE} a part"
        )
        for part in with_progress(parts, len(parts), doing):
            self._score({fingerprint: finished[fingerprint] for fingerprint in part})
        left = {c.recipe_fingerprint for _, c in self.points if c.fingerprint not in finished}
        self.parents.end({c.recipe_fingerprint for _, c in self.points} - left, "FINISHED")

    def _score(self, runs: Mapping[str, str]) -> None:
        """Write the trials of runs, by fingerprint, which MLflow has, but the study does not."""
        by_id = {run_id: self._by_fingerprint[fingerprint] for fingerprint, run_id in runs.items()}
        found = self.reader.results({run_id: config for run_id, (_, config) in by_id.items()})
        self.scoreboard.add((by_id[run_id][0], run_id, result) for run_id, result in found.items())

    def _add(self, run_id: str, result: RunResult) -> None:
        point, _ = self._by_fingerprint[result.config.fingerprint]
        self.scoreboard.add([(point, run_id, result)])

    def run(self, stop: Callable[[], bool]) -> Outcome:
        """Train what is left.

        Parameters
        ----------
        stop
            Whether to end early.
        """
        before, doubtful = self.ledger, self.doubts()
        self.check()
        place = find_place(self.placement, self._job(), self._workers_asked)
        self.settle()
        parents = self.parents.open(self.left)
        outcome = Outcome()
        total = len(self.points)
        epochs = {config.fingerprint: config.epochs for config in self.left}
        display = Display(self.experiment.name, total - len(self.left), epochs)
        executor = self._start(place, parents)
        with display:
            display.say(
                f"{self.experiment.name}: {len(self.left):,} of {total:,} runs to do, "
                f"{place.description}; MLflow at {self.tracker.uri}"
            )
            for line in (
                *doubtful,
                *notices(self.tracker, self.workspace, {c.fingerprint for c in self.left}),
            ):
                display.say(line)
            for worker, event in executor.events(stop):
                self._take(event, outcome, display)
                display.take(worker, event)
        outcome.going_on = executor.going_on
        self._conclude(outcome, display, before, stopped=stop())
        return outcome

    def _start(self, place: Place, parents: Mapping[str, str]) -> Executor:
        try:
            return place.start(parents)
        except ConfigError:  # a cluster refuses some things only when it is asked for them
            self._kill_parents()
            raise

    def _kill_parents(self) -> None:
        self.parents.end({config.recipe_fingerprint for config in self.left}, "KILLED")

    def _take(self, event: Event, outcome: Outcome, display: Display) -> None:
        if event.kind == "finished":
            try:
                self._add(*event.content)
            except (SQLAlchemyError, TimeoutError) as error:
                # The next start, or the end of this one, adds it.
                reason = first_line(error)
                display.say(f"the Optuna study cannot be written now ({reason}); training goes on")
        elif event.kind == "failed":
            fingerprint, name, reason = event.content
            outcome.failed.setdefault(fingerprint, (name, reason))
        elif event.kind == "end" and event.content not in (None, "interrupted"):
            outcome.broken.append(event.content)

    def _job(self) -> Job:
        """What each worker needs to know, all but its index and the parent runs."""
        data_dir = str(self.machine.data_path.resolve())
        return Job(
            configs=self.left,
            parents={},
            experiment=self.experiment.name,
            tracking_uri=self.tracker.uri,
            state_dir=self.state_dir,
            machine=self.machine.model_copy(update={"data_dir": data_dir}),
            failed_before=self.ledger.failed,
            fleet=self.fleet,
            retries=self.retries,
            workers=self.workers,
            index=0,
            lease_database=self.lease_database,
        )

    def _conclude(
        self, outcome: Outcome, display: Display, before: Ledger, *, stopped: bool
    ) -> None:
        """Compare with the ledger, close what is done, and put it all in words."""
        try:
            self.ledger = self.reader.read()
            self.settle()
            if stopped and not outcome.going_on:
                self._kill_parents()
            self._note_others(outcome, display, before)
            away = ""
        except (MlflowException, SQLAlchemyError, TimeoutError) as error:
            away = f"MLflow or the Optuna study cannot be reached ({first_line(error)})"
        finished = self.ledger.finished
        waiting = [c for c in self.left if c.fingerprint not in finished]
        outcome.left = len(waiting)
        lines = [display.summary(), *outcome.lines()]
        if away:
            lines.append(
                f"{away}; what it lacks is in {self.workspace.folder}, the next start uploads it"
            )
        if outcome.going_on:
            lines.append(outcome.going_on)
        elif stopped:
            lines.append("interrupted; the same command goes on from the last checkpoints")
        lines.append(f"to look: {looking(self.tracker.uri)}")
        outcome.text = "\n".join(lines)

    def _note_others(self, outcome: Outcome, display: Display, before: Ledger) -> None:
        """What other processes have finished, or given up, since the sweep began."""
        for config in self.left:
            name, fingerprint = config.run_name, config.fingerprint
            if fingerprint in self.ledger.finished:
                display.finished.add(fingerprint)
            elif self.ledger.failed_since(fingerprint, before.failed):
                outcome.failed.setdefault(fingerprint, (name, "failed in another process"))
                display.failed.add(fingerprint)


def _with_digest(
    points: list[tuple[dict[str, Any], RunConfig]], machine: Machine
) -> list[tuple[dict[str, Any], RunConfig]]:
    """The points with the content digest of a folder data set filled in."""
    if points[0][1].dataset != "folder":
        return points
    from suite.data.splits import folder_digest

    digest = folder_digest(machine.data_path)
    return [(point, config.with_(dataset_digest=digest)) for point, config in points]
