"""What an upgrade of Optuna may break: its tables and undocumented names, which the suite uses.

A failure here says what has changed in Optuna. `suite/sweep/study_tables.py` leans on the tables,
`FactorialSampler` in `suite/sweep/study.py` on the sampler's names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.samplers import GridSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from suite.declarations.experiment_files import apply
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
from suite.sweep.study import FactorialSampler
from suite.sweep.study_tables import attribute_since, reopen

CHANGED = apply(EXPERIMENTS["demo"], ["sigma_w=2.5,0.1", "seed=7,1", "learning_rate=0.1,1,0.01"])


@pytest.mark.parametrize("name", ["_all_grids", "_param_names", "_search_space"])
def test_a_grid_sampler_has_the_private_name(name: str) -> None:
    assert hasattr(GridSampler({"a": [1, 2]}, seed=0), name), (
        f"Optuna {optuna.__version__} has no GridSampler.{name}: see FactorialSampler"
    )


def proposed(experiment: Experiment) -> list[FrozenTrial]:
    """What Optuna's own GridSampler hands out, in its order, until the grid is exhausted."""
    axes = {name: list(values) for name, values in experiment.axes.items()}
    study = optuna.create_study(sampler=GridSampler(axes, seed=0))
    distributions = {name: CategoricalDistribution(values) for name, values in axes.items()}
    for _ in range(experiment.size):
        study.ask(distributions)  # type: ignore[arg-type]
    return study.get_trials(deepcopy=False)


def key(point: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(point.items()))


@pytest.mark.parametrize("experiment", [*EXPERIMENTS.values(), CHANGED], ids=lambda e: e.name)
def test_the_points_of_an_experiment_are_those_that_a_grid_sampler_hands_out(
    experiment: Experiment,
) -> None:
    """Each once, at the place and with the system attributes by which the sampler knows it."""
    sampler = FactorialSampler(experiment.axes)
    trials = proposed(experiment)
    points = Counter(key(trial.params) for trial in trials)
    assert points == Counter(map(key, experiment.points()))
    assert set(points.values()) == {1}
    for trial in trials:
        assert sampler.attributes(trial.params) == trial.system_attrs


def test_the_tables_hold_the_attributes_which_optuna_tells(tmp_path: Path) -> None:
    """The tables' and columns' names, the values' form, and the study's name as their owner."""
    storage = RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
    studies = [optuna.create_study(storage=storage, study_name=name) for name in ("a", "b")]
    for number in range(4):
        trial = optuna.trial.create_trial(value=0.5, user_attrs={"mark": f"“{number}”", "n": 1})
        studies[number % 2].add_trial(trial)
    studies[0].add_trial(optuna.trial.create_trial(value=0.5))  # another program's
    for study in studies:
        marks = {t._trial_id: t.user_attrs["mark"] for t in study.trials if t.user_attrs}
        assert attribute_since(storage.engine, study.study_name, "mark", -1) == marks
        first, second = sorted(marks)
        newer = attribute_since(storage.engine, study.study_name, "mark", first)
        assert newer == {second: marks[second]}
    storage.engine.dispose()


def test_a_trial_that_is_opened_again_can_be_written_through_optunas_storage(
    tmp_path: Path,
) -> None:
    """The tables of what a trial says, and the name of the state in which it may be written."""
    storage = RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
    study = optuna.create_study(storage=storage)
    study.add_trial(
        optuna.trial.create_trial(
            value=0.5, user_attrs={"mark": "x", "n": 1}, intermediate_values={1: 0.1}
        )
    )
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_user_attr(1, "n", 2)
    reopen(storage.engine, 1, kept="mark")
    assert attribute_since(storage.engine, study.study_name, "mark", -1, ended=True) == {}
    (opened,) = storage.get_all_trials(study._study_id)
    assert (opened.values, opened.user_attrs, opened.intermediate_values) == (
        *(None, {"mark": "x"}, {}),
    )
    storage.set_trial_user_attr(1, "n", 2)
    storage.set_trial_state_values(1, TrialState.COMPLETE, [0.7])
    (written,) = storage.get_all_trials(study._study_id)
    assert (written.value, written.user_attrs) == (0.7, {"mark": "x", "n": 2})
    storage.engine.dispose()
