"""A worker: what it trains together, what it does when a run breaks, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from damage import flip_exponent
from job_helpers import WholeWorker, some_job
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow_stores import Store

from suite.declarations.config import RunConfig, parse
from suite.declarations.machine import Machine
from suite.engine.checkpoint import CheckpointError
from suite.engine.fleet import Fleet, Interrupted
from suite.engine.preparation import load_data
from suite.state.workspace import Workspace
from suite.tracking.ledger import LedgerReader
from suite.tracking.runs import Tracker
from suite.worker import session as session_module
from suite.worker import worker as worker_module
from suite.worker.messages import Event
from suite.worker.pace import Pace
from suite.worker.session import Session
from suite.worker.uploads import Uploads

MACHINE = Machine(threads=1, device="cpu")


def runs(count: int = 4, **changes: Any) -> list[RunConfig]:
    fixed = {"width": 2, "batch_size": 8, "epochs": 3, "train_fraction": 0.05} | changes
    return [parse(fixed | {"seed": seed}) for seed in range(count)]


class Stage:
    """A store, and workers on it whose events are kept."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.events: list[Event] = []

    def worker(self, configs: Sequence[RunConfig], **changes: Any) -> WholeWorker:
        interrupted = changes.pop("interrupted", lambda: False)
        about = {"configs": configs, "tracking_uri": self.store.uri, "machine": MACHINE} | changes
        return WholeWorker(some_job(self.folder, **about), self.events.append, interrupted)

    def told(self, kind: str) -> list[Any]:
        return [event.content for event in self.events if event.kind == kind]

    def fleets(self) -> list[tuple[int, int]]:
        """Size and first epoch of each fleet that was trained."""
        return [(len(start.fingerprints), start.epoch) for start in self.told("fleet")]

    def statuses(self) -> dict[str, str]:
        """Fingerprint to status."""
        rows = self.store.rows(
            "SELECT t.value, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
            "WHERE t.key = 'fingerprint' AND r.lifecycle_stage = 'active'"
        )
        assert len(dict(rows)) == len(rows), "two runs of one configuration"
        return dict(rows)


