"""Tens of thousands of trials into an Optuna database at once, to have a large study to measure.

The suite adds trials through Optuna's own API, which looks for each attribute and intermediate
value before it writes it: 70 ms a trial, over an hour for 62,500. Here they are inserted into
Optuna's tables in a few statements; a test compares the rows with those that Optuna writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.orm import Session

Row = dict[str, Any]


def insert_trials(engine: Engine, study: str, trials: Sequence[FrozenTrial]) -> None:
    """Write finished trials, all or none of them; the caller keeps other writers away.

    Parameters
    ----------
    engine
        Of the Optuna database.
    study
        The study's name.
    trials
        Of one study, so with the same distributions; their numbers are given here.
    """
    if not trials:
        return
    texts = {name: distribution_to_json(d) for name, d in trials[0].distributions.items()}
    rows: dict[type[Any], list[Row]] = {}
    with Session(engine) as session, session.begin():
        study_id = models.StudyModel.find_or_raise_by_name(study, session).study_id
        for trial_id, trial in zip(_begin(session, study_id, trials), trials, strict=True):
            for table, more in _parts(trial, texts).items():
                rows.setdefault(table, []).extend({"trial_id": trial_id, **row} for row in more)
        for table, of_table in rows.items():
            if of_table:
                session.execute(insert(table), of_table)


def _begin(session: Session, study_id: int, trials: Sequence[FrozenTrial]) -> list[int]:
    """The ids of new trials, numbered on from those there are."""
    there = select(func.count()).where(models.TrialModel.study_id == study_id)
    first = session.execute(there).scalar_one()
    made = [
        models.TrialModel(
            study_id=study_id,
            number=first + place,
            state=trial.state,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
        )
        for place, trial in enumerate(trials)
    ]
    session.add_all(made)
    session.flush()
    return [int(trial.trial_id) for trial in made]


def _parts(trial: FrozenTrial, distributions: Mapping[str, str]) -> dict[type[Any], list[Row]]:
    return {
        models.TrialParamModel: [
            {
                "param_name": name,
                "param_value": _place(trial.distributions[name], value),
                "distribution_json": distributions[name],
            }
            for name, value in trial.params.items()
        ],
        models.TrialValueModel: [
            dict(zip(("value", "value_type"), _stored_value(value), strict=True)) | {"objective": n}
            for n, value in enumerate(trial.values or [])
        ],
        models.TrialUserAttributeModel: _attributes(trial.user_attrs),
        models.TrialSystemAttributeModel: _attributes(trial.system_attrs),
        models.TrialIntermediateValueModel: _curve(trial.intermediate_values),
    }


def _place(distribution: BaseDistribution, value: Any) -> float:
    return float(distribution.to_internal_repr(value))


def _stored_value(value: float) -> tuple[float | None, Any]:
    return models.TrialValueModel.value_to_stored_repr(value)


def _attributes(given: Mapping[str, Any]) -> list[Row]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in given.items()]


def _curve(curve: Mapping[int, float]) -> list[Row]:
    stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    names = ("intermediate_value", "intermediate_value_type")
    return [
        {"step": step, **dict(zip(names, stored(value), strict=True))}
        for step, value in curve.items()
    ]
