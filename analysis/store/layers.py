"""Where each layer of each run stood to its initial weights, as a tidy frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from suite.declarations.layers import LayerHistory


def layers_frame(run_ids: Sequence[str], histories: Sequence[LayerHistory | None]) -> pd.DataFrame:
    """One row per run, measured epoch and layer, in this order.

    Parameters
    ----------
    run_ids
        MLflow's ids.
    histories
        Theirs; None for a run that has none, which then has no row.

    Returns
    -------
    DataFrame
        run_id (categorical, whose codes count `run_ids`), epoch (int32; 0 is before the first
        step), layer (categorical), depth (int16, 0 for the layer at the input), norm and cosine
        (float64), as in :class:`suite.declarations.layers.LayerHistory`.
    """
    known = [(code, found) for code, found in enumerate(histories) if found and found.epochs]
    names = list(dict.fromkeys(name for _, found in known for name in found.layers))
    place = {name: code for code, name in enumerate(names)}
    cells = [len(found.epochs) * len(found.layers) for _, found in known]
    codes = np.repeat([code for code, _ in known], cells).astype(np.int64)
    epoch = [np.repeat(found.epochs, len(found.layers)) for _, found in known]
    depth = [np.tile(np.arange(len(found.layers)), len(found.epochs)) for _, found in known]
    layer = [np.tile([place[n] for n in found.layers], len(found.epochs)) for _, found in known]
    return pd.DataFrame(
        {
            "run_id": pd.Categorical.from_codes(codes, pd.Index(list(run_ids), dtype=str)),
            "epoch": _joined(epoch).astype(np.int32),
            "layer": pd.Categorical.from_codes(
                _joined(layer).astype(np.int64), pd.Index(names, dtype=str)
            ),
            "depth": _joined(depth).astype(np.int16),
            "norm": _joined([np.ravel(found.norms) for _, found in known]),
            "cosine": _joined([np.ravel(found.cosines) for _, found in known]),
        }
    )


def no_layers() -> pd.DataFrame:
    """The frame of runs that have no such history."""
    return layers_frame([], [])


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0), *parts])
