"""Fleet sizes: measured once, remembered, within memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from training_helpers import small_digits, small_run

from suite.declarations.config import RunConfig
from suite.engine import calibration
from suite.engine.calibration import Calibration, Calibrator, Speed, cache_file
from suite.engine.fleet import Interrupted


class Bench(Calibrator):
    """A calibrator on a machine whose speeds and memory are given; it notes what it measures."""

    def __init__(self, speeds: Mapping[int, float], *, workers: int = 1) -> None:
        self.said: list[str] = []
        super().__init__(small_digits(), torch.device("cpu"), workers, self.said.append)
        self.speeds, self.measured = speeds, []
        self.total = 1000

    measured: list[int]

    def _speed(self, _config: RunConfig, runs: int) -> float:
        self.measured.append(runs)
        speed = self.speeds[runs]
        if speed == 0:
            raise torch.OutOfMemoryError
        return speed

    def _memory(self) -> int:
        return 100 + 10 * max(self.measured, default=0)

    def _all_memory(self) -> int:
        return self.total


RISING = {1: 10.0, 2: 19.0, 4: 30.0, 8: 40.0, 16: 45.0, 25: 46.0, 50: 47.0}
FALLING = {1: 10.0, 2: 7.0, 4: 6.0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_the_fastest_size_wins_and_is_told() -> None:
    bench = Bench(RISING)
    bench.total = 10**6
    assert bench.calibrate(small_run(), 60).best == Speed(50, 47.0)
    assert "50 runs at once (images/s by fleet size: 1: 10, 2: 19" in bench.said[0]


def test_sizes_stop_where_fusing_has_begun_to_cost() -> None:
    bench = Bench(FALLING)
    assert bench.calibrate(small_run(), 50).best.runs == 1
    assert bench.measured == [1, 2, 4]


def test_one_size_that_met_other_work_does_not_end_the_search() -> None:
    bench = Bench(RISING | {4: 5.0})
    bench.total = 10**6
    assert bench.calibrate(small_run(), 50).best.runs == 50


def test_no_fleet_larger_than_the_runs_there_are_is_tried() -> None:
    bench = Bench(RISING)
    bench.calibrate(small_run(), 5)
    assert bench.measured == [1, 2, 4]


def test_a_second_start_reads_what_the_first_measured() -> None:
    first = Bench(RISING).calibrate(small_run(), 4)
    second = Bench({})
    assert second.calibrate(small_run(seed=7, sigma_w=2.0, epochs=9), 4) == first
    assert second.said == [
        "sgd b8 width 2 9 epochs fp64: 4 runs at once (images/s by fleet size: 1: 10, 2: 19, 4: 30)"
    ]
    assert second.known(small_run()) == first


def test_more_runs_than_were_tried_are_measured_anew() -> None:
    Bench(RISING).calibrate(small_run(), 4)
    second = Bench(RISING)
    second.calibrate(small_run(), 8)
    assert second.measured == [1, 2, 4, 8]
    third = Bench({})
    assert third.calibrate(small_run(), 2).best.runs == 8


def test_a_measurement_that_stopped_early_answers_for_any_number_of_runs() -> None:
    Bench(FALLING).calibrate(small_run(), 4)
    assert Bench({}).calibrate(small_run(), 50).best.runs == 1


def test_memory_ends_the_search() -> None:
    bench = Bench(RISING)
    bench.total = 300  # 60 % are 180; a fleet of n takes 100 + 10 n
    bench.calibrate(small_run(), 50)
    assert bench.measured == [1, 2, 4]


def test_workers_share_the_memory() -> None:
    bench = Bench(RISING, workers=2)
    bench.total = 480  # a share of 144
    bench.calibrate(small_run(), 50)
    assert bench.measured == [1, 2, 4]


@pytest.mark.parametrize(("full", "best"), [(8, 4), (1, 1)])
def test_a_size_that_runs_out_of_memory_ends_the_search(full: int, best: int) -> None:
    speeds = {size: speed if size < full else 0.0 for size, speed in RISING.items()}
    assert Bench(speeds).calibrate(small_run(), 50).best.runs == best


@pytest.mark.parametrize("change", [{"width": 3}, {"batch_size": 16}, {"kernel_l2": 1e-3}])
def test_another_kind_of_run_is_measured_by_itself(change: dict[str, object]) -> None:
    Bench(RISING).calibrate(small_run(), 2)
    other = Bench(RISING)
    other.calibrate(small_run(**change), 2)
    assert other.measured == [1, 2]


def test_a_damaged_cache_is_measured_anew() -> None:
    cache_file().write_text('{"broken', encoding="utf-8")
    assert Bench(RISING).calibrate(small_run(), 2).best.runs == 2
    assert Bench({}).calibrate(small_run(), 2).best.runs == 2


def test_a_stop_request_ends_the_measurement_at_the_next_step_and_keeps_nothing() -> None:
    asked: list[bool] = []

    def interrupted() -> bool:
        asked.append(True)
        return len(asked) > 4

    calibrator = Calibrator(small_digits(), torch.device("cpu"), 1, lambda _line: None, interrupted)
    with pytest.raises(Interrupted):
        calibrator.calibrate(small_run(), 2)
    assert len(asked) == 5  # at the lock, before three steps, and before the one not taken
    assert calibrator.known(small_run()) is None
    with FileLock(f"{cache_file()}.lock", timeout=0):
        pass  # the next worker may measure


def test_a_stop_request_ends_the_wait_for_another_process_that_measures() -> None:
    stop = threading.Event()
    calibrator = Calibrator(small_digits(), torch.device("cpu"), 1, lambda _line: None, stop.is_set)
    with FileLock(f"{cache_file()}.lock"), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(calibrator.calibrate, small_run(), 2)
        assert not waiting.done()
        stop.set()
        with pytest.raises(Interrupted):
            waiting.result(timeout=10)


def test_real_steps_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "COUNTED", 2)
    calibrator = Calibrator(small_digits(), torch.device("cpu"), 1, lambda _line: None)
    found = calibrator.calibrate(small_run(), 2)
    assert isinstance(found, Calibration)
    assert found.speeds[0].runs == 1
    assert all(speed.images_per_second > 0 for speed in found.speeds)
