"""The scoreboard: what Optuna, its stock GridSampler and a dashboard find in the study."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import optuna
import pytest
from optuna.samplers import GridSampler
from optuna.trial import TrialState
from scoreboards import SMALL, add, record

from suite.basics.settings import ConfigError
from suite.declarations.experiment_files import apply, configurations
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.results import RunResult
from suite.sweep.study import CURVE_EPOCHS, Scoreboard, default_storage, shown_epochs, study_name


def test_a_trial_has_parameters_run_value_and_all_epochs(
    storage: str, boards: list[Scoreboard]
) -> None:
    board = Scoreboard(SMALL, storage)
    boards.append(board)
    fingerprint = add(board, SMALL, 5)
    (trial,) = board.study.trials
    assert trial.state == TrialState.COMPLETE
    assert trial.params == configurations(SMALL)[5][0]
    assert trial.value == 0.55
    assert trial.intermediate_values == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3})
    assert trial.user_attrs == {
        "mlflow_run_id": "run-5",
        "fingerprint": fingerprint,
        "diverged": False,
        "test_accuracy": 0.55,
        "best_epoch": 3.0,
    }
    assert board.study.best_trial.number == trial.number


def test_a_run_without_any_epoch_has_a_trial(storage: str, boards: list[Scoreboard]) -> None:
    boards.append(Scoreboard(SMALL, storage))
    for _ in range(2):
        fingerprint = add(boards[0], SMALL, 0, history=[])
    assert [trial.intermediate_values for trial in boards[0].study.trials] == [{}]
    assert fingerprint in boards[0].known


def stock_study(board: Scoreboard, proposed: list[dict[str, object]]) -> optuna.Study:
    """The study with Optuna's own sampler, after it has optimized what it thinks is left."""
    space = {name: list(values) for name, values in SMALL.axes.items()}
    study = optuna.load_study(
        study_name=study_name(SMALL), storage=board._storage, sampler=GridSampler(space)
    )

    def objective(trial: optuna.Trial) -> float:
        proposed.append({n: trial.suggest_categorical(n, v) for n, v in space.items()})
        return 0.0

    study.optimize(objective, n_trials=3 * SMALL.size)  # ends sooner once the grid is exhausted
    return study


@pytest.mark.parametrize("missing", [0, 3, 7])
def test_a_stock_grid_sampler_goes_on_until_the_missing_point_and_stops_there(
    storage: str, boards: list[Scoreboard], missing: int
) -> None:
    """Its trial number n < size takes grid point n unseen; from then on it looks for unvisited."""
    board = Scoreboard(SMALL, storage)
    boards.append(board)
    points = [point for point, _ in configurations(SMALL)]
    for index in range(len(points)):
        if index != missing:
            add(board, SMALL, index)
    place = board._sampler.attributes(points[missing])["grid_id"]
    sampler = GridSampler({name: list(values) for name, values in SMALL.axes.items()})
    assert sampler._get_unvisited_grid_ids(board.study) == [place]
    proposed: list[dict[str, object]] = []
    stock_study(board, proposed)
    assert proposed[-1] == points[missing]
    assert len(proposed) <= 2


def test_a_stock_grid_sampler_proposes_exactly_the_one_missing_point(
    storage: str, boards: list[Scoreboard]
) -> None:
    board = Scoreboard(SMALL, storage)
    boards.append(board)
    points = [point for point, _ in configurations(SMALL)]
    places = [board._sampler.attributes(point)["grid_id"] for point in points]
    missing = places.index(len(points) - 1)
    for index in range(len(points)):
        if index != missing:
            add(board, SMALL, index)
    proposed: list[dict[str, object]] = []
    study = stock_study(board, proposed)
    assert proposed == [points[missing]]
    assert {tuple(trial.params.items()) for trial in study.trials} == {
        tuple(point.items()) for point in points
    }


def test_a_study_with_whole_curves_or_none_is_read_as_it_is(
    tmp_path: Path, boards: list[Scoreboard]
) -> None:
    """Such as earlier versions wrote: all epochs, and no curve where the writer was killed."""
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    boards.append(Scoreboard(SMALL, storage))
    written = []
    for (point, config), epochs in zip(configurations(SMALL)[:2], (300, 0), strict=True):
        result = RunResult(config, [], {"test_accuracy": 0.5}, diverged=False)
        trial = boards[0].trial(point, f"run-{len(written)}", result)
        trial.intermediate_values = dict.fromkeys(range(1, epochs + 1), 0.1)
        boards[0].study.add_trial(trial)
        written.append(config.fingerprint)
    boards.append(Scoreboard(SMALL, storage))
    assert boards[1].known == set(written)
    assert add(boards[1], SMALL, 0) == written[0]
    assert add(boards[1], SMALL, 1) == written[1]
    assert [len(trial.intermediate_values) for trial in boards[1].study.trials] == [300, 0]


