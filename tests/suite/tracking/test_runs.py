"""MLflow's side of a run, on a real SQLite store; SQL looks at what is there."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow_stores import Store
from sqlalchemy import Select, event
from sqlalchemy.dialects import sqlite
from tracked_runs import CONFIG, DATA, begin, records

from suite.declarations.config import RunConfig, parse
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.layers import LayerHistory, layers_of
from suite.declarations.metrics import EPOCH_METRIC_NAMES, EpochRecord
from suite.declarations.tags import NOTE_TAG
from suite.tracking.metadata import note
from suite.tracking.queries import DIVERGED, LATEST, POINTS, RUNS_OF
from suite.tracking.runs import Tracker


def test_a_new_run_is_found_by_its_fingerprint_and_says_all_about_itself(
    tracker: Tracker, store: Store
) -> None:
    run_id = begin(tracker)
    assert store.statuses() == {run_id: "RUNNING"}
    assert tracker.unfinished(CONFIG.fingerprint) == run_id
    assert tracker.finished(CONFIG.fingerprint) is None
    sizes = {"train_images": "1150", "validation_images": "288", "test_images": "359"}
    assert store.params(run_id) == CONFIG.parameters() | sizes
    assert set(RunConfig.names()) <= set(store.params(run_id))
    tags = store.tags(run_id)
    assert tags["fingerprint"] == CONFIG.fingerprint
    assert parse(json.loads(tags["config"])) == CONFIG
    assert (tags["state"], tags["device"]) == ("running", "cpu")
    assert tags["mlflow.runName"] == CONFIG.run_name
    described = {"code_version", "host", "mlflow.user", "mlflow.source.name"}
    assert described <= set(tags)
    assert all(tags[name] for name in described)
    libraries = ("torch", "timm", "mlflow", "numpy")
    versions = [f"python {platform.python_version()}", *(f"{n} {version(n)}" for n in libraries)]
    assert tags["versions"] == ", ".join(versions)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adam", "sigma_w": 2.5, "seed": 42},
        {"model": "timm/resnet18", "learning_rate": 3e-5, "kernel_l2": 1e-4},
        {"dataset": "folder", "dataset_digest": "0123456789abcdef", "width": 0},
    ],
)
def test_the_description_of_a_run_is_the_command_that_trains_it(changes: dict[str, Any]) -> None:
    config = RunConfig(**changes)
    command = shlex.split(note(config).strip("`"))
    assert command[:3] == ["python", "-m", "suite.train"]
    names = [flag.removeprefix("--").replace("-", "_") for flag in command[3::2]]
    again = parse(dict(zip(names, command[4::2], strict=True)))
    assert again == config.with_(dataset_digest="")


def test_a_description_which_a_person_has_changed_stays(tracker: Tracker, store: Store) -> None:
    run_id = begin(tracker)
    tracker.client.set_tag(run_id, NOTE_TAG, "odd")
    tracker.take_up(run_id, CONFIG, DATA, "cpu")
    assert store.tags(run_id)[NOTE_TAG] == "odd"


def test_a_declared_experiment_is_described_and_anothers_is_not(store: Store) -> None:
    described = MlflowClient(store.uri)
    for name in ("demo", "mine"):
        Tracker(name, store.uri)
    demo, mine = (described.get_experiment_by_name(name).tags for name in ("demo", "mine"))
    assert EXPERIMENTS["demo"].description in demo[NOTE_TAG]
    assert NOTE_TAG not in mine


def plan(store: Store, query: Select[Any], **asked: object) -> list[str]:
    """The steps by which SQLite carries out a query."""
    spelled = {"literal_binds": True}
    sql = query.params(asked).compile(dialect=sqlite.dialect(), compile_kwargs=spelled)
    return [str(row[3]) for row in store.rows(f"EXPLAIN QUERY PLAN {sql}")]


def test_runs_of_a_configuration_are_found_by_an_index(tracker: Tracker, store: Store) -> None:
    steps = plan(store, RUNS_OF, fingerprint="1", experiment=1)
    assert any("suite_runs_by_fingerprint (value=?)" in step for step in steps)
    assert not any(step.startswith("SCAN") for step in steps)


@pytest.mark.parametrize("query", [POINTS, LATEST, DIVERGED])
def test_what_is_asked_of_a_few_runs_is_not_looked_for_among_all(
    store: Store, query: Select[Any]
) -> None:
    asked: dict[str, object] = {"runs": ["a", "b"]}
    steps = plan(store, query, **asked | ({"names": ["val_accuracy"]} if query is POINTS else {}))
    assert "run_uuid=?" in steps[0]


def test_the_data_set_is_an_input_of_the_run(tracker: Tracker) -> None:
    (given,) = MlflowClient(tracker.uri).get_run(begin(tracker)).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("digits", "0123456789abcdef")
    assert json.loads(given.dataset.source) == {"uri": "sklearn.datasets.load_digits"}
    profile = {"splits": dict(DATA.sizes), "classes": ["0", "1"]}
    assert json.loads(given.dataset.profile) == profile
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "training")]


def test_two_that_log_a_new_data_set_at_once_both_have_it(tracker: Tracker, store: Store) -> None:
    engine = tracker.client._tracking_client.store.engine
    overtaken = []

    def overtake(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("INSERT INTO datasets") and not overtaken:
            overtaken.append(statement)
            experiment = tracker.experiment_id
            store.execute(
                "INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, "
                "dataset_source_type, dataset_source) "
                f"VALUES ('ab', {experiment}, 'digits', '{DATA.digest}', 'local', '{{}}')"
            )

    event.listen(engine, "before_cursor_execute", overtake)
    try:
        run = MlflowClient(tracker.uri).get_run(begin(tracker))
    finally:
        event.remove(engine, "before_cursor_execute", overtake)
    assert overtaken
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.digest == DATA.digest


def test_epochs_become_one_row_a_metric_with_the_epoch_as_step(
    tracker: Tracker, store: Store
) -> None:
    run_id = begin(tracker)
    tracker.log_epochs(run_id, records(range(1, 4)))
    expected = [
        (name, record.epoch, record.metrics()[name])
        for record in records(range(1, 4))
        for name in EPOCH_METRIC_NAMES
    ]
    assert store.history(run_id) == sorted(expected)


def test_more_rows_than_mlflow_takes_at_once_are_all_written(
    tracker: Tracker, store: Store
) -> None:
    run_id = begin(tracker)
    tracker.log_epochs(run_id, records(range(1, 401)))
    assert len(store.history(run_id)) == 400 * len(EPOCH_METRIC_NAMES)


def test_what_is_logged_again_adds_no_row(tracker: Tracker, store: Store) -> None:
    run_id = begin(tracker)
    tracker.log_epochs(run_id, records([1, 2, 3]))
    before = store.history(run_id)
    tracker.log_epochs(run_id, records([2, 3]))
    assert store.history(run_id) == before
    tracker.log_missing_epochs(run_id, records([1, 2, 3, 4]))
    added = [(name, 4, value) for name, value in records([4])[0].metrics().items()]
    assert store.history(run_id) == sorted(before + added)


def test_the_last_epoch_is_the_last_of_which_anything_is_there(tracker: Tracker) -> None:
    run_id = begin(tracker)
    assert tracker.last_epoch(run_id) == 0
    tracker.log_epochs(run_id, records([1, 2]))
    tracker.client.log_metric(run_id, "val_loss", 1.0, step=3)
    tracker.client.log_metric(run_id, "test_accuracy", 1.0, step=0)
    assert tracker.last_epoch(run_id) == 3


def test_an_epoch_measured_again_at_another_time_does_not_double_the_one_there(
    tracker: Tracker, store: Store
) -> None:
    run_id = begin(tracker)
    tracker.log_epochs(run_id, records([1, 2]))
    before = store.history(run_id)
    later = [EpochRecord(e, 1_800_000_000_000, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0) for e in (1, 2)]
    tracker.log_missing_epochs(run_id, later)
    assert store.history(run_id) == before


def test_not_a_number_is_kept_as_such(tracker: Tracker, store: Store) -> None:
    run_id = begin(tracker)
    nan, infinity = float("nan"), float("inf")
    tracker.log_epochs(run_id, [EpochRecord(1, 1, nan, 0.1, infinity, 0.1, nan, 0.1)])
    tracker.log_missing_epochs(run_id, [EpochRecord(1, 2, nan, 0.1, infinity, 0.1, nan, 0.1)])
    rows = store.rows("SELECT key, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key", run_id)
    assert [key for key, is_nan in rows if is_nan] == ["kernel_norm", "train_loss"]
    assert len(rows) == len(EPOCH_METRIC_NAMES)


def test_a_run_ends_with_its_summary_once_however_often_that_is_repeated(
    tracker: Tracker, store: Store, tmp_path: Path
) -> None:
    run_id = begin(tracker)
    tracker.log_epochs(run_id, records([1, 2]))
    summary = {"test_accuracy": 1 / 3, "best_epoch": 2.0}
    # Of more layers than one tag takes.
    layers = LayerHistory(tuple(f"layer{n}" for n in range(500))).with_epoch(
        0, [2] * 500, [1] * 500
    )
    rows = []
    for _ in range(2):
        tracker.finish(run_id, summary, 1_700_000_000_002, diverged=False, layers=layers)
        rows.append(store.rows("SELECT COUNT(*) FROM metrics"))
    assert rows == [[(2 * len(EPOCH_METRIC_NAMES) + 2,)]] * 2
    assert store.statuses() == {run_id: "FINISHED"}
    assert store.tags(run_id)["state"] == "finished"
    assert store.tags(run_id)["diverged"] == "false"
    assert layers_of(store.tags(run_id)) == layers
    assert {name: store.latest(run_id)[name] for name in summary} == summary
    assert tracker.finished(CONFIG.fingerprint) == run_id
    assert tracker.unfinished(CONFIG.fingerprint) is None


def test_a_diverged_run_is_a_finished_one(tracker: Tracker, store: Store) -> None:
    run_id = begin(tracker)
    tracker.finish(run_id, {"epochs_trained": 1.0}, 1, diverged=True)
    assert store.statuses() == {run_id: "FINISHED"}
    assert store.tags(run_id)["diverged"] == "true"


def test_what_is_logged_is_there_at_once_whatever_the_environment_says_of_waiting(
    tracker: Tracker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own queue would be lost with the process, and the run be FINISHED without it."""
    asked: list[object] = []
    log = MlflowClient.log_batch

    def watched(client: MlflowClient, *arguments: Any, **named: Any) -> Any:
        asked.append(log(client, *arguments, **named))  # a future, if it waits somewhere

    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    monkeypatch.setattr(MlflowClient, "log_batch", watched)
    run_id = begin(tracker)
    tracker.log_epochs(run_id, records([1, 2]))
    tracker.finish(run_id, {"test_accuracy": 0.5}, 1, diverged=False)
    tracker.fail(begin(tracker), "reason")
    assert asked
    assert set(asked) == {None}
    assert len(store.history(run_id)) == 2 * len(EPOCH_METRIC_NAMES)


