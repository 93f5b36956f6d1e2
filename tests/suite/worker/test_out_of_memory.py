"""A fleet never dies of too little memory: its halves go on, and later ones are smaller."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow_stores import Store
from numpy.testing import assert_allclose
from torch import Tensor
from training_helpers import metrics, small_digits, small_run

from suite.declarations.config import RunConfig, parse
from suite.declarations.machine import Machine
from suite.engine import fleet as fleet_module
from suite.engine.calibration import Calibration, Calibrator, Speed
from suite.engine.device_memory import release_memory
from suite.engine.fleet import Fleet
from suite.worker import session as session_module
from suite.worker import worker as worker_module
from suite.worker.messages import Event, Job
from suite.worker.worker import Worker

EPOCHS = 3


def runs(count: int) -> list[RunConfig]:
    fixed = {"width": 2, "batch_size": 8, "epochs": EPOCHS, "train_fraction": 0.05}
    return [parse(fixed | {"precision": "fp64", "seed": seed}) for seed in range(count)]


class Site:
    """Workers on one store, whose events are kept."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.events: list[Event] = []

    def work(self, configs: Sequence[RunConfig], experiment: str, fleet: int = 0) -> list[Any]:
        """Train the runs; what was told of those that finished."""
        self.events.clear()
        job = Job(
            configs=configs,
            parents={},
            experiment=experiment,
            tracking_uri=self.store.uri,
            state_dir=self.folder / experiment,
            machine=Machine(threads=1, device="cpu"),
            fleet=fleet,
            retries=1,
            workers=1,
            index=0,
        )
        with Worker(job, self.events.append, lambda: False) as worker:
            worker.run()
        return [uploaded.result for uploaded in self.told("finished")]

    def told(self, kind: str) -> list[Any]:
        return [event.content for event in self.events if event.kind == kind]


@pytest.fixture
def site(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(session_module.Pace, "due", lambda _self: True)
    monkeypatch.setattr(worker_module, "WAIT_FOR_OTHERS", 0.1)
    return Site(store, tmp_path)


def shrink_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Fleets of more runs than `most` break in the middle of their second epoch; their sizes."""
    broken: list[int] = []

    class Tight(fleet_module.TrainingStep):
        taken = 0

        def compute(self, index: Tensor, draws: Any) -> tuple[Tensor, Tensor]:
            self.taken += 1
            if index.shape[1] > most and self.taken == 11:  # of eight an epoch
                broken.append(index.shape[1])
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n2 GiB.")
            return super().compute(index, draws)

    monkeypatch.setattr(fleet_module, "TrainingStep", Tight)
    return broken


def test_a_fleet_out_of_memory_goes_on_in_halves_and_no_epoch_is_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = runs(10)
    expected = {
        result.config.fingerprint: result for result in site.work(configs, "roomy", fleet=10)
    }
    broken = shrink_memory(monkeypatch, 2)
    finished = site.work(configs, "tight", fleet=7)
    assert broken == [7, 3], "no fleet is tried that is known not to fit"
    sizes = [(len(start.fingerprints), start.epoch) for start in site.told("fleet")]
    first, rest = [(7, 0), (3, 1), (1, 2), (2, 2)], [(2, 1), (2, 1), (2, 0), (1, 0)]
    assert sizes == [*first, *rest]
    lines = [line for line in site.told("notice") if "memory" in line]
    assert [line.split(" ran out of memory on cpu; ")[0] for line in lines] == [
        "a fleet of 7",
        "a fleet of 3",
    ]
    assert lines[1].endswith("its runs go on from their checkpoints in fleets of at most 2")
    assert site.told("failed") == []
    assert {result.config.fingerprint for result in finished} == set(expected)
    for result in finished:
        undisturbed = expected[result.config.fingerprint]
        assert [record.epoch for record in result.history] == [1, 2, 3]
        assert_allclose(metrics(result.history), metrics(undisturbed.history), rtol=1e-9, atol=1e-9)
        for name, value in undisturbed.summary.items():
            assert_allclose(result.summary[name], value, rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_run_that_does_not_fit_alone_fails_with_one_line(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config,) = runs(1)
    broken = shrink_memory(monkeypatch, 0)
    assert site.work([config], "none", fleet=4) == []
    assert broken == [1, 1], "other processes may have needed the memory: tried once more"
    reason = (
        "out of memory on cpu with this run alone; choose a smaller batch_size or width, "
        "a larger device, or fewer --workers on it"
    )
    assert site.told("failed") == [(config.fingerprint, config.run_name, reason)]


def test_the_broken_fleet_is_gone_when_its_halves_begin(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_memory(monkeypatch, 1)
    begun: list[weakref.ref[Fleet]] = []
    alive: list[int] = []

    class Watched(Fleet):
        def __init__(self, *args: Any, **options: Any) -> None:
            alive.append(sum(reference() is not None for reference in begun))
            super().__init__(*args, **options)
            begun.append(weakref.ref(self))

    monkeypatch.setattr(session_module, "Fleet", Watched)
    site.work(runs(2), "watched", fleet=2)
    assert alive[:2] == [0, 0]
    assert len(alive) == 3


def test_what_an_error_holds_is_released_with_it() -> None:
    class Large:
        pass

    held: list[weakref.ref[Large]] = []

    def work() -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise torch.OutOfMemoryError

    try:
        try:
            work()
        except torch.OutOfMemoryError as error:
            raise RuntimeError from error
    except RuntimeError as error:
        kept = error
    assert held[0]() is not None
    release_memory(kept)
    assert held[0]() is None


def test_a_size_that_did_not_fit_is_not_planned_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(Calibrator, "_speed", lambda _self, _config, size: 10.0 * size)
    monkeypatch.setattr(Calibrator, "_fits", lambda *_sizes: True)
    said: list[str] = []

    def calibrator() -> Calibrator:
        return Calibrator(small_digits(), torch.device("cpu"), 1, said.append)

    calibrator().too_large(small_run(), 4)
    assert calibrator().known(small_run()) is None, "nothing to correct before a measurement"
    assert calibrator().calibrate(small_run(), 16).best.runs == 16
    calibrator().too_large(small_run(), 5)
    found = calibrator().calibrate(small_run(), 16)
    assert found == Calibration((*(Speed(n, 10.0 * n) for n in (1, 2, 4)), Speed(5, 0.0)))
    assert found.best.runs == 4
    assert str(found).endswith("4: 40, 5: out of memory)")
    assert len(said) == 2, "each start says which size it takes"
