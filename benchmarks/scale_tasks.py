"""What benchmarks.scale measures, one task to a process."""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KILOBYTES_PER_MEGABYTE = 1024
TRIALS = 20


@dataclass(frozen=True)
class Place:
    """Where the stores of one size are."""

    folder: Path
    uri: str
    storage: str

    def points(self) -> tuple[Any, list[Any]]:
        """The experiment and its points."""
        from suite.declarations.experiment_files import configurations, find

        experiment = find(str(self.folder / "scale.toml"))
        return experiment, configurations(experiment)


def _seconds(task: Callable[[], object]) -> float:
    """Processor time, with that of subprocesses: the same whatever else the machine does."""
    start = _spent()
    task()
    return _spent() - start


def _spent() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _enumerate(place: Place) -> float:
    return _seconds(place.points)


def _read_ledger(place: Place) -> float:
    from suite.tracking.ledger import LedgerReader
    from suite.tracking.runs import Tracker

    return _seconds(LedgerReader(Tracker("scale", place.uri)).read)


def _look_up(place: Place) -> float:
    """What a worker asks before a fleet of 25 runs, by run."""
    from suite.tracking.ledger import LedgerReader
    from suite.tracking.runs import Tracker

    tracker = Tracker("scale", place.uri)
    reader = LedgerReader(tracker)
    some = list(reader.latest().finished)[:: max(1, place.points()[0].size // 25)][:25]

    def both() -> None:
        reader.of(some)
        for fingerprint in some:
            tracker.finished(fingerprint)

    return _seconds(both) / len(some)


def _command(place: Place, *more: str) -> float:
    file = str(place.folder / "scale.toml")
    command = [sys.executable, "-m", "suite.grid", "--experiment", file, *more]
    command += ["--tracking-uri", place.uri, "--storage", place.storage]

    def run() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return _seconds(run)


def _second_start(place: Place) -> float:
    return _command(place)


def _dry_run(place: Place) -> float:
    return _command(place, "--dry-run")


def _open_scoreboard(place: Place) -> float:
    from suite.sweep.study import Scoreboard

    experiment, _ = place.points()
    return _seconds(lambda: Scoreboard(experiment, place.storage))


def _add_trial(place: Place) -> float:
    return _add_to(place, place.storage)


def _add_trial_in_memory(place: Place) -> float:
    return _add_to(place, "")


def _add_to(place: Place, storage: str) -> float:
    """One trial of 300 epochs, on top of as many trials as there are points."""
    from suite.declarations.metrics import EpochRecord
    from suite.declarations.results import RunResult
    from suite.sweep.study import Scoreboard

    experiment, points = place.points()
    board = Scoreboard(experiment, storage)
    summary = {"test_accuracy": 0.5}
    if not storage:
        first = [EpochRecord(1, 1, *[0.5] * 6)]
        board.add((p, "run", RunResult(c, first, summary, diverged=False)) for p, c in points)
    epochs = [EpochRecord(epoch, epoch, *[0.5] * 6) for epoch in range(1, 301)]
    point, config = points[0]

    def add(number: int) -> None:
        other = config.with_(seed=time.time_ns() + number)  # a trial that is not there yet
        board.add([(point, "run", RunResult(other, epochs, summary, diverged=False))])

    add(-1)
    return _seconds(lambda: [add(number) for number in range(TRIALS)]) / TRIALS


def _hand_over(place: Place) -> float:
    """All runs to a worker process: written by the sweep, read by the worker."""
    configs = [config for _, config in place.points()[1]]
    return _seconds(lambda: pickle.loads(pickle.dumps(configs)))


def _redraw(place: Place) -> float:
    from suite.sweep.display import Display

    display = Display("scale", 0, {c.fingerprint: c.epochs for _, c in place.points()[1]})
    return _seconds(lambda: [display._draw() for _ in range(TRIALS)]) / TRIALS


def _load(place: Place) -> float:
    from analysis.store.frames import load

    return _seconds(lambda: load("scale", place.uri, cache=False))


TASKS: Mapping[str, Callable[[Place], float]] = {
    "list the points (fingerprints)": _enumerate,
    "read the ledger": _read_ledger,
    "look one run up in the store": _look_up,
    "`suite.grid`: nothing to do": _second_start,
    "`suite.grid --dry-run`": _dry_run,
    "open the Optuna study": _open_scoreboard,
    "add a trial, SQLite": _add_trial,
    "add a trial, memory": _add_trial_in_memory,
    "hand all runs to a worker": _hand_over,
    "redraw the display": _redraw,
    "`analysis.store.frames.load`, runs only": _load,
}


def run(name: str, folder: str, uri: str, storage: str) -> None:
    """Print seconds and peak megabytes of one task, its own subprocess included."""
    seconds = TASKS[name](Place(Path(folder), uri, storage))
    most = max(_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    print(json.dumps([seconds, most / KILOBYTES_PER_MEGABYTE]))


def _peak() -> int:
    """This process's own peak of memory in kilobytes; getrusage has that of its parent in it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