def test_an_interrupted_run_is_taken_up_as_the_same_run(tracker: Tracker, store: Store) -> None:
    run_id = begin(tracker)
    tracker.log_epochs(run_id, records([1]))
    tracker.interrupt(run_id)
    assert store.statuses() == {run_id: "KILLED"}
    assert store.tags(run_id)["state"] == "interrupted"
    assert tracker.unfinished(CONFIG.fingerprint) == run_id
    params, history = store.params(run_id), store.history(run_id)
    tracker.take_up(run_id, CONFIG, DATA, "cuda:1")
    assert store.statuses() == {run_id: "RUNNING"}
    assert (store.params(run_id), store.history(run_id)) == (params, history)
    assert store.tags(run_id)["state"] == "running"
    assert store.tags(run_id)["device"] == "cuda:1"
    assert len(MlflowClient(tracker.uri).get_run(run_id).inputs.dataset_inputs) == 1


def test_a_run_that_broke_says_why_and_can_go_on(tracker: Tracker, store: Store) -> None:
    run_id = begin(tracker)
    tracker.fail(run_id, "RuntimeError: out of memory")
    assert store.statuses() == {run_id: "FAILED"}
    assert store.tags(run_id)["failure"] == "RuntimeError: out of memory"
    assert tracker.unfinished(CONFIG.fingerprint) == run_id


