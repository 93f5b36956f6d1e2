"""MLflow's tables and the Optuna study in PostgreSQL, made and written by many at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql_server import PostgresqlServer

from suite.declarations.experiment_files import configurations
from suite.declarations.factorial import Experiment
from suite.declarations.metrics import EpochRecord
from suite.declarations.results import RunResult
from suite.sweep.study import Scoreboard
from suite.tracking.ledger import LedgerReader
from suite.tracking.runs import Tracker

ROOT = Path(__file__).parents[3]
SMALL = Experiment(
    name="small",
    description="",
    source="",
    axes={"optimizer": ("sgd", "adam"), "seed": (0, 1, 2)},
    fixed={"epochs": 2},
)
HISTORY = [EpochRecord(e, 1700000000000 + e, 1.0, 0.1, 1.0, e / 10, 3.0, 0.01) for e in (1, 2)]


@pytest.fixture
def boards(postgresql: str) -> Iterator[list[Scoreboard]]:
    """The scoreboards of four sweeps that start at once on an empty database."""
    made: list[Scoreboard] = []
    broken: list[BaseException] = []

    def open_one() -> None:
        try:
            made.append(Scoreboard(SMALL, postgresql))
        except BaseException as error:
            broken.append(error)

    run_together(open_one, 4)
    yield made
    for board in made:
        board._storage.engine.dispose()  # type: ignore[attr-defined]
    assert broken == []


def run_together(work: object, count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_sweeps_that_start_together_have_one_study(boards: list[Scoreboard]) -> None:
    assert len(boards) == 4
    assert len({board.study._study_id for board in boards}) == 1


def test_a_run_has_one_trial_however_many_sweeps_report_it(boards: list[Scoreboard]) -> None:
    points = configurations(SMALL)
    waiting = list(boards)

    def report() -> None:
        board = waiting.pop()
        for point, config in points:
            result = RunResult(config, HISTORY, {"test_accuracy": 0.5}, diverged=False)
            board.add([(point, "run", result)])

    run_together(report, len(boards))
    trials = boards[0].study.get_trials()
    assert len({trial.user_attrs["fingerprint"] for trial in trials}) == len(trials) == 6
    assert sorted(trial.number for trial in trials) == list(range(6))
    assert all(trial.intermediate_values == {1: 0.1, 2: 0.2} for trial in trials)


def test_a_run_that_took_anothers_place_takes_its_trial_too(boards: list[Scoreboard]) -> None:
    """In PostgreSQL, too, where a trial's state is no text."""
    point, config = configurations(SMALL)[0]
    for board, run_id, accuracy in zip(boards, ("first", "second"), (0.5, 0.75), strict=False):
        result = RunResult(config, HISTORY, {"test_accuracy": accuracy}, diverged=False)
        board.add([(point, run_id, result)])
    (trial,) = boards[2].study.get_trials()
    assert (trial.user_attrs["mlflow_run_id"], trial.value) == ("second", 0.75)
    assert trial.intermediate_values == {1: 0.1, 2: 0.2}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_processes_that_make_mlflows_tables_at_once_agree_and_share_one_ledger(
    postgresql: str, postgresql_server: PostgresqlServer
) -> None:
    code = (
        "import sys; from suite.tracking.runs import Tracker; "
        "tracker = Tracker('sweep', sys.argv[1]); print(tracker.experiment_id, *tracker.place)"
    )
    command = [sys.executable, "-c", code, postgresql]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = {process.communicate(timeout=280)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(said) == 1, said
    tracker = Tracker("sweep", postgresql)
    assert " ".join([tracker.experiment_id, *tracker.place]) == said.pop().strip()
    assert LedgerReader(tracker).read().finished == {}
    names = postgresql_server.rows(postgresql, "SELECT name FROM experiments ORDER BY name")
    assert names == [("Default",), ("sweep",)]
