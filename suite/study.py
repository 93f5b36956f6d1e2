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
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import GridSampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import text
from sqlalchemy.exc import ArgumentError

from suite.experiments import EXPERIMENTS, Experiment
from suite.metrics import EpochRecord
from suite.settings import ConfigError
from suite.tracking import SQLITE

RUN_ID, FINGERPRINT = "mlflow_run_id", "fingerprint"
SQLITE_PATIENCE = 60.0  # seconds to wait for another process's write

TRIALS_SINCE = text(
    "SELECT t.trial_id, a.value_json, EXISTS "
    "(SELECT 1 FROM trial_intermediate_values v WHERE v.trial_id = t.trial_id) "
    "FROM trials t JOIN trial_user_attributes a ON a.trial_id = t.trial_id "
    "WHERE t.study_id = :study AND t.trial_id > :newest AND a.key = :key"
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
        self._known: set[str] = set()
        self._bare: dict[str, int] = {}  # trials whose writer was killed before their curve
        self._newest = -1
        self._lock: AbstractContextManager[object] = (
            FileLock(_lock_path(storage)) if storage else nullcontext()
        )
        self._look()

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
        curve = {record.epoch: record.val_accuracy for record in history}
        with self._lock:  # another sweep may be writing the same trial
            self._look()
            if fingerprint in self._known:
                return
            trial = self._trial(point, fingerprint, run_id, summary, diverged=diverged)
            if not isinstance(self._storage, RDBStorage):
                trial.intermediate_values = curve
                self._storage.create_new_trial(self.study._study_id, template_trial=trial)
                return
            place = self._bare.get(fingerprint)
            if place is None:
                place = self._storage.create_new_trial(self.study._study_id, template_trial=trial)
            self._write_curve(self._storage, place, curve)
            self._known.add(fingerprint)

    def _trial(
        self,
        point: Mapping[str, Any],
        fingerprint: str,
        run_id: str,
        summary: Mapping[str, float],
        *,
        diverged: bool,
    ) -> FrozenTrial:
        accuracy = summary.get("test_accuracy", math.nan)
        attributes = {RUN_ID: run_id, FINGERPRINT: fingerprint, "diverged": diverged, **summary}
        return create_trial(
            state=TrialState.COMPLETE if math.isfinite(accuracy) else TrialState.PRUNED,
            value=accuracy if math.isfinite(accuracy) else None,
            params=dict(point),
            distributions=self._distributions,
            user_attrs=attributes,
            system_attrs=self._sampler.attributes(point),
        )

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

    def _look(self) -> None:
        """Learn which trials there are, from those which are newer than the last look."""
        if not isinstance(self._storage, RDBStorage):
            trials = self._storage.get_all_trials(self.study._study_id, deepcopy=False)
            new = trials[self._newest + 1 :]
            self._known |= {trial.user_attrs[FINGERPRINT] for trial in new}
            self._newest = len(trials) - 1
            return
        # Not get_trials: it loads every intermediate value of every trial.
        where = {"study": self.study._study_id, "key": FINGERPRINT, "newest": self._newest}
        with self._storage.engine.connect() as connection:
            rows = connection.execute(TRIALS_SINCE, where).all()
        for place, value, has_curve in rows:
            fingerprint = json.loads(value)
            if has_curve:
                self._known.add(fingerprint)
                self._newest = max(self._newest, place)
            else:
                self._bare[fingerprint] = place


def _kind(value: float) -> str:
    """How Optuna's tables name the kind of an intermediate value."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INF_POS" if value > 0 else "INF_NEG"
    return "FINITE"


def study_name(experiment: Experiment) -> str:
    """The experiment's name, with a mark where it is not as declared.

    Optuna does not allow one study two sets of values for a parameter, and trials whose fixed
    settings differ are no repetitions of one point.
    """
    declared = EXPERIMENTS.get(experiment.name)
    content = _content(experiment)
    if declared and content == _content(declared):
        return experiment.name
    return f"{experiment.name}#{hashlib.sha256(content.encode()).hexdigest()[:6]}"


def _content(experiment: Experiment) -> str:
    axes = {name: list(values) for name, values in experiment.axes.items()}
    recipes = {name: labels for name, labels in experiment.recipes.items() if name in axes}
    return json.dumps([axes, dict(experiment.fixed), recipes], sort_keys=True)


def default_storage(tracking_uri: str) -> str:
    """A SQLite file beside MLflow's, or in the working directory."""
    if tracking_uri.startswith(SQLITE):
        return f"{SQLITE}{Path(tracking_uri.removeprefix(SQLITE)).parent / 'optuna.db'}"
    return f"{SQLITE}optuna.db"


def _open(storage: str) -> BaseStorage:
    if not storage:
        return InMemoryStorage()
    patience = {"connect_args": {"timeout": SQLITE_PATIENCE}} if storage.startswith(SQLITE) else {}
    try:
        with FileLock(_lock_path(storage)):  # two that create the tables at once would clash
            return RDBStorage(storage, engine_kwargs=patience)
    except (ArgumentError, ImportError) as error:
        raise ConfigError(
            f"storage: must be a database URL, got {storage!r} ({_first_line(error)}); "
            "e.g. sqlite:///optuna.db"
        ) from None


def _lock_path(storage: str) -> Path:
    if storage.startswith(SQLITE):
        path = Path(storage.removeprefix(SQLITE)).expanduser().resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f"{path.name}.lock")
    mark = hashlib.sha256(storage.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"optuna-{mark}.lock"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