def test_a_run_begun_by_mlflow_run_keeps_the_spelling_of_its_parameters(
    tracker: Tracker, store: Store
) -> None:
    """``mlflow run -P learning_rate=1e-3`` logs '1e-3', and MLflow lets nobody change it."""
    client = MlflowClient(store.uri)
    run_id = client.create_run("0", run_name="rebellious-newt-7").info.run_id
    client.log_param(run_id, "learning_rate", "1e-3")
    client.log_param(run_id, "threads", "1")
    tracker.take_up(run_id, CONFIG, DATA, "cpu")
    params = store.params(run_id)
    assert (params["learning_rate"], params["threads"]) == ("1e-3", "1")
    assert set(RunConfig.names()) <= set(params)
    assert params["train_images"] == "1150"
    assert store.tags(run_id)["fingerprint"] == CONFIG.fingerprint
    assert store.tags(run_id)["mlflow.runName"] == CONFIG.run_name
    assert client.get_run(run_id).info.run_name == CONFIG.run_name
    assert len(client.get_run(run_id).inputs.dataset_inputs) == 1
    assert tracker.unfinished(CONFIG.fingerprint) == run_id


def test_the_newest_unfinished_run_goes_on(tracker: Tracker, store: Store) -> None:
    runs = [begin(tracker), begin(tracker)]
    for start, run_id in enumerate(runs[::-1]):
        store.execute("UPDATE runs SET start_time = ? WHERE run_uuid = ?", start, run_id)
    assert tracker.unfinished(CONFIG.fingerprint) == runs[1]
    tracker.finish(runs[1], {}, 1, diverged=False)
    assert tracker.unfinished(CONFIG.fingerprint) == runs[0]


