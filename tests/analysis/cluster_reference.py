"""The bias-reduced cluster-robust slope from its definition, with whole matrices."""

from __future__ import annotations

import numpy as np
import statsmodels.api as sm
from scipy import linalg, stats


def bias_reduced(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Slope, CR2 error and Satterthwaite's degrees of freedom (Pustejovsky and Tipton 2018, §2).

    Parameters
    ----------
    x, y, groups
        Of each observation, shape (N,).
    """
    design = sm.add_constant(np.asarray(x))
    fit = sm.OLS(np.asarray(y), design).fit()
    bread = np.asarray(fit.normalized_cov_params)
    rest = np.eye(len(groups)) - design @ bread @ design.T  # residual maker I − H
    shares, rows = [], []
    for group in np.unique(groups):
        own = np.asarray(groups == group)
        half = linalg.inv(linalg.sqrtm(rest[np.ix_(own, own)]).real)
        weights = half @ design[own] @ bread[:, 1]
        shares.append(weights @ np.asarray(fit.resid)[own])
        rows.append(rest[own].T @ weights)
    form = np.array(rows) @ np.array(rows).T
    freedom = np.trace(form) ** 2 / (form**2).sum()
    return float(fit.params[1]), float(np.sqrt(np.square(shares).sum())), float(freedom)


def bias_reduced_band(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> list[float]:
    """Slope, error, and the two ends of its 95 % interval."""
    slope, error, freedom = bias_reduced(x, y, groups)
    half = float(stats.t.ppf(0.975, freedom)) * error
    return [slope, error, slope - half, slope + half]
