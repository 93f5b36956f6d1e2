from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.estimates.master_curve import master_curve, quality, unexplained


def houdayer_hartmann(x: list[np.ndarray], y: list[np.ndarray], dy: list[np.ndarray]) -> float:
    """S as it is written in the paper (2004, eqs. 5, A1-A4): one point after another."""
    terms = []
    for i in range(len(x)):
        for j in range(len(x[i])):
            picked = []
            for other in range(len(x)):
                if other == i:
                    continue
                for k in range(len(x[other]) - 1):
                    if x[other][k] <= x[i][j] <= x[other][k + 1]:
                        picked += [(other, k), (other, k + 1)]
                        break
            if not picked:
                continue
            xs, ys, ws = (
                np.array([v[o][k] for o, k in picked]) for v in (x, y, [1 / d**2 for d in dy])
            )
            k0, kx, ky = ws.sum(), (ws * xs).sum(), (ws * ys).sum()
            kxx, kxy = (ws * xs * xs).sum(), (ws * xs * ys).sum()
            delta = k0 * kxx - kx**2
            master = (kxx * ky - kx * kxy + x[i][j] * (k0 * kxy - kx * ky)) / delta
            variance = (kxx - 2 * x[i][j] * kx + x[i][j] ** 2 * k0) / delta
            terms.append((y[i][j] - master) ** 2 / (dy[i][j] ** 2 + variance))
    return float(np.mean(terms))


def flat(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(p) for p in parts])


@given(st.integers(0, 500), st.integers(2, 4))
def test_quality_is_that_of_houdayer_and_hartmann(seed: int, curves: int) -> None:
    rng = np.random.default_rng(seed)
    x = [np.sort(rng.uniform(i * 0.3, 2 + i * 0.3, rng.integers(4, 9))) for i in range(curves)]
    dy = [rng.uniform(0.1, 1, len(v)) for v in x]
    y = [rng.standard_normal(len(v)) for v in x]
    all_x, curve = flat(x)
    error = np.concatenate(dy)
    master = master_curve(all_x, error, curve)
    if master.inside.any():
        found = quality(np.concatenate(y), error, master, master.inside)
        assert found == pytest.approx(houdayer_hartmann(x, y, dy), rel=1e-6)


def two_lines(shift: float, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = np.concatenate([np.linspace(0, 9, 200), np.linspace(1, 10, 150)])
    curve = np.repeat([0, 1], [200, 150])
    return x, -x + shift * curve + noise * rng.standard_normal(x.size), curve


def test_quality_is_one_and_nothing_unexplained_for_curves_that_differ_by_their_errors() -> None:
    x, y, curve = two_lines(0, 0.5)
    error = np.full(x.size, 0.5)
    master = master_curve(x, error, curve)
    assert quality(y, error, master, master.inside) == pytest.approx(1, abs=0.15)
    assert unexplained(y, error, master, master.inside) == pytest.approx(0, abs=0.02)


def test_unexplained_is_the_part_between_curves_whatever_the_errors() -> None:
    x, y, curve = two_lines(2, 0.01)
    for size in (0.01, 0.02):
        error = np.full(x.size, size)
        master = master_curve(x, error, curve)
        inside = master.inside
        expected = 4 / y[inside].var()
        assert unexplained(y, error, master, inside) == pytest.approx(expected, rel=0.02)
        assert quality(y, error, master, inside) > 1000


def test_points_beyond_all_other_curves_have_no_master_curve() -> None:
    x, _, curve = two_lines(0, 0.1)
    master = master_curve(x, np.ones(x.size), curve)
    np.testing.assert_array_equal(master.inside, (x >= 1) & (x <= 9))


def test_curves_without_overlap_have_none() -> None:
    master = master_curve(np.array([0.0, 1, 2, 3]), np.ones(4), np.array([0, 0, 1, 1]))
    assert not master.inside.any()


def test_samples_are_measured_like_single_values() -> None:
    x, y, curve = two_lines(1, 0.3)
    error = np.full(x.size, 0.3)
    master = master_curve(x, error, curve)
    both = quality(np.column_stack([y, 2 * y]), error, master, master.inside)
    one = quality(y, error, master, master.inside)
    np.testing.assert_allclose(both, [one, 4 * one])