def test_a_reader_and_a_writer_work_at_once(store: Store, tracker: Tracker) -> None:
    assert store.rows("PRAGMA journal_mode") == [("wal",)]


# Four processes with everything imported, held until all are there.
CREATE = """
import os, sys
from mlflow.store.tracking import sqlalchemy_store
from suite.declarations.config import parse
from suite.tracking.runs import DataDescription, Tracker
data = DataDescription("digits", "0" * 16, "x", {"train": 1}, (1, 8, 8), ("0",))
ready, go = os.pipe()
children = []
for seed in range(4):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(go)
            os.read(ready, 1)  # ends when the parent closes the other side
            tracker = Tracker("shared", sys.argv[1])
            run_id = tracker.create(parse({"seed": seed}), data, "cpu")
            tracker.finish(run_id, {"test_accuracy": 0.5}, 1, diverged=False)
            code = 0
        except Exception as error:
            print(type(error).__name__, str(error)[:300], file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    children.append(pid)
os.close(go)
sys.exit(sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""


@pytest.mark.slow
def test_several_processes_may_create_a_store_at_once(tmp_path: Path) -> None:
    """Without the lock around it, that breaks a SQLite store for good."""
    store = Store(tmp_path / "new" / "mlflow.db")
    command = [sys.executable, "-c", CREATE, store.uri]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert sorted(store.statuses().values()) == ["FINISHED"] * 4
    assert store.rows("SELECT name FROM experiments ORDER BY name") == [("Default",), ("shared",)]
    assert len(store.rows("SELECT version_num FROM alembic_version")) == 1
