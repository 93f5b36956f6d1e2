"""What is written of a run whose lease or files go meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from suite.engine.checkpoint import RefusedError
from suite.worker.uploads import Uploads
from suite.worker.write_queue import WriteError

LONG = 60.0  # seconds which a test never waits unless it fails


class Notes(list[str]):
    """What a person was told."""


@pytest.fixture
def notes() -> Notes:
    return Notes()


class Answers:
    """A workspace that says, one after the other, whether a lease is held."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)

    def is_held(self, _lease: Any) -> bool:
        return self.answers.pop(0)


@pytest.mark.parametrize("still_held", [False, True])
def test_files_that_go_are_an_error_only_while_the_lease_is_held(
    notes: Notes, still_held: bool
) -> None:
    workspace: Any = Answers(True, still_held)
    uploads = Uploads(cast("Any", None), workspace, "cpu", notes.append)
    run: Any = SimpleNamespace(lease=None)

    def write(_run: Any) -> None:
        raise FileNotFoundError("result.json")

    uploads._submit(run, write)
    if still_held:
        with pytest.raises(WriteError, match=r"result\.json"):
            uploads.queue.drain(LONG)
    else:
        assert uploads.queue.drain(LONG) == 0
    assert workspace.answers == []
    uploads.queue.close()


def test_a_file_found_damaged_while_writing_ends_its_run_for_now_and_no_other(notes: Notes) -> None:
    workspace: Any = Answers(True)
    uploads = Uploads(cast("Any", None), workspace, "cpu", notes.append)
    released: list[bool] = []
    lease = SimpleNamespace(release=lambda: released.append(True))
    run: Any = SimpleNamespace(lease=lease, config=SimpleNamespace(run_name="sgd b32"))

    def write(_run: Any) -> None:
        raise RefusedError("result: result.json cannot be read (digest)", "train its run again")

    uploads._submit(run, write)
    assert uploads.queue.drain(LONG) == 0
    assert released == [True]
    assert notes == [
        "result: result.json cannot be read (digest); the next start trains sgd b32 anew"
    ]
    uploads.queue.close()
