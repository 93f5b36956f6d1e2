"""The training command in processes of its own, started fast, and killed where a test says.

Importing torch and MLflow takes seconds. A *nursery* does it once and forks a process for every
command from there, before torch has computed anything; apart from that the process is that of
``python -m suite.train``. A test can have it killed (SIGKILL) just before or after one call of one
function, which is the crash that no code of the process sees coming.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Crash:
    """Where a command kills itself: before or after the nth call of ``module:Class.function``."""

    function: str
    call: int = 1
    after: bool = False

    def __str__(self) -> str:
        when = "after" if self.after else "before"
        return f"{when} call {self.call} of {self.function.split(':')[1]}"


@dataclass
class Ended:
    """A command that has ended: its exit code (negative: the signal) and what it printed."""

    code: int
    out: str
    err: str


class Command:
    """A training command under way."""

    def __init__(self, nursery: Nursery, pid: int, folder: Path) -> None:
        self.nursery, self.pid, self.folder = nursery, pid, folder

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Ended:
        code = self.nursery.ask({"wait": self.pid})
        out, err = (
            (self.folder / f"{self.pid}.{stream}").read_text(encoding="utf-8")
            for stream in ("out", "err")
        )
        return Ended(code, out, err)


class Nursery:
    """Starts training commands."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, request: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(
        self,
        arguments: list[str],
        folder: Path,
        *,
        crash: Crash | None = None,
        environment: dict[str, str] | None = None,
        checkpoint_every_epoch: bool = True,
        largest_file: int | None = None,
    ) -> Command:
        """Begin ``python -m suite.train ARGUMENTS`` in `folder`."""
        request = {
            "arguments": arguments,
            "folder": str(folder),
            "crash": [crash.function, crash.call, crash.after] if crash else None,
            "environment": environment or {},
            "checkpoint_every_epoch": checkpoint_every_epoch,
            "largest_file": largest_file,
        }
        return Command(self, self.ask(request), folder)

    def run(self, arguments: list[str], folder: Path, **options: Any) -> Ended:
        """Run a command to its end."""
        return self.start(arguments, folder, **options).wait()

    def close(self) -> None:
        self.process.kill()  # its own end would take seconds
        self.process.communicate()


def _plant(function: str, call: int, after: bool) -> None:
    """Kill this process before or after one call of a function."""
    module, path = function.split(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original, calls = getattr(owner, name), [0]

    def deadly(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **named)
        if calls[0] == call and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


def _child(request: dict[str, Any]) -> int:
    folder = Path(request["folder"])
    for stream, descriptor in (("out", 1), ("err", 2)):
        file = (folder / f"{os.getpid()}.{stream}").open("w", encoding="utf-8")
        os.dup2(file.fileno(), descriptor)
    os.chdir(folder)
    os.environ.update(request["environment"])
    from suite import train
    from suite.worker import pace

    if request["checkpoint_every_epoch"]:
        pace.Pace.due = lambda _self: True  # type: ignore[method-assign]
    if request["largest_file"]:
        limit = request["largest_file"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if request["crash"]:
        _plant(*request["crash"])
    return train.main(request["arguments"])


def _serve() -> None:
    """Answer each request with a process id, or with the exit code of an ended process."""
    # All that a command imports, so that each is spared it.
    import git  # noqa: F401  (MLflow asks it for the commit)
    import sklearn.datasets
    from mlflow.store.tracking import sqlalchemy_store  # noqa: F401

    import suite.sweep.display
    import suite.sweep.study
    import suite.worker.worker  # noqa: F401

    sklearn.datasets.load_digits = cache(sklearn.datasets.load_digits)
    sklearn.datasets.load_digits()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = _child(request)
            except SystemExit as ended:
                code = int(ended.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(pid, file=answers, flush=True)


if __name__ == "__main__":
    _serve()