@pytest.fixture
def stage(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(worker_module, "WAIT_FOR_OTHERS", 0.1)
    return Stage(store, tmp_path)


def break_fleets(
    monkeypatch: pytest.MonkeyPatch, at_fault: Callable[[RunConfig], bool], times: int = 1000
) -> list[int]:
    """Make each fleet with a run at fault break in its second epoch; the sizes that broke."""
    broken: list[int] = []

    class Fragile(Fleet):
        def _epoch(self) -> Any:
            found = [m for m in self.members if at_fault(m.config)]
            if found and self.epoch == 1 and len(broken) < times:
                broken.append(len(self.members))
                raise ValueError("a fault\nof its own")
            return super()._epoch()

    monkeypatch.setattr(session_module, "Fleet", Fragile)
    return broken


def test_all_runs_are_trained_together_and_finished(stage: Stage) -> None:
    configs = runs()
    stage.worker(configs).run()
    assert stage.fleets() == [(4, 0)]
    assert stage.statuses() == {config.fingerprint: "FINISHED" for config in configs}
    news = stage.told("finished")
    assert {n.result.config.fingerprint for n in news} == {c.fingerprint for c in configs}
    assert all(len(n.result.history) == 3 for n in news)
    assert all("test_accuracy" in n.result.summary for n in news)
    assert {n.run_id for n in news} == set(stage.store.statuses())


def test_a_fleet_that_breaks_is_halved_until_the_run_at_fault_is_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = runs()
    broken = break_fleets(monkeypatch, lambda config: config.seed == 2)
    stage.worker(configs).run()
    assert broken == [4, 2, 1, 1], "halved, found, and tried once more"
    statuses = stage.statuses()
    assert statuses.pop(configs[2].fingerprint) == "FAILED"
    assert set(statuses.values()) == {"FINISHED"}
    assert stage.told("failed") == [
        (configs[2].fingerprint, configs[2].run_name, "ValueError: a fault of its own")
    ]


@pytest.mark.parametrize("retries", [0, 3])
def test_a_run_is_tried_again_as_often_as_asked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    broken = break_fleets(monkeypatch, lambda _config: True)
    stage.worker(runs(1), retries=retries).run()
    assert broken == [1] * (1 + retries)
    assert len(stage.told("failed")) == 1


def test_a_run_that_recovers_is_finished(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    break_fleets(monkeypatch, lambda _config: True, times=1)
    stage.worker(runs(1)).run()
    assert list(stage.statuses().values()) == ["FINISHED"]
    assert stage.told("failed") == []


def test_what_another_worker_gave_up_in_this_sweep_is_left_but_an_older_failure_is_taken_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = runs(1)
    broken = break_fleets(monkeypatch, lambda _config: True, times=2)
    stage.worker(configs).run()
    stage.worker(configs, failed_before={}, index=1, workers=2).run()
    assert len(broken) == 2
    assert len(stage.fleets()) == 2
    stage.store.execute("UPDATE runs SET end_time = 4000000000000")  # by a clock that ran ahead
    stage.worker(configs).run()
    assert list(stage.statuses().values()) == ["FINISHED"]


def train_until(stage: Stage, configs: Sequence[RunConfig], epochs: int) -> None:
    """Train runs so far, checkpoint them, and stop."""
    tracker = Tracker("sweep", stage.store.uri)
    data, _ = load_data(configs[0], MACHINE)
    device = worker_module.torch_device("cpu")
    workspace = Workspace(stage.folder / "state", tracker.place)
    uploads = Uploads(tracker, workspace, "cpu", print)
    session = Session(workspace, uploads, data, device, source="x", checkpoints=True, notify=print)
    held = [session.take(config) for config in configs]
    seen: list[int] = []

    def on_epoch(outcome: Any) -> None:
        seen.append(next(iter(outcome.records.values())).epoch)

    with pytest.raises(Interrupted):
        session.train(
            [run for run in held if run],
            on_epoch=on_epoch,
            interrupted=lambda: len(seen) >= epochs,
        )
    uploads.close(interrupted=True)


@pytest.fixture
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after each epoch."""
    monkeypatch.setattr(session_module.Pace, "due", lambda _self: True)


@pytest.mark.parametrize("trained", [0, 2])
def test_an_interrupted_run_shows_all_that_its_checkpoint_has(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, trained: int
) -> None:
    """Though logging was not due, and though a checkpoint comes after the epoch is counted."""
    monkeypatch.setattr(
        session_module, "checkpoint_pace", lambda: Pace(times=0, shortest=0, longest=0)
    )
    monkeypatch.setattr(
        session_module, "logging_pace", lambda: Pace(times=1, shortest=1e9, longest=1e9)
    )
    train_until(stage, runs(1), trained)
    ((run_id,),) = stage.store.rows("SELECT run_uuid FROM runs")
    epochs = [step for name, step, _ in stage.store.history(run_id) if name == "val_loss"]
    assert epochs == list(range(1, trained + 1))


@pytest.mark.usefixtures("every_epoch")
def test_runs_that_stand_at_different_epochs_go_on_as_separate_fleets(stage: Stage) -> None:
    configs = runs()
    train_until(stage, configs[:1], 1)
    train_until(stage, configs[1:3], 2)
    stage.worker(configs).run()
    assert stage.fleets() == [(2, 2), (1, 1), (1, 0)]
    assert set(stage.statuses().values()) == {"FINISHED"}
    for run in stage.store.rows("SELECT run_uuid FROM runs"):
        epochs = [step for name, step, _ in stage.store.history(run[0]) if name == "val_loss"]
        assert epochs == [1, 2, 3]


def test_kept_results_are_uploaded_and_not_trained_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = runs(2)
    with monkeypatch.context() as away:
        away.setattr(Uploads, "_upload", lambda _self, run: run.lease.release())
        stage.worker(configs[:1]).run()
    assert list(stage.statuses().values()) == ["RUNNING"]
    stage.events.clear()
    worker = stage.worker(configs, parents={configs[0].recipe_fingerprint: "the-recipe"})
    worker.run()
    assert stage.fleets() == [(1, 0)], "only the run without a result"
    assert stage.statuses() == {config.fingerprint: "FINISHED" for config in configs}


def test_a_result_that_mlflow_has_already_is_not_uploaded_as_a_second_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config,) = runs(1)
    with monkeypatch.context() as killed:
        killed.setattr("suite.state.workspace.Workspace.forget", lambda _self, _fingerprint: None)
        stage.worker([config]).run()
    (run_id,) = stage.store.statuses()
    worker = stage.worker([config])
    session = worker._bench(config).session
    assert session.take(config) is None
    worker.uploads.close()
    assert stage.store.statuses() == {run_id: "FINISHED"}
    assert not session.workspace.has_result(config.fingerprint)


def test_runs_that_another_process_holds_are_waited_for_and_then_counted_as_done(
    stage: Stage,
) -> None:
    configs = runs(2)
    looks: list[int] = []

    def interrupted() -> bool:
        idle = len(stage.told("idle"))
        if idle == 2 and not looks:  # the other process trains its run and ends
            looks.append(1)
            lock.release()
            other = Stage(stage.store, stage.folder)
            other.worker(configs[:1]).run()
        return False

    worker = stage.worker(configs, interrupted=interrupted)
    lock = worker._bench(configs[0]).session.workspace.take_lease(configs[0].fingerprint)
    assert lock is not None
    worker.run()
    assert stage.fleets() == [(1, 0)]
    assert stage.told("elsewhere") == [{configs[0].fingerprint}]
    assert stage.statuses() == {config.fingerprint: "FINISHED" for config in configs}


def test_runs_on_different_splits_are_trained_on_their_own_images(stage: Stage) -> None:
    half, full = runs(1, train_fraction=0.05), runs(1, train_fraction=0.1)
    stage.worker([*half, *full]).run()
    params = {
        tuple(stage.store.params(run)[n] for n in ("train_fraction", "train_images"))
        for run in stage.store.statuses()
    }
    assert params == {("0.05", "58"), ("0.1", "115")}


@pytest.mark.parametrize("file", ["checkpoint.safetensors", "result/result.json"])
def test_a_damaged_file_concerns_its_run_alone_which_is_trained_anew_with_the_others(
    stage: Stage, file: str
) -> None:
    configs = runs(3)
    worker = stage.worker(configs)
    folder = worker._bench(configs[0]).session.workspace.folder / configs[1].fingerprint
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_bytes(b"")
    worker.run()
    assert stage.statuses() == {config.fingerprint: "FINISHED" for config in configs}
    assert stage.fleets() == [(3, 0)]
    assert stage.told("failed") == []
    (line,) = stage.told("notice")
    assert f"{folder / file} cannot be read (" in line
    assert f"{configs[1].run_name} is trained anew" in line
    assert not folder.exists()


@pytest.mark.usefixtures("every_epoch")
def test_a_checkpoint_damaged_under_a_fleet_that_breaks_does_not_end_the_worker(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = runs(2)

    def damaged(config: RunConfig) -> bool:
        for path in stage.folder.glob(f"state/*/{config.fingerprint}/checkpoint.safetensors"):
            flip_exponent(path)
        return True

    broken = break_fleets(monkeypatch, damaged, times=1)
    stage.worker(configs).run()
    assert broken == [2]
    assert stage.statuses() == {config.fingerprint: "FINISHED" for config in configs}
    lines = [line for line in stage.told("notice") if "digest: must be" in line]
    assert len(lines) == 2
    assert stage.fleets() == [(2, 0), (1, 0), (1, 0)]


def test_a_checkpoint_that_may_not_be_read_concerns_its_run_alone_and_is_left_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = runs(2)
    worker = stage.worker(configs)
    folder = worker._bench(configs[0]).session.workspace.folder / configs[0].fingerprint
    folder.mkdir(parents=True)
    (folder / "checkpoint.safetensors").write_bytes(b"nonsense")
    ask = Path.exists

    def unreadable(path: Path) -> bool:
        if path.name == "checkpoint.safetensors" and path.parent == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return ask(path)

    monkeypatch.setattr(Path, "exists", unreadable)
    worker.run()
    assert stage.statuses() == {configs[1].fingerprint: "FINISHED"}
    ((_, name, reason),) = stage.told("failed")
    assert name == configs[0].run_name
    assert "delete it to train from the start" in reason
    assert (folder / "checkpoint.safetensors").read_bytes() == b"nonsense"


def test_a_full_disk_ends_the_worker_and_no_run_is_blamed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any) -> None:
        raise CheckpointError("checkpoint: no space")

    monkeypatch.setattr("suite.state.workspace.Workspace.keep_result", full)
    with pytest.raises(CheckpointError, match="no space"):
        stage.worker(runs(2)).run()
    assert stage.told("failed") == []
    assert set(stage.statuses().values()) == {"KILLED"}


def test_while_mlflow_is_away_training_goes_on_with_the_ledger_last_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = [0]
    original = LedgerReader._from_database

    def sometimes(self: LedgerReader, *query: Any, **values: Any) -> Any:
        reads[0] += 1
        if 1 < reads[0] < 6:
            raise MlflowException("away", TEMPORARILY_UNAVAILABLE)
        return original(self, *query, **values)

    monkeypatch.setattr(LedgerReader, "_from_database", sometimes)
    stage.worker(runs(4), fleet=2).run()
    assert reads[0] >= 3
    assert set(stage.statuses().values()) == {"FINISHED"}
    assert len(stage.statuses()) == 4


@pytest.mark.usefixtures("every_epoch")
def test_an_interrupted_worker_leaves_its_runs_marked_and_the_next_goes_on(stage: Stage) -> None:
    configs = runs(2)
    with pytest.raises(Interrupted):
        stage.worker(configs, interrupted=lambda: len(stage.told("epoch")) >= 2).run()
    assert set(stage.statuses().values()) == {"KILLED"}
    stage.worker(configs).run()
    assert stage.fleets() == [(2, 0), (2, 2)]
    assert set(stage.statuses().values()) == {"FINISHED"}


def test_workers_begin_with_different_groups(stage: Stage) -> None:
    configs = [*runs(1), *runs(1, optimizer="adam")]
    ledger = LedgerReader(Tracker("sweep", stage.store.uri)).read()
    first = [stage.worker(configs, workers=2, index=i)._groups(ledger)[0][0] for i in (0, 1)]
    assert [config.optimizer for config in first] == ["sgd", "adam"]
