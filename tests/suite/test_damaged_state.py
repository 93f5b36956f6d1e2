"""Damaged files of a run under way, through the training command: a line, and the right numbers."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet
from damage import flip_exponent, nothing, rewrite
from mlflow_stores import Store, new_store
from torch import Tensor
from training_commands import Crash, Ended, Nursery

import suite
from suite.declarations.config import parse
from suite.engine.checkpoint import RefusedError

SETTINGS = {"width": "2", "epochs": "4", "batch_size": "32", "train_fraction": "0.2"}
SETTINGS["optimizer"] = "adam"
FLAGS = ((f"--{name.replace('_', '-')}", value) for name, value in SETTINGS.items())
ARGUMENTS = [*(word for flag in FLAGS for word in flag), "--threads", "1"]
CONFIG = parse(SETTINGS)


@dataclass(frozen=True)
class Ground:
    """A store and a state directory, and how they were when a run in them had been killed."""

    store: Store
    nursery: Nursery

    @property
    def folder(self) -> Path:
        return self.store.path.parent

    @property
    def run(self) -> Path:
        """Where the files of the run lie."""
        (folder,) = self.folder.glob(f"state/*/{CONFIG.fingerprint}")
        return folder

    def restore(self) -> Ground:
        shutil.rmtree(self.folder)
        shutil.copytree(self.folder.with_suffix(".killed"), self.folder)
        return self

    def train(self, *more: str) -> Ended:
        return self.nursery.run([*ARGUMENTS, *more], self.folder)


def ground(nursery: Nursery, empty_store: Path, folder: Path, crash: Crash) -> Ground:
    made = Ground(new_store(empty_store, folder), nursery)
    assert nursery.run(ARGUMENTS, folder, crash=crash).code == -signal.SIGKILL
    shutil.copytree(folder, folder.with_suffix(".killed"))
    return made


@pytest.fixture(scope="module")
def undisturbed(
    nursery: Nursery, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    store = new_store(empty_store, tmp_path_factory.mktemp("undisturbed"))
    assert nursery.run(ARGUMENTS, store.path.parent).code == 0
    return store


@pytest.fixture(scope="module")
def killed_under_way(
    nursery: Nursery, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Ground:
    crash = Crash("suite.state.workspace:Workspace.save", 2, after=True)
    return ground(nursery, empty_store, tmp_path_factory.mktemp("under-way"), crash)


@pytest.fixture(scope="module")
def killed_at_the_end(
    nursery: Nursery, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Ground:
    crash = Crash("suite.tracking.runs:Tracker.log_best")
    return ground(nursery, empty_store, tmp_path_factory.mktemp("at-the-end"), crash)


def assert_as_undisturbed(store: Store, reference: Store) -> str:
    """One finished run with the numbers of the one that nothing disturbed; its id."""
    ((run_id, status),), (theirs,) = store.statuses().items(), reference.statuses()
    assert status == "FINISHED"
    assert store.history(run_id) == reference.history(theirs)
    assert store.latest(run_id) == reference.latest(theirs)
    left = [p for p in (store.path.parent / "state").rglob("*") if p.is_file()]
    assert {path.parent.name for path in left} <= {"leases"}
    return run_id


def test_an_undamaged_checkpoint_is_gone_on_from_without_a_word(
    killed_under_way: Ground, undisturbed: Store
) -> None:
    ended = killed_under_way.restore().train()
    assert (ended.code, ended.err) == (0, "")
    assert "after epoch 2 of 4" in ended.out
    assert_as_undisturbed(killed_under_way.store, undisturbed)


def one_record_less(_tensors: dict[str, Tensor], texts: dict[str, str]) -> None:
    texts["history"] = json.dumps(json.loads(texts["history"])[:-1])


def bias_to_broadcast(tensors: dict[str, Tensor], _texts: dict[str, str]) -> None:
    tensors["parameters/head.bias"] = torch.zeros(1)


def other_names(tensors: dict[str, Tensor], _texts: dict[str, str]) -> None:
    for key in [key for key in tensors if key.startswith("parameters/conv1")]:
        tensors[key.replace("conv1", "convolution_1")] = tensors.pop(key)


def nested_deeply(_tensors: dict[str, Tensor], texts: dict[str, str]) -> None:
    texts["config"] = "[" * 100_000


def empty(path: Path) -> None:
    path.write_bytes(b"")


def digit_under_the_old_digest(path: Path) -> None:
    content = path.read_bytes()
    changed = content.replace(b'\\"val_accuracy\\": 0.', b'\\"val_accuracy\\": 1.', 1)
    assert changed != content
    path.write_bytes(changed)


CHECKPOINTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a flipped bit of an exponent": (flip_exponent, "digest: must be"),
    "a digit of the history": (digit_under_the_old_digest, "digest: must be"),
    "one epoch short": (
        lambda path: rewrite(path, one_record_less, sealed=True),
        "history: must have a record for each of 2 epochs trained, got 1",
    ),
    "a bias of one number": (
        lambda path: rewrite(path, bias_to_broadcast, sealed=False),
        "parameters/head.bias: must be float32 of shape (10,), got float32 of shape (1,)",
    ),
    "names of another layout": (
        lambda path: rewrite(path, other_names, sealed=False),
        "must be those of the present layout, missing parameters/conv1",
    ),
    "nested deeply": (
        lambda path: rewrite(path, nested_deeply, sealed=False),
        "nested more deeply",
    ),
    "empty": (empty, "header too small"),
}


def cases(names: Iterable[str], *slow: str) -> list[ParameterSet]:
    """The names as cases; `slow` are those whose lines faster tests ask for, too."""
    marks = {name: [pytest.mark.slow] if name in slow else [] for name in names}
    return [pytest.param(name, marks=found) for name, found in marks.items()]


@pytest.mark.parametrize("damage", cases(CHECKPOINTS, "nested deeply", "empty"))
def test_a_damaged_checkpoint_is_a_line_and_the_run_is_trained_anew(
    damage: str, killed_under_way: Ground, undisturbed: Store
) -> None:
    place = killed_under_way.restore()
    do, finding = CHECKPOINTS[damage]
    path = place.run / "checkpoint.safetensors"
    do(path)
    ended = place.train()
    assert ended.code == 0, ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith(f"checkpoint: {path} cannot be read (")
    assert finding in line
    assert line.endswith(
        f"; {CONFIG.run_name} is trained anew from epoch 0, and until that is done the file stays "
        "as checkpoint.safetensors.refused"
    )
    assert "after epoch 0 of 4" in ended.out
    assert_as_undisturbed(place.store, undisturbed)


def test_a_checkpoint_of_a_version_without_digest_is_gone_on_from(
    killed_under_way: Ground, undisturbed: Store
) -> None:
    place = killed_under_way.restore()
    rewrite(place.run / "checkpoint.safetensors", nothing, sealed=False)
    ended = place.train()
    assert (ended.code, ended.err) == (0, "")
    assert "after epoch 2 of 4" in ended.out
    assert_as_undisturbed(place.store, undisturbed)


def of_another_version(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["digest"]
    path.write_text(json.dumps(content | {"mood": "good"}), encoding="utf-8")


def other_accuracy(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    content["summary"]["test_accuracy"] += 0.1
    path.write_text(json.dumps(content), encoding="utf-8")


RESULTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "empty": ("result.json", empty, "Expecting value"),
    "no text": ("result.json", lambda path: path.write_bytes(b"\xff\xfe"), "can't decode"),
    "of another version": ("result.json", of_another_version, "result: must have"),
    "another accuracy": ("result.json", other_accuracy, "digest: must be"),
    "nested deeply": (
        "result.json",
        lambda path: path.write_text("[" * 100_000, encoding="utf-8"),
        "nested more deeply",
    ),
    "a flipped bit of the model": ("best/model.safetensors", flip_exponent, "digest: must be"),
    "a model without its settings": ("best/config.json", Path.unlink, "it has no config.json"),
}


@pytest.mark.parametrize("damage", cases(RESULTS, "no text", "another accuracy", "nested deeply"))
def test_a_damaged_result_is_a_line_and_the_run_is_trained_anew(
    damage: str, killed_at_the_end: Ground, undisturbed: Store
) -> None:
    place = killed_at_the_end.restore()
    file, do, finding = RESULTS[damage]
    folder = place.run / "result"
    do(folder / file)
    ended = place.train()
    assert ended.code == 0, ended.err
    (line,) = ended.err.splitlines()
    assert f": {folder / file.partition('/')[0]} cannot be read (" in line
    assert finding in line
    assert f"; {CONFIG.run_name} is trained anew from what checkpoint it has" in line
    assert_as_undisturbed(place.store, undisturbed)


def test_another_runs_damaged_result_is_a_line_and_is_left_to_that_run(
    killed_at_the_end: Ground, undisturbed: Store
) -> None:
    place = killed_at_the_end.restore()
    path = place.run / "result" / "result.json"
    empty(path)
    ended = place.train("--seed", "1", "--epochs", "1")
    assert ended.code == 0, ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith(f"result: {path} cannot be read (Expecting value")
    assert line.endswith("its run is trained anew when it is started")
    assert path.read_bytes() == b""
    (other,) = (key for key, status in place.store.statuses().items() if status == "FINISHED")
    assert place.train().code == 0
    place.store.execute("DELETE FROM runs WHERE run_uuid = ?", other)
    assert_as_undisturbed(place.store, undisturbed)


def model_of(store: Store) -> tuple[str, Path]:
    (run_id,) = store.statuses()
    (file,) = store.path.parent.rglob(f"{run_id}/artifacts/best/model.safetensors")
    return run_id, file


@pytest.mark.parametrize("damage", ["a flipped bit", "names of another layout"])
def test_a_damaged_model_is_not_loaded(damage: str, undisturbed: Store) -> None:
    run_id, file = model_of(undisturbed)
    sound = file.read_bytes()
    if damage == "a flipped bit":
        flip_exponent(file)
    else:
        rewrite(file, other_names, sealed=False)
    try:
        with pytest.raises(RefusedError) as error:
            suite.load(run_id, tracking_uri=undisturbed.uri)
    finally:
        file.write_bytes(sound)
    line = str(error.value)
    assert len(line.splitlines()) == 1
    assert line.startswith(f"best checkpoint: that of run {run_id} cannot be read (")
    assert line.endswith("; train the run again with --force")


def test_a_model_of_a_version_without_digest_is_loaded(undisturbed: Store) -> None:
    run_id, file = model_of(undisturbed)
    sound = file.read_bytes()
    before = suite.load(run_id, tracking_uri=undisturbed.uri)
    rewrite(file, nothing, sealed=False)
    try:
        after = suite.load(run_id, tracking_uri=undisturbed.uri)
    finally:
        file.write_bytes(sound)
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(before(images), after(images))
