"""The right to train a run: of one process at a time, whatever state directory it has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kept_run import KEY, STORE

from suite.engine.checkpoint import CheckpointError
from suite.state.workspace import Workspace

pytestmark = pytest.mark.usefixtures("beside_its_store")

HOLDER = """
import sys
from pathlib import Path
from suite.state.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]), ("sqlite:///mlflow.db", "0"))
for line in sys.stdin:
    word, fingerprint = line.split()
    if word == "lease":
        held = workspace.take_lease(fingerprint)
        print("held" if held else "busy", flush=True)
    else:
        held.release()
        print("released", flush=True)
"""


class Holder:
    """Another process which takes leases."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-c", HOLDER, str(root)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    made = Holder(tmp_path)
    yield made
    made.end()


def test_a_lease_is_for_one_process_and_ends_with_it_however_it_dies(
    workspace: Workspace, holder: Holder
) -> None:
    assert holder.ask(f"lease {KEY}") == "held"
    assert workspace.take_lease(KEY) is None
    assert workspace.take_lease("0" * 16) is not None  # other runs are free
    assert holder.ask(f"release {KEY}") == "released"
    ours = workspace.take_lease(KEY)
    assert ours is not None
    assert holder.ask(f"lease {KEY}") == "busy"
    ours.release()
    assert holder.ask(f"lease {KEY}") == "held"
    assert workspace.take_lease(KEY) is None
    os.kill(holder.process.pid, signal.SIGKILL)
    holder.process.wait()
    assert workspace.take_lease(KEY) is not None


def test_a_process_does_not_take_a_run_twice(workspace: Workspace, tmp_path: Path) -> None:
    first = workspace.take_lease(KEY)
    assert first is not None
    assert workspace.take_lease(KEY) is None
    assert Workspace(tmp_path, STORE).take_lease(KEY) is None
    first.release()
    assert workspace.take_lease(KEY) is not None


def test_two_state_directories_on_one_sqlite_store_share_its_leases(tmp_path: Path) -> None:
    first, second, default = (
        Workspace(root, STORE) for root in (tmp_path / "a", tmp_path / "b", tmp_path / "state")
    )
    lease = first.take_lease(KEY)
    assert lease is not None
    assert second.take_lease(KEY) is None
    assert default.take_lease(KEY) is None
    lease.release()
    lease = default.take_lease(KEY)
    assert lease is not None
    assert second.take_lease(KEY) is None
    lease.release()
    assert second.take_lease(KEY) is not None  # what it could not have in both, it has in neither


def test_a_state_directory_that_is_reached_through_a_link_does_not_keep_itself_out(
    tmp_path: Path,
) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "state").symlink_to("large disk")
    workspace = Workspace(tmp_path / "large disk", STORE)
    assert workspace.take_lease(KEY) is not None
    with workspace.leases.exclusively("recipes"):
        pass


def test_where_leases_are_shared_and_cannot_be_the_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(
        CheckpointError, match="where all that use the SQLite store beside it share"
    ):
        Workspace(tmp_path / "elsewhere", STORE).take_lease(KEY)


def test_short_work_on_one_sqlite_store_is_done_by_one_state_directory_at_a_time(
    tmp_path: Path,
) -> None:
    first, second = (Workspace(tmp_path / name, STORE).leases for name in "ab")
    entered = threading.Event()

    def enter() -> None:
        with second.exclusively("recipes"):
            entered.set()

    other = threading.Thread(target=enter)
    with first.exclusively("recipes"):
        other.start()
        assert not entered.wait(0.3)
    assert entered.wait(30)
    other.join()


def test_equal_runs_of_other_stores_and_experiments_are_other_runs(tmp_path: Path) -> None:
    stores = [("sqlite:///a.db", "0"), ("sqlite:///b.db", "0"), ("sqlite:///a.db", "1")]
    workspaces = [Workspace(tmp_path, store) for store in stores]
    leases = [workspace.take_lease(KEY) for workspace in workspaces]
    assert None not in leases
    assert len({workspace.folder for workspace in workspaces}) == 3
