"""A worker whose connection to PostgreSQL breaks while it trains, and others that are quicker.

Leases are a real PostgreSQL's; MLflow's store is a SQLite file. Whatever breaks when, each run
ends with exactly one FINISHED run that has every epoch once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from job_helpers import WholeWorker, some_job
from mlflow_stores import Store
from postgresql_server import PostgresqlServer

from suite.declarations.config import RunConfig, parse
from suite.declarations.metrics import EPOCH_METRIC_NAMES, EpochRecord
from suite.state.leases import Lease
from suite.state.postgresql_leases import PostgresLeases
from suite.state.workspace import Workspace
from suite.tracking.runs import Tracker
from suite.worker import session as session_module
from suite.worker import worker as worker_module
from suite.worker.messages import Event
from suite.worker.uploads import Uploads

EPOCHS = 4


def runs(count: int, **changes: Any) -> list[RunConfig]:
    fixed = {"width": 2, "batch_size": 8, "epochs": EPOCHS, "train_fraction": 0.05} | changes
    return [parse(fixed | {"seed": seed}) for seed in range(count)]


class Site:
    """A machine with a state directory of its own, and workers on the one store."""

    def __init__(self, store: Store, folder: Path, database: str) -> None:
        self.store, self.folder, self.database = store, folder, database
        self.events: list[Event] = []
        self.hear: Callable[[Event], None] = lambda _event: None

    def worker(self, configs: Sequence[RunConfig], **changes: Any) -> WholeWorker:
        place = {"tracking_uri": self.store.uri, "state_dir": self.folder}
        about = {"configs": configs, "lease_database": self.database} | place | changes
        return WholeWorker(some_job(self.folder, **about), self._take, lambda: False)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self.hear(event)

    def told(self, kind: str) -> list[Any]:
        return [event.content for event in self.events if event.kind == kind]

    def fleets(self) -> list[tuple[int, int]]:
        """Size and first epoch of each fleet that was trained."""
        return [(len(start.fingerprints), start.epoch) for start in self.told("fleet")]

    def lease(self, config: RunConfig) -> tuple[PostgresLeases, Lease | None]:
        """What another worker on this machine gets when it asks for a run."""
        tracker = Tracker("sweep", self.store.uri)
        workspace = Workspace(self.folder, tracker.place, self.database)
        assert isinstance(workspace.leases, PostgresLeases)
        return workspace.leases, workspace.take_lease(config.fingerprint)

    def assert_all_once(self, configs: Sequence[RunConfig]) -> None:
        rows = self.store.rows(
            "SELECT t.value, r.run_uuid, r.status FROM runs r JOIN tags t "
            "ON t.run_uuid = r.run_uuid "
            "WHERE t.key = 'fingerprint' AND r.lifecycle_stage = 'active'"
        )
        assert sorted((name, status) for name, _, status in rows) == sorted(
            (config.fingerprint, "FINISHED") for config in configs
        )
        for _, run, _ in rows:
            steps = [(name, step) for name, step, _ in self.store.history(run)]
            assert steps == [
                (name, epoch)
                for name in sorted(EPOCH_METRIC_NAMES)
                for epoch in range(1, EPOCHS + 1)
            ]


@pytest.fixture
def site(store: Store, tmp_path: Path, postgresql: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(worker_module, "WAIT_FOR_OTHERS", 0.1)
    monkeypatch.setattr(session_module.Pace, "due", lambda _self: True)
    return Site(store, tmp_path / "state", postgresql)


def wait_until(there: Callable[[], bool], site: Site) -> None:
    until = time.monotonic() + 60
    while not there():
        assert time.monotonic() < until, site.events
        time.sleep(0.02)


def once(site: Site, epoch: int, deed: Callable[[], object]) -> None:
    """Do something the first time that a fleet reports an epoch."""
    done: list[int] = []

    def hear(event: Event) -> None:
        if event.kind == "epoch" and event.content.epoch == epoch and not done:
            done.append(1)
            deed()

    site.hear = hear


def test_a_worker_whose_leases_were_lost_takes_its_runs_up_from_their_checkpoints(
    site: Site, postgresql_server: PostgresqlServer
) -> None:
    configs = runs(2)
    once(site, 3, lambda: postgresql_server.end_leases(site.database))
    site.worker(configs).run()
    assert site.fleets() == [(2, 0), (2, 2)]
    assert "PostgreSQL ended the leases of 2 runs; taking them again" in site.told("notice")
    assert site.told("failed") == []
    site.assert_all_once(configs)


def test_a_run_that_another_worker_has_taken_meanwhile_is_left_to_it(
    site: Site, postgresql_server: PostgresqlServer
) -> None:
    configs = runs(2)
    other: list[tuple[PostgresLeases, Lease]] = []

    def lose() -> None:
        assert postgresql_server.end_leases(site.database) == 1
        leases, lease = site.lease(configs[0])
        assert lease is not None
        other.append((leases, lease))

    once(site, 2, lose)
    worker = threading.Thread(target=site.worker(configs).run)
    worker.start()
    wait_until(lambda: len(site.told("finished")) == 1 and site.events[-1].kind == "idle", site)
    assert site.fleets() == [(2, 0), (1, 1)], "it trained on with what another worker has"
    assert [news.result.config for news in site.told("finished")] == [configs[1]]
    ((leases, lease),) = other
    lease.release()
    leases.close()
    worker.join(60)
    assert site.fleets() == [(2, 0), (1, 1), (1, 1)]
    site.assert_all_once(configs)


def test_nothing_is_written_for_a_run_after_its_lease_is_lost(
    site: Site, postgresql_server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its checkpoint nor MLflow, even by tasks that have waited for MLflow till then."""
    (config,) = runs(1)
    gate = threading.Event()
    writes: list[str] = []

    def slow(tracker: Tracker, run_id: str, records: Sequence[EpochRecord]) -> None:
        writes.append("epochs")
        gate.wait(60)

    def noted(workspace: Workspace, state: Any) -> None:
        writes.append("checkpoint")

    def lose() -> None:
        assert postgresql_server.end_leases(site.database) == 1
        writes.append("lost")
        gate.set()

    class StopHere(Exception):
        pass

    def stop(event: Event) -> None:
        if event.kind == "notice" and "ended the leases" in event.content:
            raise StopHere

    monkeypatch.setattr(Tracker, "log_epochs", slow)
    monkeypatch.setattr(Workspace, "save", noted)
    monkeypatch.setattr(Tracker, "finish", lambda *_args, **_options: writes.append("finish"))
    once(site, 3, lose)
    hear = site.hear

    def both(event: Event) -> None:
        hear(event)
        stop(event)

    site.hear = both
    with pytest.raises(StopHere):
        site.worker([config]).run()
    assert writes[-1] == "lost"
    assert writes.count("checkpoint") == 2
    assert list(site.store.statuses().values()) == ["RUNNING"], "marked although it is another's"


