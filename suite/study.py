"""The sweep as an Optuna study: a GridSampler over the real search space, one trial a finished run.

MLflow's ledger decides what is done; the study is the scoreboard which optuna-dashboard shows. A
trial is written once, complete, when its run has finished. So no trial is ever left RUNNING by a
killed worker, none is FAILED (which the sampler would count as visited), no point is handed out
twice, and nothing rescans all trials after each one: the cost of a trial does not grow with the
grid.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import GridSampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy import text

from suite.experiments import EXPERIMENTS, Experiment
from suite.metrics import EpochRecord
from suite.tracking import SQLITE

RUN_ID, FINGERPRINT = "mlflow_run_id", "fingerprint"
SQLITE_PATIENCE = 60.0  # seconds to wait for another process's write

KNOWN_IN_DATABASE = text(
    "SELECT a.value_json FROM trial_user_attributes a JOIN trials t ON t.trial_id = a.trial_id "
    "WHERE t.study_id = :study AND a.key = :key"
)


INSERT_CURVE = text(
    "INSERT INTO trial_intermediate_values "
    "(trial_id, step, intermediate_value, intermediate_value_type) "
    "VALUES (:trial, :step, :value, :kind)"
)


class FactorialSampler(GridSampler):
    """Optuna's GridSampler which can say where in its grid a point stands.

    Parameters
    ----------
    axes
        Axis name to its values.
    """

    def __init__(self, axes: Mapping[str, Sequence[Any]]) -> None:
        super().__init__({name: list(values) for name, values in axes.items()}, seed=0)
        self._places = {values: place for place, values in enumerate(self._all_grids)}

    def attributes(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The system attributes by which a GridSampler knows that a trial is this point."""
        place = self._places[tuple(point[name] for name in self._param_names)]
        return {"grid_id": place, "search_space": self._search_space}


class Scoreboard:
    """The study of one experiment.

    Parameters
    ----------
    experiment
        Its axes are the search space.
    storage
        Optuna storage URL; empty keeps the study in memory.
    """

    def __init__(self, experiment: Experiment, storage: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = _open(storage)
        self._sampler = FactorialSampler(experiment.axes)
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(list(values)) for name, values in experiment.axes.items()
        }
        self.study = optuna.create_study(
            study_name=study_name(experiment),
            storage=self._storage,
            sampler=self._sampler,
            direction="maximize",
            load_if_exists=True,
        )
        self._known = self._read_known()

    @property
    def known(self) -> frozenset[str]:
        """Fingerprints of the runs that have a trial."""
        return frozenset(self._known)

    def add(
        self,
        point: Mapping[str, Any],
        fingerprint: str,
        run_id: str,
        history: Sequence[EpochRecord],
        summary: Mapping[str, float],
        *,
        diverged: bool,
    ) -> None:
        """Write the trial of a finished run, unless it is there.

        Its value is the test accuracy at τ_best, its intermediate values are val_accuracy by
        epoch; all summary metrics are user attributes. A run that diverged before it had any
        checkpoint has no value and is pruned.
        """
        if fingerprint in self._known:
            return
        accuracy = summary.get("test_accuracy", math.nan)
        attributes = {RUN_ID: run_id, FINGERPRINT: fingerprint, "diverged": diverged, **summary}
        trial = create_trial(
            state=TrialState.COMPLETE if math.isfinite(accuracy) else TrialState.PRUNED,
            value=accuracy if math.isfinite(accuracy) else None,
            params=dict(point),
            distributions=self._distributions,
            user_attrs=attributes,
            system_attrs=self._sampler.attributes(point),
        )
        curve = {record.epoch: record.val_accuracy for record in history}
        if not isinstance(self._storage, RDBStorage):
            trial.intermediate_values = curve
        trial_id = self._storage.create_new_trial(self.study._study_id, template_trial=trial)
        if isinstance(self._storage, RDBStorage) and curve:
            self._write_curve(self._storage, trial_id, curve)
        self._known.add(fingerprint)

    @staticmethod
    def _write_curve(storage: RDBStorage, trial_id: int, curve: Mapping[int, float]) -> None:
        """Intermediate values in one statement: Optuna's own way takes a query for each."""
        rows = [
            {
                "trial": trial_id,
                "step": step,
                "value": value if math.isfinite(value) else None,
                "kind": _kind(value),
            }
            for step, value in curve.items()
        ]
        with storage.engine.begin() as connection:
            connection.execute(INSERT_CURVE, rows)

    def _read_known(self) -> set[str]:
        if isinstance(self._storage, RDBStorage):
            # Not get_trials: it loads every intermediate value of every trial.
            where = {"study": self.study._study_id, "key": FINGERPRINT}
            with self._storage.engine.connect() as connection:
                rows = connection.execute(KNOWN_IN_DATABASE, where)
                return {json.loads(value) for (value,) in rows}
        return {trial.user_attrs[FINGERPRINT] for trial in self.study.get_trials(deepcopy=False)}


def _kind(value: float) -> str:
    """How Optuna's tables name the kind of an intermediate value."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INF_POS" if value > 0 else "INF_NEG"
    return "FINITE"


def study_name(experiment: Experiment) -> str:
    """The experiment's name, with a mark where its axes are not the declared ones.

    Optuna does not allow one study two sets of values for a parameter.
    """
    declared = EXPERIMENTS.get(experiment.name)
    axes = {name: list(values) for name, values in experiment.axes.items()}
    if declared and axes == {name: list(values) for name, values in declared.axes.items()}:
        return experiment.name
    mark = hashlib.sha256(json.dumps(axes, sort_keys=True).encode()).hexdigest()[:6]
    return f"{experiment.name}#{mark}"


def default_storage(tracking_uri: str) -> str:
    """A SQLite file beside MLflow's, or in the working directory."""
    if tracking_uri.startswith(SQLITE):
        return f"{SQLITE}{Path(tracking_uri.removeprefix(SQLITE)).parent / 'optuna.db'}"
    return f"{SQLITE}optuna.db"


def _open(storage: str) -> BaseStorage:
    if not storage:
        return InMemoryStorage()
    if not storage.startswith(SQLITE):
        return RDBStorage(storage)
    with FileLock(_lock_path(storage)):  # two processes creating the tables at once would clash
        return RDBStorage(storage, engine_kwargs={"connect_args": {"timeout": SQLITE_PATIENCE}})


def _lock_path(storage: str) -> str:
    return storage.removeprefix(SQLITE) + ".lock"
