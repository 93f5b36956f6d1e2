"""The history frame as arrays: one row per run, one column per epoch.

How a history row names its run is known here alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def run_positions(runs: pd.DataFrame, history: pd.DataFrame) -> NDArray[np.intp]:
    """Which row of `runs` each row of `history` belongs to.

    Parameters
    ----------
    runs
        With the column `run_id`; may be a part of all runs.
    history
        With the column `run_id`, best as a categorical.

    Returns
    -------
    ndarray of shape (history rows,)
        Positions in `runs`; −1 where the run is not among them.
    """
    known = pd.Index(runs["run_id"].astype(str))
    names = history["run_id"]
    if isinstance(names.dtype, pd.CategoricalDtype):
        by_code = known.get_indexer(names.cat.categories.astype(str))
        return np.asarray(by_code[names.cat.codes.to_numpy()], dtype=np.intp)
    return np.asarray(known.get_indexer(pd.Index(names.astype(str))), dtype=np.intp)


def epoch_matrix(runs: pd.DataFrame, history: pd.DataFrame, metric: str) -> NDArray[np.float64]:
    """One metric of all runs, epoch by epoch.

    Returns
    -------
    ndarray of shape (runs, epochs)
        Column e is epoch e + 1; NaN where a run has no such epoch.
    """
    rows = run_positions(runs, history)
    here = rows >= 0
    epochs = history["epoch"].to_numpy()[here]
    last = int(epochs.max()) if epochs.size else 0
    matrix = np.full((len(runs), last), np.nan)
    matrix[rows[here], epochs - 1] = history[metric].to_numpy()[here]
    return matrix


def at_epoch(matrix: NDArray[np.float64], epochs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each run's value at an epoch of its own.

    Parameters
    ----------
    matrix
        From `epoch_matrix`, shape (runs, epochs).
    epochs
        Shape (runs,); NaN where there is none, such as a run that never interpolated.

    Returns
    -------
    ndarray of shape (runs,)
        NaN where there is no such epoch.
    """
    values = np.full(len(matrix), np.nan)
    exists = (epochs >= 1) & (epochs <= matrix.shape[1])
    values[exists] = matrix[exists, epochs[exists].astype(np.intp) - 1]
    return values