def test_a_result_whose_lease_is_lost_before_its_upload_is_uploaded_on_a_new_one(
    site: Site, postgresql_server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = runs(2)
    keep = Workspace.keep_result
    ended: list[int] = []

    def keep_and_lose(workspace: Workspace, *args: Any) -> None:
        keep(workspace, *args)
        if not ended:
            ended.append(postgresql_server.end_leases(site.database))

    monkeypatch.setattr(Workspace, "keep_result", keep_and_lose)
    site.worker(configs).run()
    assert ended == [1]
    site.assert_all_once(configs)
    assert [path for path in site.folder.rglob("*") if path.is_file()] == []


def test_a_result_which_another_worker_has_uploaded_is_not_uploaded_again(
    site: Site, postgresql_server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config,) = runs(1)
    finish = Uploads._finish

    def late(uploads: Uploads, run: Any) -> None:
        if not site.told("elsewhere"):
            monkeypatch.setattr(Uploads, "_finish", finish)
            postgresql_server.end_leases(site.database)
            Site(site.store, site.folder, site.database).worker([config]).run()
        finish(uploads, run)

    monkeypatch.setattr(Uploads, "_finish", late)
    site.worker([config]).run()
    site.assert_all_once([config])
    assert len(site.store.rows("SELECT 1 FROM runs WHERE lifecycle_stage = 'deleted'")) == 0


def test_a_run_that_another_machine_finished_first_stays_the_finished_one(
    site: Site, postgresql_server: PostgresqlServer, tmp_path: Path, monkeypatch: Any
) -> None:
    """The other machine does not see our result, and trains the run from the start."""
    (config,) = runs(1)
    finish = Uploads._finish
    there = Site(site.store, tmp_path / "other machine", site.database)

    def late(uploads: Uploads, run: Any) -> None:
        monkeypatch.setattr(Uploads, "_finish", finish)
        postgresql_server.end_leases(site.database)
        there.worker([config]).run()
        finish(uploads, run)

    monkeypatch.setattr(Uploads, "_finish", late)
    site.worker([config]).run()
    assert there.fleets() == [(1, 0)]
    site.assert_all_once([config])
    assert [path for path in tmp_path.rglob("*.safetensors") if "mlruns" not in path.parts] == []


def test_epochs_that_two_workers_logged_are_mended_when_the_run_ends(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last request of a worker that does not know yet that its lease is lost."""
    configs = runs(2)
    log = Tracker.log_epochs
    spoilt: list[str] = []

    def twice(tracker: Tracker, run_id: str, records: Sequence[EpochRecord]) -> None:
        log(tracker, run_id, records)
        if not spoilt and records:
            spoilt.append(run_id)
            log(tracker, run_id, [replace(records[0], timestamp=1_600_000_000_000)])

    monkeypatch.setattr(Tracker, "log_epochs", twice)
    site.worker(configs).run()
    site.assert_all_once(configs)
    deleted = site.store.rows("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted'")
    assert deleted == [(spoilt[0],)]
    assert {news.run_id for news in site.told("finished")} == set(site.store.statuses())


@pytest.fixture
def own_server() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


@pytest.mark.slow
def test_workers_wait_for_a_server_that_restarts_and_go_on(
    site: Site, own_server: PostgresqlServer
) -> None:
    configs = runs(2)
    site.database = own_server.new_database()
    once(site, 2, own_server.stop)
    worker = threading.Thread(target=site.worker(configs).run)
    worker.start()
    wait_until(lambda: len(site.told("idle")) > 3, site)
    own_server.start()
    worker.join(60)
    assert not worker.is_alive()
    assert site.fleets() == [(2, 0), (2, 1)]
    away = [line for line in site.told("notice") if "PostgreSQL does not answer" in line]
    assert len(away) == 1, "said once, not at every try"
    site.assert_all_once(configs)


@pytest.mark.slow
def test_a_worker_ends_when_the_leases_stay_away(
    site: Site, own_server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "LONGEST_ABSENCE", 1.0)
    site.database = own_server.new_database()
    once(site, 2, own_server.stop)
    site.worker(runs(1)).run()
    assert site.told("finished") == []
    assert list(site.store.statuses().values()) == ["RUNNING"]
