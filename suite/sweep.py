"""One invocation of a sweep: the to-do list, the workers, the scoreboard, and how it went."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow.entities import ViewType

from suite.config import RunConfig
from suite.display import Display, failures_table
from suite.executors.processes import ProcessExecutor, split_threads
from suite.experiments import Experiment
from suite.jobs import Event, Job
from suite.ledger import LedgerReader
from suite.machine import Machine
from suite.metrics import EPOCH_METRIC_NAMES, SUMMARY_METRIC_NAMES, EpochRecord
from suite.study import Scoreboard, default_storage
from suite.tracking import DIVERGED_TAG, Tracker, default_state_dir, machine_tags
from suite.workspace import Workspace

RECIPE_TAG = "recipe"


@dataclass
class Outcome:
    """How a sweep ended.

    Attributes
    ----------
    failed
        Fingerprint, name and reason of each run that failed.
    broken
        Reasons for which workers stopped.
    """

    text: str = ""
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


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
        self.ledger = LedgerReader(self.tracker).read()
        self.left = [c for _, c in self.points if c.fingerprint not in self.ledger.finished]
        self.workers = workers or default_workers(machine)
        chosen = machine.state_dir or default_state_dir(self.tracker.uri)
        self.state_dir = Path(chosen).expanduser().resolve()
        self.storage = default_storage(self.tracker.uri) if storage is None else storage
        self._by_fingerprint = {config.fingerprint: (p, config) for p, config in self.points}

    def check(self) -> int:
        """Make sure that every run left can be trained; the number of training images.

        Raises
        ------
        ConfigError, DataError
            If one cannot.
        """
        from suite.fleet import check, fusion_key
        from suite.resources import load_data, torch_device

        torch_device(self.machine.device)
        data, _ = load_data(self.left[0], self.machine)
        for config in {fusion_key(config): config for config in self.left}.values():
            check(config, data)
        return len(data.train)

    def settle(self) -> None:
        """Bring the scoreboard up to date with what MLflow has finished, and close the recipes."""
        scoreboard = Scoreboard(self.experiment, self.storage)
        missing = set(self.ledger.finished) & set(self._by_fingerprint) - scoreboard.known
        for fingerprint in missing:
            self._score(scoreboard, fingerprint, self.ledger.finished[fingerprint])

    def _score(self, scoreboard: Scoreboard, fingerprint: str, run_id: str) -> None:
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
        point = self._by_fingerprint[fingerprint][0]
        scoreboard.add(point, fingerprint, run_id, history, summary, diverged=diverged)

    def run(self, stop: Callable[[], bool]) -> Outcome:
        """Train what is left.

        Parameters
        ----------
        stop
            Whether to end early.
        """
        images = self.check()
        self.settle()
        scoreboard = Scoreboard(self.experiment, self.storage)
        parents = self._recipes()
        executor = ProcessExecutor(self._jobs(parents))
        outcome = Outcome()
        total = len(self.points)
        epochs = sum(config.epochs for config in self.left)
        display = Display(
            self.experiment.name, total, total - len(self.left), epochs, images
        )
        with display:
            display.say(
                f"{self.experiment.name}: {len(self.left)} of {total} runs to do, "
                f"{self.workers} worker{'s' if self.workers > 1 else ''}; "
                f"MLflow at {self.tracker.uri}"
            )
            for worker, event in executor.events(stop):
                self._take(event, scoreboard, outcome)
                display.take(worker, event)
        self._end(parents)
        outcome.text = self._conclusion(display, outcome, stopped=stop())
        return outcome

    def _take(self, event: Event, scoreboard: Scoreboard, outcome: Outcome) -> None:
        if event.kind == "finished":
            fingerprint, run_id, history, summary, diverged = event.content
            if fingerprint in self._by_fingerprint:
                point = self._by_fingerprint[fingerprint][0]
                scoreboard.add(point, fingerprint, run_id, history, summary, diverged=diverged)
        elif event.kind == "failed":
            outcome.failed.append(event.content)
        elif event.kind == "end" and event.content not in (None, "interrupted"):
            outcome.broken.append(event.content)

    def _jobs(self, parents: dict[str, str]) -> list[Job]:
        jobs = [
            Job(
                configs=self.left,
                parents=parents,
                experiment=self.experiment.name,
                tracking_uri=self.tracker.uri,
                state_dir=self.state_dir,
                machine=self.machine.model_copy(update={"device": device}),
                fleet=self.fleet,
                retries=self.retries,
                workers=self.workers,
                index=index,
            )
            for index, device in enumerate(devices(self.machine, self.workers))
        ]
        return split_threads(jobs, len(os.sched_getaffinity(0)))

    def _recipes(self) -> dict[str, str]:
        """MLflow's run for each recipe, under which the recipe's runs are listed."""
        client = self.tracker.client
        folder = Workspace(
            self.state_dir, (self.tracker.uri, self.tracker.experiment_id), self.experiment.name
        ).folder
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "recipes.lock"):
            there = {
                run.data.tags[RECIPE_TAG]: run.info.run_id
                for run in client.search_runs(
                    [self.tracker.experiment_id],
                    f"tags.{RECIPE_TAG} != ''",
                    run_view_type=ViewType.ACTIVE_ONLY,
                )
            }
            for config in self.left:
                name = config.recipe_name
                if name not in there:
                    tags = {RECIPE_TAG: name, **machine_tags()}
                    run = client.create_run(self.tracker.experiment_id, tags=tags, run_name=name)
                    there[name] = run.info.run_id
        return there

    def _end(self, parents: dict[str, str]) -> None:
        """End the recipes whose runs are all finished."""
        finished = LedgerReader(self.tracker).read().finished
        open_ones = {c.recipe_name for _, c in self.points if c.fingerprint not in finished}
        for name in {config.recipe_name for config in self.left} - open_ones:
            self.tracker.client.set_terminated(parents[name], "FINISHED")

    def _conclusion(self, display: Display, outcome: Outcome, *, stopped: bool) -> str:
        lines = [display.summary()]
        if outcome.failed:
            lines += ["failed, and left for the next start:", failures_table(outcome.failed)]
        lines += [f"a worker stopped: {reason}" for reason in dict.fromkeys(outcome.broken)]
        if stopped:
            lines.append("interrupted; the same command goes on from the last checkpoints")
        lines.append(f"to look: mlflow ui --backend-store-uri {self.tracker.uri}")
        return "\n".join(lines)


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
