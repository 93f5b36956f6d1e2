"""The sweep as an Optuna study: a GridSampler over the real search space, one trial a finished run.

MLflow's ledger decides what is done; the study is the scoreboard which optuna-dashboard shows. A
trial is written complete, when its run has finished, and again only if another run took that one's
place (trained again by --force, or after it was deleted). So no trial is ever left RUNNING by a
killed worker, none is FAILED (which the sampler would count as visited), no point is handed out
twice, and nothing rescans all trials after each one: the cost of a trial does not grow with the
grid.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import GridSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from suite.basics.addresses import SQLITE
from suite.basics.sqlite_address import address_of, is_sqlite, sqlite_file
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment
from suite.declarations.results import RunResult
from suite.sweep.study_storage import exclusively, open_storage, plain_errors, storage_address
from suite.sweep.study_tables import attribute_since, reopen

STORAGE_VARIABLE = "SUITE_STORAGE"
RUN_ID, FINGERPRINT = "mlflow_run_id", "fingerprint"

# A trial costs Optuna a query for each intermediate value; MLflow has all of them.
CURVE_EPOCHS = 20


class _Trial(NamedTuple):
    """A trial that is there: Optuna's id, and MLflow's id of its run; "" if it is half written."""

    trial_id: int
    run_id: str


# A finished run as its trial shows it: its point of the factorial, MLflow's id of it, its result.
Finished = tuple[Mapping[str, Any], str, RunResult]


class FactorialSampler(GridSampler):
    """Optuna's GridSampler which can say where in its grid a point stands.

    The sweep trains an experiment's points in the order of its axes, since a GridSampler shuffles
    its own; ``tests/test_optuna_insides.py`` holds the two to the same points.

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
        self._address = storage_address(storage)
        with plain_errors(self._address):
            self._begin(experiment)

    def _begin(self, experiment: Experiment) -> None:
        self._storage = open_storage(self._address)
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
        self._known: dict[str, _Trial] = {}
        self._newest = -1
        self._look()

    @property
    def known(self) -> frozenset[str]:
        """Fingerprints of the runs that have a trial."""
        return frozenset(self._known)

    def lacks(self, fingerprint: str, run_id: str) -> bool:
        """Whether a finished run has no trial, or its configuration's trial is another run's."""
        known = self._known.get(fingerprint)
        return known is None or known.run_id != run_id

    def add(self, finished: Iterable[Finished]) -> None:
        """Write the trials of finished runs, unless they are there.

        A configuration has one trial, that of the run given last. A study in memory keeps the
        first one: it ends with this process.

        A trial's value is the test accuracy at τ_best, its intermediate values are val_accuracy at
        no more than `CURVE_EPOCHS` epochs; all summary metrics are user attributes. A run that
        diverged before it had any checkpoint has no value and is pruned.

        Optuna writes each trial in a transaction of its own: a process killed meanwhile leaves
        whole trials only, and the next start writes the others.
        """
        with (
            plain_errors(self._address),
            exclusively(self._address),  # another sweep may be writing the same trials
        ):
            self._look()
            given = {one[2].config.fingerprint: one for one in finished}
            new = [one for fingerprint, one in given.items() if fingerprint not in self._known]
            for fingerprint, one in given.items():
                if fingerprint in self._known and self.lacks(fingerprint, one[1]):
                    self._write_again(self._known[fingerprint], self.trial(*one))
            self.study.add_trials([self.trial(*one) for one in new])
            self._look()

    def _write_again(self, known: _Trial, new: FrozenTrial) -> None:
        """Replace what a trial says.

        Killed meanwhile, it leaves a trial that is running, which the next start writes.
        """
        if not isinstance(self._storage, RDBStorage):
            return
        reopen(self._storage.engine, known.trial_id, kept=FINGERPRINT)
        for name, value in new.user_attrs.items():
            self._storage.set_trial_user_attr(known.trial_id, name, value)
        for step, value in new.intermediate_values.items():
            self._storage.set_trial_intermediate_value(known.trial_id, step, value)
        self._storage.set_trial_state_values(known.trial_id, new.state, new.values)
        fingerprint, run_id = (new.user_attrs[name] for name in (FINGERPRINT, RUN_ID))
        self._known[fingerprint] = _Trial(known.trial_id, run_id)

    def trial(self, point: Mapping[str, Any], run_id: str, result: RunResult) -> FrozenTrial:
        """A finished run as a trial that is not written yet."""
        accuracy = result.summary.get("test_accuracy", math.nan)
        about = {
            RUN_ID: run_id,
            FINGERPRINT: result.config.fingerprint,
            "diverged": result.diverged,
        }
        return create_trial(
            state=TrialState.COMPLETE if math.isfinite(accuracy) else TrialState.PRUNED,
            value=accuracy if math.isfinite(accuracy) else None,
            params=dict(point),
            distributions=self._distributions,
            user_attrs={**about, **result.summary},
            system_attrs=self._sampler.attributes(point),
            intermediate_values=_curve(result),
        )

    def _look(self) -> None:
        """Learn which trials there are, from those which are newer than the last look."""
        if isinstance(self._storage, RDBStorage):
            of_study = (self._storage.engine, self.study.study_name)
            new = attribute_since(*of_study, FINGERPRINT, self._newest)
            runs = attribute_since(*of_study, RUN_ID, self._newest, ended=True)
        else:
            trials = self.study.get_trials(deepcopy=False)[self._newest + 1 :]
            new = {trial.number: trial.user_attrs[FINGERPRINT] for trial in trials}
            runs = {trial.number: trial.user_attrs[RUN_ID] for trial in trials}
        self._known |= {name: _Trial(trial, runs.get(trial, "")) for trial, name in new.items()}
        self._newest = max(new, default=self._newest)


def _curve(result: RunResult) -> dict[int, float]:
    accuracies = {record.epoch: record.val_accuracy for record in result.history}
    shown = shown_epochs(list(accuracies), result.summary.get("best_epoch"))
    return {epoch: accuracies[epoch] for epoch in shown}


def shown_epochs(epochs: Sequence[int], best: float | None) -> list[int]:
    """The epochs at which a trial's curve is shown, at most `CURVE_EPOCHS`.

    All of them if they are no more. Otherwise the best one with its two neighbours, and the others
    spread evenly, the first and the last among them.

    Parameters
    ----------
    epochs
        Those of the run, in order.
    best
        τ_best, if the run has one.
    """
    if len(epochs) <= CURVE_EPOCHS:
        return list(epochs)
    spread = np.linspace(0, len(epochs) - 1, CURVE_EPOCHS - 3).round().astype(int)
    kept = {epochs[place] for place in spread}
    return [e for e in epochs if e in kept or (best is not None and abs(e - best) <= 1)]


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
    bundles = {name: labels for name, labels in experiment.bundles.items() if name in axes}
    return json.dumps([axes, dict(experiment.fixed), bundles], sort_keys=True)


def default_storage(tracking_uri: str) -> str:
    """$SUITE_STORAGE, else a SQLite file beside MLflow's or in the working directory."""
    if STORAGE_VARIABLE in os.environ:
        return os.environ[STORAGE_VARIABLE]
    if is_sqlite(tracking_uri):
        return address_of(sqlite_file(tracking_uri).parent / "optuna.db")
    return f"{SQLITE}optuna.db"