def test_a_long_curve_is_shown_at_few_epochs_of_the_run(
    storage: str, boards: list[Scoreboard]
) -> None:
    boards.append(Scoreboard(SMALL, storage))
    history = [record(epoch, epoch / 300) for epoch in range(1, 301)]
    add(boards[0], SMALL, 0, history=history, summary={"test_accuracy": 0.5, "best_epoch": 123.0})
    (trial,) = boards[0].study.trials
    assert sorted(trial.intermediate_values) == shown_epochs(range(1, 301), 123.0)
    assert trial.intermediate_values == pytest.approx(
        {epoch: epoch / 300 for epoch in trial.intermediate_values}
    )


@pytest.mark.parametrize("best", [None, 1.0, 2.0, 150.0, 299.0, 300.0])
@pytest.mark.parametrize("first", [0, 1])
def test_the_epochs_shown_are_spread_evenly_and_dense_at_the_best(
    first: int, best: float | None
) -> None:
    epochs = range(first, 301)
    shown = shown_epochs(epochs, best)
    assert len(shown) <= CURVE_EPOCHS
    assert shown == sorted(set(shown))
    assert {first, 300} <= set(shown) <= set(epochs)
    assert all(after - before <= 19 for before, after in pairwise(shown))  # 300 in 16 steps
    if best is not None:
        assert {best - 1, best, best + 1} & set(epochs) <= set(shown)


@pytest.mark.parametrize("count", [0, 1, 3, CURVE_EPOCHS])
def test_a_short_curve_is_shown_whole(count: int) -> None:
    assert shown_epochs(range(1, count + 1), 1.0) == list(range(1, count + 1))


def test_epochs_that_are_just_too_many_are_thinned() -> None:
    shown = shown_epochs(range(1, CURVE_EPOCHS + 2), None)
    assert len(shown) == CURVE_EPOCHS - 3


def test_a_run_that_diverged_at_once_is_pruned_and_none_is_failed(
    storage: str, boards: list[Scoreboard]
) -> None:
    board = Scoreboard(SMALL, storage)
    boards.append(board)
    history = [record(1, 0.1), replace(record(2, 0.1), val_accuracy=math.nan)]
    add(board, SMALL, 0, summary={"epochs_trained": 2.0}, history=history, diverged=True)
    (trial,) = board.study.trials
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["diverged"] is True
    assert math.isnan(trial.intermediate_values[2])


@pytest.mark.parametrize(
    "change", ["sigma_w=0.1,2.5", "seed=0", "epochs=3", "width=4", "learning_rate=0.1,0.2"]
)
def test_a_changed_experiment_has_a_study_of_its_own(
    storage: str, boards: list[Scoreboard], change: str
) -> None:
    demo = EXPERIMENTS["demo"]
    assert study_name(demo) == "demo"
    other = apply(demo, [change])
    assert study_name(other) != "demo"
    assert study_name(other) == study_name(apply(demo, [change]))
    boards += [Scoreboard(demo, storage), Scoreboard(other, storage)]
    add(boards[0], demo, 0)
    add(boards[1], other, 0)
    assert len(boards[0].study.trials) == len(boards[1].study.trials) == 1


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_point_of_every_experiment_has_a_place_in_the_grid(name: str) -> None:
    experiment = EXPERIMENTS[name]
    board = Scoreboard(experiment, "")
    places = {board._sampler.attributes(p)["grid_id"] for p in experiment.points()}
    assert places == set(range(experiment.size))


@pytest.mark.parametrize("url", ["nonsense", "nodialect://x/y", "postgresql+nodriver://h/d"])
def test_a_storage_that_cannot_be_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ConfigError, match="storage: must be a database URL") as refusal:
        Scoreboard(SMALL, url)
    assert "\n" not in str(refusal.value)


def test_the_study_is_beside_the_mlflow_store_or_in_the_working_directory() -> None:
    assert default_storage("sqlite:////a/b/mlflow.db") == "sqlite:////a/b/optuna.db"
    assert default_storage("http://127.0.0.1:5000") == "sqlite:///optuna.db"
