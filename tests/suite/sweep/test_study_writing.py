"""A run has one trial, whole or none: whoever writes it, is killed meanwhile, or has to wait."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from optuna.trial import TrialState
from scoreboards import SMALL, add, record, rows
from sqlalchemy import event

from benchmarks.study_rows import insert_trials
from suite.declarations.experiment_files import configurations
from suite.declarations.results import RunResult
from suite.sweep import study_storage
from suite.sweep.study import Scoreboard


def test_the_benchmarks_trials_are_the_rows_which_optuna_writes(
    tmp_path: Path, boards: list[Scoreboard]
) -> None:
    bulk, scored = (Scoreboard(SMALL, f"sqlite:///{tmp_path / name}") for name in ("a.db", "b.db"))
    boards += [bulk, scored]
    curves: list[dict[int, float]] = [{1: 0.25, 2: math.nan, 3: -math.inf, 4: math.inf}, {}]
    summaries = [{"test_accuracy": 0.5, "repair_gap": math.nan}, {"epochs_trained": 1.0}]
    finished = [
        (
            point,
            f"run-{n}",
            RunResult(config, [record(*at) for at in curve.items()], summary, diverged=bool(n)),
        )
        for n, ((point, config), curve, summary) in enumerate(
            zip(configurations(SMALL)[3:5], curves, summaries, strict=True)
        )
    ]
    for one in finished:
        insert_trials(
            bulk._storage.engine,  # type: ignore[attr-defined]
            bulk.study.study_name,
            [bulk.trial(*one)],
        )
    scored.add(finished[:1])
    scored.add(finished)
    assert rows(bulk) == rows(scored)
    for board in (bulk, scored):
        written = board.study.trials
        assert [trial.number for trial in written] == [0, 1]
        assert [t.intermediate_values for t in written] == [
            pytest.approx(curve, nan_ok=True) for curve in curves
        ]
    start = scored.study.trials[0].datetime_start
    assert start is not None
    assert abs((datetime.now() - start).total_seconds()) < 600


def test_a_run_is_written_once_also_by_two_sweeps(storage: str, boards: list[Scoreboard]) -> None:
    first = Scoreboard(SMALL, storage)
    second = Scoreboard(SMALL, storage) if storage else first
    boards += [first, second]
    fingerprint = add(first, SMALL, 1)
    add(second, SMALL, 1)
    add(first, SMALL, 1)
    assert len(first.study.trials) == 1
    assert first.known == second.known == {fingerprint}


def test_a_new_start_knows_what_is_written(tmp_path: Path, boards: list[Scoreboard]) -> None:
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    boards.append(Scoreboard(SMALL, storage))
    written = {add(boards[0], SMALL, index) for index in range(3)}
    boards.append(Scoreboard(SMALL, storage))
    assert boards[1].known == written


def test_a_run_that_took_anothers_place_takes_its_trial_too(
    tmp_path: Path, boards: list[Scoreboard]
) -> None:
    """Trained again, after it was deleted or by --force: numbers, curve and id are the new ones."""
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    boards.append(Scoreboard(SMALL, storage))
    fingerprint, other = (add(boards[0], SMALL, index) for index in (0, 1))
    before = rows(boards[0])
    point, config = configurations(SMALL)[0]
    summary = {"test_accuracy": 0.9, "best_epoch": 1.0}
    again = RunResult(config, [record(7, 0.7)], summary, diverged=False)
    boards.append(Scoreboard(SMALL, storage))
    assert not boards[1].lacks(fingerprint, "run-0")
    assert boards[1].lacks(fingerprint, "another")
    boards[1].add([(point, "another", again)])
    boards.append(Scoreboard(SMALL, storage))
    trial, untouched = boards[2].study.trials
    expected = boards[2].trial(point, "another", again)
    for name in ("state", "values", "params", "user_attrs", "system_attrs", "intermediate_values"):
        assert getattr(trial, name) == getattr(expected, name), name
    assert (untouched.number, untouched.user_attrs["fingerprint"]) == (1, other)
    assert before.keys() == rows(boards[2]).keys()
    assert not boards[2].lacks(fingerprint, "another")


def test_a_trial_whose_rewriting_was_cut_off_is_written_by_the_next_start(
    tmp_path: Path, boards: list[Scoreboard], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    boards.append(Scoreboard(SMALL, storage))
    fingerprint = add(boards[0], SMALL, 0)
    point, config = configurations(SMALL)[0]
    again = RunResult(config, [record(7, 0.7)], {"test_accuracy": 0.9}, diverged=False)
    with monkeypatch.context() as cut:
        cut.setattr(type(boards[0]._storage), "set_trial_state_values", None)
        with pytest.raises(TypeError):
            boards[0].add([(point, "another", again)])
    boards.append(Scoreboard(SMALL, storage))
    assert boards[1].known == {fingerprint}
    assert boards[1].lacks(fingerprint, "another")
    boards[1].add([(point, "another", again)])
    (trial,) = boards[1].study.trials
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.9)


def test_a_locked_study_is_one_line_and_the_next_look_finds_all(
    tmp_path: Path, boards: list[Scoreboard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_storage, "SQLITE_PATIENCE", 0.2)
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    boards.append(Scoreboard(SMALL, storage))
    line = r"storage: must not be locked, got .*optuna.db, which another process has kept locked"
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TimeoutError, match=line):
            add(boards[0], SMALL, 0)
        with pytest.raises(TimeoutError, match=line):
            Scoreboard(SMALL, storage)
    fingerprint = add(boards[0], SMALL, 0)
    assert boards[0].known == {fingerprint}


def write_until_killed(storage: str) -> None:
    """Write one trial, and die at once when the first value of its curve is inserted."""
    board = Scoreboard(SMALL, storage)

    def die(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("INSERT INTO trial_intermediate_values"):
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(board._storage.engine, "before_cursor_execute", die)  # type: ignore[attr-defined]
    add(board, SMALL, 0)


def test_a_writer_killed_within_a_trial_leaves_nothing_of_it(
    tmp_path: Path, boards: list[Scoreboard]
) -> None:
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    writer = multiprocessing.get_context("fork").Process(target=write_until_killed, args=[storage])
    writer.start()
    writer.join(60)
    assert writer.exitcode == -signal.SIGKILL
    boards.append(Scoreboard(SMALL, storage))
    assert {name: content for name, content in rows(boards[0]).items() if content} == {}
    fingerprint = add(boards[0], SMALL, 0)
    assert [len(trial.intermediate_values) for trial in boards[0].study.trials] == [3]
    assert boards[0].known == {fingerprint}
