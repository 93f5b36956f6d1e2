"""A run that a training command has finished, in a store of its own, and what is equal to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlflow_stores import Store, new_store
from training_commands import Ended, Nursery

from suite.declarations.config import parse
from suite.declarations.layers import layers_of

SETTINGS = {
    "width": "4",
    "epochs": "4",
    "batch_size": "32",
    "train_fraction": "0.2",
    "optimizer": "adam",
    "learning_rate": "1e-2",
    "seed": "42",
}


def words(settings: dict[str, str]) -> list[str]:
    pairs = [(f"--{name.replace('_', '-')}", value) for name, value in settings.items()]
    return [word for pair in pairs for word in pair] + ["--threads", "1"]


ARGUMENTS = words(SETTINGS)
CONFIG = parse(SETTINGS)
KEY = CONFIG.fingerprint


@dataclass(frozen=True)
class Finished:
    """A store with one finished run in it."""

    store: Store
    ended: Ended

    @property
    def run_id(self) -> str:
        ((run_id, status),) = self.store.statuses().items()
        assert status == "FINISHED"
        return run_id

    @property
    def artifacts(self) -> dict[str, bytes]:
        folder = self.store.path.parent / "mlruns" / "0" / self.run_id / "artifacts"
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def finish(nursery: Nursery, empty_store: Path, folder: Path, arguments: list[str]) -> Finished:
    store = new_store(empty_store, folder)
    ended = nursery.run(arguments, folder)
    assert ended.code == 0, ended.err
    return Finished(store, ended)


def files_left(folder: Path) -> list[Path]:
    """What lies in the state directory besides the lock files, which stay."""
    files = (path for path in (folder / "state").rglob("*") if path.is_file())
    return [path for path in files if path.parent.name != "leases"]


def assert_ended_as_if_undisturbed(store: Store, reference: Finished) -> str:
    """Exactly one finished run, equal to the reference to the last bit; its id."""
    found = Finished(store, reference.ended)
    assert store.history(found.run_id) == reference.store.history(reference.run_id)
    ours, theirs = store.latest(found.run_id), reference.store.latest(reference.run_id)
    assert ours == theirs
    assert store.params(found.run_id) == reference.store.params(reference.run_id)
    assert found.artifacts == reference.artifacts
    tags = store.tags(found.run_id)
    assert (tags["state"], tags["diverged"]) == ("finished", "false")
    assert layers_of(tags) == layers_of(reference.store.tags(reference.run_id))
    assert files_left(store.path.parent) == []
    return found.run_id
