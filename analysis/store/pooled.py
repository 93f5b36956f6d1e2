"""The runs of several experiments as if they were of one, each configuration once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.store.frames import Store

BEGAN = ["start_time", "end_time", "run_id"]  # of two runs, the later by these began last


@dataclass(frozen=True)
class Pool:
    """The runs of several experiments.

    Attributes
    ----------
    runs, history
        As in :class:`analysis.store.frames.Store`.
    repeated
        Runs that are not among them, as another experiment has one of the same configuration that
        began later.
    """

    runs: pd.DataFrame
    history: pd.DataFrame
    repeated: int


def pool(stores: Sequence[Store]) -> Pool:
    """Put the runs of experiments together.

    Parameters
    ----------
    stores
        At least one. Of runs of one configuration the one that began last is taken, as it is
        within an experiment.
    """
    everything = pd.concat([store.runs for store in stores], ignore_index=True)
    last = everything.sort_values(BEGAN, kind="stable").drop_duplicates("fingerprint", keep="last")
    kept = np.sort(last.index.to_numpy())
    runs = everything.loc[kept].reset_index(drop=True)
    row = np.full(len(everything), -1)
    row[kept] = np.arange(kept.size)
    first = np.cumsum([0, *(len(store.runs) for store in stores[:-1])])
    codes = np.concatenate(
        [
            row[store.history["run_id"].cat.codes.to_numpy() + at]
            for store, at in zip(stores, first, strict=True)
        ]
    )
    history = pd.concat([store.history for store in stores])[codes >= 0].reset_index(drop=True)
    history["run_id"] = pd.Categorical.from_codes(
        codes[codes >= 0], pd.Index(runs["run_id"].tolist())
    )
    return Pool(runs, history, len(everything) - kept.size)
