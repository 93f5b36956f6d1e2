"""Runs as a typed frame: settings, image counts and summary metrics, one column each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.store.backend import RawRun
from suite.declarations.config import RunConfig, parse
from suite.declarations.layers import LayerHistory, layers_of
from suite.declarations.metrics import SUMMARY_METRIC_NAMES
from suite.declarations.stored import MALFORMED, reason
from suite.declarations.tags import CODE_VERSION_TAG, CONFIG_TAG, DIVERGED_TAG, IMAGE_COUNTS


def _kind(name: str) -> type:
    annotation = RunConfig.model_fields[name].annotation
    if annotation is int:
        return int
    return float if annotation is float else str  # a str, or one of some words


SETTING_TYPES: Mapping[str, type] = {name: _kind(name) for name in RunConfig.names()}


def settings(run: RawRun) -> dict[str, Any]:
    """All settings of a run, from its tag `config`, else from its parameters.

    A setting that is newer than the run has the value which the run implicitly had.

    Raises
    ------
    ValueError
        One line, if they cannot be read.
    """
    if CONFIG_TAG not in run.tags:
        known = {name: value for name, value in run.params.items() if name in SETTING_TYPES}
        if not known:
            raise ValueError("it has neither the tag config nor parameters")
        found = parse(known).model_dump()
        if parse(found).fingerprint != run.fingerprint:
            raise ValueError("its fingerprint is not that of its parameters")
        return found
    try:
        given = json.loads(run.tags[CONFIG_TAG])
        if not isinstance(given, dict):
            raise TypeError("it is no table of settings")
        found = {
            name: kind(given[name]) if name in given else _earlier(name)
            for name, kind in SETTING_TYPES.items()
        }
    except MALFORMED as error:
        raise ValueError(f"its tag config cannot be read: {reason(error)}") from None
    # Not validated, which would take as long again: what is no valid value has another fingerprint.
    if RunConfig.model_construct(**found).fingerprint != run.fingerprint:
        if given.keys() >= SETTING_TYPES.keys():
            raise ValueError("its fingerprint is not that of its tag config")
        raise ValueError(
            "its tag config lacks settings, and its fingerprint is not that of the rest"
        )
    return found


def _earlier(name: str) -> Any:
    implicit = RunConfig.about(name).implicit
    return RunConfig.default(name) if implicit is None else implicit


def image_counts(run: RawRun) -> dict[str, int]:
    """Images of each split.

    Raises
    ------
    ValueError
        One line, if a count is absent or no number.
    """
    for name in IMAGE_COUNTS:
        if not run.params.get(name, "").isdecimal():
            raise ValueError(f"its parameter {name} is {run.params.get(name, 'absent')!r}")
    return {name: int(run.params[name]) for name in IMAGE_COUNTS}


def layer_history(run: RawRun) -> LayerHistory | None:
    """What was measured of its layers; None where nothing was.

    Raises
    ------
    ValueError
        One line, if that cannot be read.
    """
    try:
        return layers_of(run.tags)
    except MALFORMED as error:
        raise ValueError(f"its tags of layers cannot be read: {reason(error)}") from None


def runs_frame(
    runs: Sequence[RawRun],
    settings_of: Mapping[str, Mapping[str, Any]],
    counts_of: Mapping[str, Mapping[str, int]],
) -> pd.DataFrame:
    """One row per run in an order that does not depend on when they ran.

    Parameters
    ----------
    settings_of, counts_of
        Run id to settings and to image counts.
    """
    frame = pd.DataFrame(
        {
            "run_id": [run.run_id for run in runs],
            "fingerprint": [run.fingerprint for run in runs],
            "run_name": [run.name for run in runs],
            "code_version": [run.tags.get(CODE_VERSION_TAG, "") for run in runs],
            "diverged": [run.tags.get(DIVERGED_TAG) == "true" for run in runs],
            "start_time": _times([run.start_time for run in runs]),
            "end_time": _times([run.end_time for run in runs]),
            **{
                name: pd.Series([settings_of[run.run_id][name] for run in runs], dtype=kind)
                for name, kind in SETTING_TYPES.items()
            },
            **{
                name: np.array([counts_of[run.run_id][name] for run in runs], dtype=np.int64)
                for name in IMAGE_COUNTS
            },
            **{
                name: np.array([run.metrics.get(name, np.nan) for run in runs], dtype=np.float64)
                for name in SUMMARY_METRIC_NAMES
            },
        }
    )
    order = [*SETTING_TYPES, "fingerprint"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _times(milliseconds: Sequence[int]) -> pd.Series[pd.Timestamp]:
    return pd.Series(pd.to_datetime(milliseconds, unit="ms"))
