"""One invocation of a sweep: the to-do list, the workers, the scoreboard, and how it went."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from suite.config import RunConfig
from suite.display import Display
from suite.executors.processes import ProcessExecutor, split_threads
from suite.experiments import Experiment
from suite.jobs import Event, FinishedNews, Job
from suite.ledger import Ledger, LedgerReader
from suite.machine import Machine
from suite.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES, EpochRecord
from suite.outcome import Outcome, looking
from suite.recipes import Recipes
from suite.study import Scoreboard, default_storage
from suite.tracking import DIVERGED_TAG, Tracker, default_state_dir
from suite.workspace import Workspace


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
        Runs at once (0 measures), processes (0 decides), second tries.

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
    ) -> None:
        self.experiment, self.machine = experiment, machine
        self.fleet, self.retries = fleet, retries
        self.points = _with_digest(points, machine)
        self.tracker = Tracker(experiment.name, tracking_uri)
        self.reader = LedgerReader(self.tracker)
        self.ledger = self.reader.latest()
        self.left = [c for _, c in self.points if c.fingerprint not in self.ledger.finished]
        self.workers = workers or default_workers(machine)
        if self.left:
            self.workers = min(self.workers, len(self.left))
        chosen = machine.state_dir or default_state_dir(self.tracker.uri)
        self.state_dir = Path(chosen).expanduser().resolve()
        self.storage = default_storage(self.tracker.uri) if storage is None else storage
        self._by_fingerprint = {config.fingerprint: (p, config) for p, config in self.points}
        place = (self.tracker.uri, self.tracker.experiment_id)
        self.folder = Workspace(self.state_dir, place, self.tracker.experiment_name).folder
        self.recipes = Recipes(self.tracker, self.folder)
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
        from suite.fleet import check, fusion_key
        from suite.resources import data_key, load_data, torch_device

        torch_device(self.machine.device)
        kinds = {fusion_key(config): config for config in self.left}
        parts = {data_key(config): config for config in self.left}
        for key, first in parts.items():
            data, _ = load_data(first, self.machine)
            for config in kinds.values():
                if data_key(config) == key:
                    check(config, data)

    def settle(self) -> None:
        """Bring the scoreboard up to date with what MLflow has finished, and end the recipes."""
        finished = self.ledger.finished
        known = self.scoreboard.known
        for fingerprint, run_id in finished.items():
            if fingerprint in self._by_fingerprint and fingerprint not in known:
                self._score(fingerprint, run_id)
        open_ones = {c.recipe_name for _, c in self.points if c.fingerprint not in finished}
        self.recipes.end({c.recipe_name for _, c in self.points} - open_ones, "FINISHED")

    def _score(self, fingerprint: str, run_id: str) -> None:
        """Write the trial of a run which MLflow has, but the study does not."""
        run = self.tracker.client.get_run(run_id)
        curves = {
            name: {m.step: m for m in self.tracker.client.get_metric_history(run_id, name)}
            for name in EPOCH_METRIC_NAMES
        }
        history = [
            EpochRecord(
                epoch, point.timestamp, **{name: curves[name][epoch].value for name in curves}
            )
            for epoch, point in sorted(curves["val_accuracy"].items())
        ]
        metrics = run.data.metrics
        summary = {name: metrics[name] for name in SUMMARY_METRIC_NAMES if name in metrics}
        diverged = run.data.tags.get(DIVERGED_TAG) == "true"
        self._add(FinishedNews(fingerprint, run_id, history, summary, diverged))

    def _add(self, news: FinishedNews) -> None:
        point = self._by_fingerprint[news.fingerprint][0]
        self.scoreboard.add(
            point,
            news.fingerprint,
            news.run_id,
            news.history,
            news.summary,
            diverged=news.diverged,
        )

    def run(self, stop: Callable[[], bool]) -> Outcome:
        """Train what is left.

        Parameters
        ----------
        stop
            Whether to end early.
        """
        began = time.time_ns() // 1_000_000
        self.check()
        self.settle()
        parents = self.recipes.open(config.recipe_name for config in self.left)
        outcome = Outcome()
        total = len(self.points)
        epochs = {config.fingerprint: config.epochs for config in self.left}
        display = Display(self.experiment.name, total - len(self.left), epochs)
        executor = ProcessExecutor(self._jobs(parents, began))
        with display:
            display.say(
                f"{self.experiment.name}: {len(self.left):,} of {total:,} runs to do, "
                f"{self.workers} worker{'s' if self.workers > 1 else ''}; "
                f"MLflow at {self.tracker.uri}"
            )
            for worker, event in executor.events(stop):
                self._take(event, outcome, display)
                display.take(worker, event)
        self._conclude(outcome, display, began, stopped=stop())
        return outcome

    def _take(self, event: Event, outcome: Outcome, display: Display) -> None:
        if event.kind == "finished":
            try:
                self._add(event.content)
            except SQLAlchemyError as error:  # the next start, or the end of this one, adds it
                reason = str(error).splitlines()[0]
                display.say(f"the Optuna study cannot be written now ({reason}); training goes on")
        elif event.kind == "failed":
            fingerprint, name, reason = event.content
            outcome.failed.setdefault(fingerprint, (name, reason))
        elif event.kind == "end" and event.content not in (None, "interrupted"):
            outcome.broken.append(event.content)

    def _jobs(self, parents: dict[str, str], began: int) -> list[Job]:
        jobs = [
            Job(
                configs=self.left,
                parents=parents,
                experiment=self.experiment.name,
                tracking_uri=self.tracker.uri,
                state_dir=self.state_dir,
                machine=self.machine.model_copy(update={"device": device}),
                began=began,
                fleet=self.fleet,
                retries=self.retries,
                workers=self.workers,
                index=index,
            )
            for index, device in enumerate(devices(self.machine, self.workers))
        ]
        return split_threads(jobs, len(os.sched_getaffinity(0)))

    def _conclude(self, outcome: Outcome, display: Display, began: int, *, stopped: bool) -> None:
        """Compare with the ledger, close what is done, and put it all in words."""
        try:
            self.ledger = self.reader.read()
            self.settle()
            if stopped:
                self.recipes.end({config.recipe_name for config in self.left}, "KILLED")
            self._note_others(outcome, display, self.ledger, began)
            away = ""
        except (MlflowException, SQLAlchemyError) as error:
            away = f"MLflow or the Optuna study cannot be reached ({str(error).splitlines()[0]})"
        finished = self.ledger.finished
        waiting = [c for c in self.left if c.fingerprint not in finished]
        outcome.left = len(waiting)
        lines = [display.summary(), *outcome.lines()]
        if away:
            lines.append(f"{away}; what it lacks is in {self.folder}, the next start uploads it")
        if stopped:
            lines.append("interrupted; the same command goes on from the last checkpoints")
        lines.append(f"to look: {looking(self.tracker.uri)}")
        outcome.text = "\n".join(lines)

    def _note_others(self, outcome: Outcome, display: Display, ledger: Ledger, began: int) -> None:
        """What other processes have finished, or given up, since the sweep began."""
        for config in self.left:
            name, fingerprint = config.run_name, config.fingerprint
            if fingerprint in ledger.finished:
                display.finished.add(fingerprint)
            elif ledger.failed.get(fingerprint, -1) >= began:
                outcome.failed.setdefault(fingerprint, (name, "failed in another process"))
                display.failed.add(fingerprint)


def default_workers(machine: Machine) -> int:
    """Worker processes that suit the machine: one per GPU, else one per CPU core.

    Small convolutions do not speed up with threads, so on a CPU single-threaded workers side by
    side are fastest (docs/LOG.md).
    """
    if machine.device in ("auto", "cuda"):
        import torch

        if torch.cuda.is_available():
            return torch.cuda.device_count()
    return 1 if machine.device.startswith(("cuda:", "mps")) else len(os.sched_getaffinity(0))


def devices(machine: Machine, workers: int) -> list[str]:
    """The device of each worker: GPUs in turn."""
    if machine.device in ("auto", "cuda"):
        import torch

        if torch.cuda.is_available():
            return [f"cuda:{index % torch.cuda.device_count()}" for index in range(workers)]
    return [machine.device] * workers


def _with_digest(
    points: list[tuple[dict[str, Any], RunConfig]], machine: Machine
) -> list[tuple[dict[str, Any], RunConfig]]:
    """The points with the content digest of a folder data set filled in."""
    if points[0][1].dataset != "folder":
        return points
    from suite.data import folder_digest

    digest = folder_digest(machine.data_path or Path("data"))
    return [(point, config.with_(dataset_digest=digest)) for point, config in points]
