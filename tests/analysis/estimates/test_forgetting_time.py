from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.estimates.forgetting_time import forgetting_time

CLOCK = np.cumsum(np.full(100, 0.01))


def noisy(beta: np.ndarray, noise: float, seeds: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    own = 1 + 0.05 * rng.standard_normal((seeds, 1))
    return own * beta + noise * rng.standard_normal((seeds, beta.size))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("tau", [0.05, 0.2, 0.6])
def test_the_time_of_an_exponential_is_found_within_its_interval(tau: float, sign: int) -> None:
    beta = sign * 0.1 * np.exp(-CLOCK / tau)
    found = forgetting_time(CLOCK, noisy(beta, 0.01))
    truth = tau + CLOCK[0]  # the peak is at the first epoch
    assert found.status == "crossed"
    assert found.low < truth < found.high
    assert found.time == pytest.approx(truth, rel=0.15)
    assert math.copysign(1, found.peak) == sign


def test_a_plateau_is_waited_for() -> None:
    beta = np.where(CLOCK < 0.3, 1.0, np.exp(-(CLOCK - 0.3) / 0.1))
    found = forgetting_time(CLOCK, noisy(beta, 0.1))
    assert found.low < 0.4 < found.high
    assert found.time == pytest.approx(0.4, rel=0.1)


def test_a_rise_to_the_peak_is_not_the_start() -> None:
    beta = np.exp(-CLOCK / 0.2) * (1 - np.exp(-CLOCK / 0.02))
    peak = beta.argmax()
    crossing = CLOCK[peak + np.flatnonzero(beta[peak:] < beta[peak] / math.e)[0]]
    found = forgetting_time(CLOCK, noisy(beta, 0.05))
    assert found.peak_time > 0.02
    assert found.low < crossing < found.high


def test_what_is_not_forgotten_within_the_horizon_is_right_censored() -> None:
    found = forgetting_time(CLOCK, noisy(np.exp(-CLOCK / 5), 0.05))
    assert (found.status, found.high) == ("never", math.inf)
    assert math.isnan(found.time)
    assert found.low > 0.9


def test_what_is_forgotten_within_the_first_epochs_is_left_censored() -> None:
    found = forgetting_time(CLOCK, noisy(np.exp(-CLOCK / 0.006), 0.01))
    assert (found.status, found.low) == ("immediate", 0.0)
    assert CLOCK[1] <= found.high < 0.1


def test_a_known_initial_level_shows_what_was_forgotten_before_the_first_epoch() -> None:
    found = forgetting_time(CLOCK, noisy(0.1 * np.exp(-CLOCK / 0.2), 0.005), initial=1.0)
    assert (found.status, found.low) == ("immediate", 0.0)


def test_a_known_initial_level_moves_the_crossing() -> None:
    found = forgetting_time(CLOCK, noisy(0.5 * np.exp(-CLOCK / 0.2), 0.005), initial=1.0)
    truth = 0.2 * (1 + math.log(0.5))
    assert found.low < truth < found.high
    assert found.time == pytest.approx(truth, rel=0.1)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_beta_that_swings_to_the_other_sign_is_not_forgotten(sign: int) -> None:
    clock = np.arange(1.0, 101.0)
    beta = sign * 0.1 * np.cos(np.pi * np.log(clock) / np.log(100))
    for seed in range(5):
        noise = 0.01 * np.random.default_rng(seed).standard_normal((5, 100))
        found = forgetting_time(clock, beta + noise)
        assert found.status == "changes sign"
        assert math.isnan(found.time)
        assert found.reason


def test_a_beta_that_comes_back_is_not_forgotten() -> None:
    log = np.log(np.arange(1.0, 1001.0))
    beta = 0.1 * np.exp(-log) + 0.06 * (log > 6.4)
    by_seed = beta + 0.005 * np.random.default_rng(0).standard_normal((6, 1000))
    found = forgetting_time(np.exp(log), by_seed)
    assert found.status == "returns"
    assert "but β is 0.06" in found.reason


def test_a_decay_to_noise_is_rarely_taken_for_a_return() -> None:
    rng, other = np.random.default_rng(4), 0
    for _ in range(100):
        lasting = 0.02 * rng.standard_normal((5, 1))
        by_seed = np.exp(-CLOCK / 0.1) + lasting + 0.2 * rng.standard_normal((5, 100))
        other += forgetting_time(CLOCK, by_seed).status in ("returns", "changes sign")
    assert other <= 5


def test_noise_alone_is_undetermined() -> None:
    found = forgetting_time(CLOCK, np.random.default_rng(1).standard_normal((5, 100)))
    assert found.status == "undetermined"
    assert "never rises above its noise" in found.reason


def test_a_clock_that_stands_still_is_refused() -> None:
    found = forgetting_time(np.zeros(10), np.ones((3, 10)))
    assert (found.status, found.reason) == ("undetermined", "the clock stands still")


def test_one_seed_has_a_time_without_interval() -> None:
    found = forgetting_time(CLOCK, noisy(np.exp(-CLOCK / 0.2), 0.02, seeds=1))
    assert found.time == pytest.approx(0.21, rel=0.1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_floor_is_reached_later_than_one_e_th_and_where_beta_meets_its_error() -> None:
    by_seed = np.exp(-CLOCK / 0.1) + 0.05 * np.linspace(-1, 1, 5)[:, None]
    error = 0.05 * np.linspace(-1, 1, 5).std(ddof=1) / math.sqrt(5)
    found = forgetting_time(CLOCK, by_seed, level="floor")
    assert found.time == pytest.approx(-0.1 * math.log(0.798 * error), rel=0.03)
    assert found.low < found.time
    assert found.low == pytest.approx(-0.1 * math.log(2.776 * error), rel=0.03)


def test_units_of_clock_and_beta_do_not_matter() -> None:
    by_seed = noisy(np.exp(-CLOCK / 0.2), 0.05)
    one, two = forgetting_time(CLOCK, by_seed), forgetting_time(1e-5 * CLOCK, -7 * by_seed)
    np.testing.assert_allclose(
        [two.time, two.low, two.high], [1e-5 * one.time, 1e-5 * one.low, 1e-5 * one.high]
    )
