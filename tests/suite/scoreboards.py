"""Trials of a small experiment on its scoreboard."""

from __future__ import annotations

from sqlalchemy import text

from suite.declarations.experiment_files import apply, configurations
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
from suite.declarations.metrics import EpochRecord
from suite.declarations.results import RunResult
from suite.sweep.study import Scoreboard

ONE_RATE = ["learning_rate=0.001", "batch_size=64"]
SMALL = apply(EXPERIMENTS["demo"], ["sigma_w=0.1,2.5", "seed=0,1", *ONE_RATE])


def record(epoch: int, accuracy: float) -> EpochRecord:
    return EpochRecord(epoch, 1000 * epoch, 1.0, 0.5, 1.0, accuracy, 3.0, 1e-3)


def add(board: Scoreboard, experiment: Experiment, index: int, **changes: object) -> str:
    """Write the trial of one point; its fingerprint."""
    point, config = configurations(experiment)[index]
    history = [record(epoch, 0.1 * epoch) for epoch in (1, 2, 3)]
    summary = {"test_accuracy": 0.5 + 0.01 * index, "best_epoch": 3.0}
    given = {"history": history, "summary": summary, "diverged": False} | changes
    result = RunResult(config, **given)  # type: ignore[arg-type]
    board.add([(point, f"run-{index}", result)])
    return config.fingerprint


def rows(board: Scoreboard) -> dict[str, list[tuple[object, ...]]]:
    """What the database holds of the trials, but for the time of day."""
    queries = {
        "trials": "SELECT trial_id, number, study_id, state FROM trials",
        "values": "SELECT trial_id, objective, value, value_type FROM trial_values",
        "params": "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params",
        "user": "SELECT trial_id, key, value_json FROM trial_user_attributes",
        "system": "SELECT trial_id, key, value_json FROM trial_system_attributes",
        "curves": "SELECT trial_id, step, intermediate_value, intermediate_value_type "
        "FROM trial_intermediate_values",
    }
    engine = board._storage.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        return {
            name: sorted(map(tuple, connection.execute(text(query))), key=repr)
            for name, query in queries.items()
        }
