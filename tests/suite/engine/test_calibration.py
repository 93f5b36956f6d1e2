"""Fleet sizes: measured once, remembered, within memory."""

from __future__ import annotations

import errno
import os
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
from suite.engine.calibration import (
    MEMORY_SHARE,
    Calibration,
    Calibrator,
    Speed,
    cache_file,
)
from suite.engine.device import set_threads
from suite.engine.device_memory import ResidentMemory
from suite.engine.fleet import Interrupted


class GivenMemory:
    """100 units are taken without any fleet; what a fleet takes is given back, and its peak too."""

    caveat = ""
    keeps = False  # whether the peak stays for good

    def __init__(self) -> None:
        self.fleet, self.all = 0, 1000

    def reset(self) -> int:
        self.fleet *= self.keeps
        return 100

    def peak(self) -> int:
        return 100 + self.fleet

    def total(self) -> int:
        return self.all


class Bench(Calibrator):
    """A calibrator on a machine whose speeds and memory are given; it notes what it measures."""

    def __init__(self, speeds: Mapping[int, float], *, workers: int = 1) -> None:
        self.said: list[str] = []
        super().__init__(small_digits(), torch.device("cpu"), workers, self.said.append)
        self.speeds, self.measured = speeds, []
        self.memory = self.machine = GivenMemory()

    measured: list[int]

    def _speed(self, _config: RunConfig, runs: int) -> float:
        self.measured.append(runs)
        self.machine.fleet = max(self.machine.fleet, 10 * runs)
        speed = self.speeds[runs]
        if speed == 0:
            raise torch.OutOfMemoryError
        return speed


RISING = {1: 10.0, 2: 19.0, 4: 30.0, 8: 40.0, 16: 45.0, 25: 46.0, 50: 47.0}
FALLING = {1: 10.0, 2: 7.0, 4: 6.0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_the_fastest_size_wins_and_is_told() -> None:
    bench = Bench(RISING)
    bench.machine.all = 10**6
    assert bench.calibrate(small_run(), 60).best == Speed(50, 47.0)
    assert "50 runs at once (images/s by fleet size: 1: 10, 2: 19" in bench.said[0]


def test_sizes_stop_where_fusing_has_begun_to_cost() -> None:
    bench = Bench(FALLING)
    assert bench.calibrate(small_run(), 50).best.runs == 1
    assert bench.measured == [1, 2, 4]


def test_one_size_that_met_other_work_does_not_end_the_search() -> None:
    bench = Bench(RISING | {4: 5.0})
    bench.machine.all = 10**6
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
    bench.machine.all = 300  # 60 % are 180; a fleet of n takes 100 + 10 n
    bench.calibrate(small_run(), 50)
    assert bench.measured == [1, 2, 4]


def test_workers_share_the_memory() -> None:
    bench = Bench(RISING, workers=2)
    bench.machine.all = 480  # a share of 144
    bench.calibrate(small_run(), 50)
    assert bench.measured == [1, 2, 4]


UNIT = 2**21  # bytes
RUN_IN_UNITS = {"sgd": 1.0, "momentum": 3.2}


class SmallMachine(ResidentMemory):
    """A machine on which 60 units beside what is taken already are a calibrator's share."""

    def __init__(self) -> None:
        self.all = round((self.reset() + 60 * UNIT) / MEMORY_SHARE)

    def total(self) -> int:
        return self.all


class Eater(Calibrator):
    """A calibrator whose fleets take memory, for real, and do nothing; the larger, the faster."""

    def __init__(self, machine: SmallMachine) -> None:
        super().__init__(small_digits(), torch.device("cpu"), 1, lambda _line: None)
        self.memory = machine

    def _speed(self, config: RunConfig, runs: int) -> float:
        taken = round(runs * RUN_IN_UNITS[config.optimizer])
        fleet = [torch.ones(UNIT // 4) for _ in range(taken)]  # written to, or it would not count
        return float(len(fleet))


@pytest.mark.skipif(not ResidentMemory.works(), reason="this system keeps a peak for good")
def test_a_recipe_measured_after_a_large_one_stops_at_the_size_at_which_it_stops_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibration, "SIZES", (8, 16, 25, 50))
    set_threads(torch.get_num_threads())  # as in training, malloc keeps what is freed
    machine = SmallMachine()
    alone = Eater(machine).calibrate(small_run(optimizer="momentum"), 50)
    cache_file().unlink()
    eater = Eater(machine)
    assert eater.calibrate(small_run(optimizer="sgd"), 50).best.runs == 50
    assert eater.calibrate(small_run(optimizer="momentum"), 50) == alone
    # 16 runs are 51 units, and 25 would be 80.
    assert [speed.runs for speed in alone.speeds] == [8, 16]


def test_where_a_peak_stays_for_good_a_later_recipe_counts_as_no_smaller_and_a_line_says_so() -> (
    None
):
    bench = Bench(RISING)
    bench.machine.keeps = True
    bench.memory.caveat = "memory: peaks stay"
    bench.machine.all = 1300  # 780 for fleets and 100 that are taken
    assert bench.calibrate(small_run(), 50).best.runs == 50
    assert bench.calibrate(small_run(width=3), 50).best.runs == 1
    assert bench.said[0] == "memory: peaks stay"
    assert bench.said.count("memory: peaks stay") == 1


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


@pytest.mark.parametrize(
    "content",
    [
        '{"broken',
        "",
        "[]",
        "null",
        "[" * 100_000,
        "{KEY: [{}]}",
        "{KEY: 3}",
        "{KEY: []}",
        '{KEY: [{"runs": 1, "images_per_second": "fast"}]}',
        '{KEY: [{"runs": null, "images_per_second": 1}]}',
    ],
)
def test_a_damaged_cache_is_measured_anew(content: str) -> None:
    key = Bench(RISING)._key(small_run())
    cache_file().write_text(content.replace("KEY", f'"{key}"'), encoding="utf-8")
    assert Bench(RISING).calibrate(small_run(), 2).best.runs == 2
    assert Bench({}).calibrate(small_run(), 2).best.runs == 2


def test_where_nothing_can_be_kept_sizes_are_measured_once_a_worker_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way of a folder", encoding="utf-8")
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "file" / "cache"))
    bench = Bench(RISING)
    assert bench.known(small_run()) is None
    assert bench.calibrate(small_run(), 2).best.runs == 2
    bench.too_large(small_run(), 2)
    assert bench.calibrate(small_run(), 2).best.runs == 1
    assert bench.measured == [1, 2]
    lines = [line for line in bench.said if "cannot be kept" in line]
    assert lines == [
        "fleet sizes are measured, but cannot be kept for the next start in "
        f"{tmp_path / 'file' / 'cache'} (Not a directory); set SUITE_CACHE_DIR to a folder that "
        "can be written"
    ]


def test_where_the_file_cannot_be_written_the_sizes_are_used_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_path: Path, _text: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(calibration, "write_text", full)
    bench = Bench(RISING)
    assert bench.calibrate(small_run(), 2).best.runs == 2
    assert any("(Read-only file system); set SUITE_CACHE_DIR" in line for line in bench.said)


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
