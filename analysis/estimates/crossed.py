"""The error of a mean over two crossed factors, such as the seeds of runs and the test images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def crossed_error(values: Floats) -> float:
    """Standard error of the mean of `values` (G, N), rows and columns both drawn at random.

    With the variances of rows, columns and single values it is √(σ²_g/G + σ²_x/N + σ²_gx/(GN)). Of
    the variances of the means of rows and of columns each has the last part in it, so it is taken
    off once (Owen 2007; Cameron, Gelbach and Miller 2011). The result is at least the error of
    either factor alone.
    """
    rows, columns = values.shape
    of_rows, of_columns = values.mean(1), values.mean(0)
    left = values - of_rows[:, None] - of_columns + values.mean()
    single = float((left**2).sum()) / ((rows - 1) * (columns - 1)) / values.size
    seeds = float(of_rows.var(ddof=1)) / rows
    images = float(of_columns.var(ddof=1)) / columns
    return math.sqrt(max(seeds + images - single, seeds, images))
