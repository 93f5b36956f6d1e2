"""Train one configuration and log it to MLflow: ``python -m suite.train --optimizer adam``.

The same configuration started again goes on where it was interrupted, in the same MLflow run; a
finished one says so. ``mlflow run . -P optimizer=adam`` ends here too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from suite.basics.cli import (
    BAD_INPUT,
    INTERRUPTED,
    Parser,
    add_settings,
    chosen,
    complain,
    parse_known,
)
from suite.basics.errors import first_line
from suite.basics.project_run import VARIABLE, project_run
from suite.basics.settings import ConfigError
from suite.basics.stopping import StopRequest
from suite.declarations.config import RunConfig
from suite.declarations.experiments import PRESETS
from suite.declarations.machine import Machine
from suite.worker.messages import Event, FleetStart, Job

if TYPE_CHECKING:
    from suite.declarations.results import RunResult
    from suite.sweep.display import RunDisplay
    from suite.worker.worker import Turn, Worker

FAILED = 1
OPTIONS = ("preset", "experiment", "tracking_uri", "force")


def parser(preset: str = "demo") -> Parser:
    """The command line of one run."""
    made = Parser(
        prog="python -m suite.train",
        description="Train one configuration and log it to MLflow.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    made.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help="what the settings below start from: demo (embedded data, about a minute on a "
        "laptop) or paper (one run of the paper's main grid on CIFAR-10) (default demo)",
    )
    made.add_argument(
        "--experiment", help="MLflow experiment (default MLflow's own: Default, or the environment)"
    )
    made.add_argument(
        "--tracking-uri", help="MLflow store (default $MLFLOW_TRACKING_URI, mlflow.db)"
    )
    made.add_argument(
        "--force",
        action="store_true",
        help="train again although a finished run is there; the new one replaces it",
    )
    add_settings(made, RunConfig, "the run", PRESETS[preset])
    add_settings(made, Machine, "the machine (changes a run by rounding at most)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 done, 1 failed, 2 impossible input, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parse(argv)
        config = RunConfig.parse(
            dict(PRESETS[getattr(arguments, "preset", "demo")]) | chosen(arguments, RunConfig)
        )
        machine = Machine.parse(chosen(arguments, Machine))
    except ConfigError as error:
        return _refuse(error)
    return _train(config, machine, arguments)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    peek = Parser(add_help=False, allow_abbrev=False)
    peek.add_argument("--preset", default="demo")
    preset = peek.parse_known_args(argv)[0].preset
    known = (*RunConfig.names(), *Machine.names(), *OPTIONS)
    return parse_known(parser(preset if preset in PRESETS else "demo"), argv, known)


def _refuse(error: Exception) -> int:
    """Answer impossible input; a run which ``mlflow run`` has begun for it is removed."""
    complain(error)
    if VARIABLE in os.environ:
        from suite.basics.mlflow_client import default_uri

        uri = default_uri()
        if run_id := project_run(uri):
            _discard(run_id, uri)
    return BAD_INPUT


def _discard(run_id: str, tracking_uri: str) -> None:
    from suite.tracking.discard import discard_later

    discard_later(run_id, tracking_uri)


def _train(config: RunConfig, machine: Machine, arguments: argparse.Namespace) -> int:
    """Train the run as a worker's job of one run."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from suite.data.parts import DataError
    from suite.engine.checkpoint import CheckpointError
    from suite.engine.device import threads_for, torch_device
    from suite.engine.fleet import Interrupted
    from suite.engine.preparation import data_key, load_data
    from suite.sweep.display import RunDisplay
    from suite.tracking.moved import notices
    from suite.worker.worker import Worker
    from suite.worker.write_queue import WriteError

    try:
        torch_device(machine.device)
        data, config = load_data(config, machine)
    except (ConfigError, DataError) as error:
        return _refuse(error)
    threads = machine.threads or threads_for(config, data)
    try:
        job = _job(config, machine.model_copy(update={"threads": threads}), vars(arguments))
        with StopRequest() as stop, RunDisplay() as display:
            told = Told(config, job, display)
            worker = Worker(job, told.take, stop.requested, loaded={data_key(config): data})
            worker.workspace.leases.check()
            for line in notices(worker.tracker, worker.workspace, [config.fingerprint]):
                print(line, file=sys.stderr)
            with worker:
                worker.upload_kept()
                turn = worker.run_one()
                while turn.found == "trained" and not turn.results and not told.failed:
                    turn = worker.run_one()  # its lease was lost with a connection
        return _conclude(turn, told, worker)
    except ConfigError as error:
        return _refuse(error)
    except (Interrupted, KeyboardInterrupt):
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return INTERRUPTED
    except (CheckpointError, WriteError, MlflowException, SQLAlchemyError, OSError) as error:
        complain(RuntimeError(first_line(error)))
        return FAILED


def _job(config: RunConfig, machine: Machine, options: Mapping[str, Any]) -> Job:
    """What the worker needs to know."""
    from suite.basics.mlflow_client import default_uri
    from suite.basics.server import await_server, is_server
    from suite.state.leases import lease_database
    from suite.state.place import locate
    from suite.sweep.study import default_storage
    from suite.tracking.store import one_name

    uri = one_name(options.get("tracking_uri", "") or default_uri())
    if is_server(uri):
        await_server(uri)
    experiment = options.get("experiment", "")
    return Job(
        configs=[config],
        parents={},
        experiment=experiment,
        tracking_uri=uri,
        state_dir=locate(machine.state_dir, uri),
        machine=machine,
        fleet=1,
        retries=0,
        workers=1,
        index=0,
        lease_database=lease_database(uri, default_storage(uri)),
        force=options.get("force", False),
        adopt=project_run(uri, experiment=experiment),
    )


class Told:
    """What the worker has told of the run, shown as it comes.

    Parameters
    ----------
    config, job
        The run, and the worker's job.
    display
        Where progress is shown.

    Attributes
    ----------
    run_id
        MLflow's id, once MLflow has all of the run.
    failed
        Whether it broke.
    """

    def __init__(self, config: RunConfig, job: Job, display: RunDisplay) -> None:
        self.config, self.job, self.display = config, job, display
        self.run_id, self.failed = "", False
        self._unneeded = job.adopt  # what ``mlflow run`` has begun, until the run trains in it

    def take(self, event: Event) -> None:
        """Take in an event of the worker, which tells them from two threads."""
        if event.kind == "fleet":
            self._start(event.content)
        elif event.kind == "epoch":
            self.display.advance(event.content)
        elif event.kind == "notice":
            print(event.content, file=sys.stderr)
        elif event.kind == "finished" and event.content.result.config == self.config:
            self.run_id = event.content.run_id
        elif event.kind == "failed":
            self.failed = True
            complain(RuntimeError(event.content[2]))

    def _start(self, start: FleetStart) -> None:
        (run_id,) = start.run_ids
        if run_id == self.job.adopt:
            self._unneeded = ""
        elif run_id:
            print(f"going on with run {run_id} after epoch {start.epoch} of {start.epochs}")
        self.discard_unneeded()
        self.display.start(start)

    def discard_unneeded(self) -> None:
        """Remove the run that ``mlflow run`` has begun, if this one does not train in it."""
        if self._unneeded:
            _discard(self._unneeded, self.job.tracking_uri)
        self._unneeded = ""


def _conclude(turn: Turn, told: Told, worker: Worker) -> int:
    """Say how it went; the run of ``mlflow run`` that nobody needed is removed."""
    config, tracker = told.config, worker.tracker
    told.discard_unneeded()
    if turn.results:
        _report(turn.results[0])
        where = f"run {told.run_id} in experiment" if told.run_id else "experiment"
        print(f"{where} {tracker.experiment_name!r}; to look: mlflow ui")
        return 0
    if told.failed or turn.found == "trained":
        return FAILED
    if turn.found == "held":
        waits = worker.workspace.has_result(config.fingerprint)
        why = "is trained and waits for MLflow" if waits else "is being trained by another process"
        print(f"{config.run_name} {why}; try again later", file=sys.stderr)
        return FAILED
    finished = tracker.finished(config.fingerprint)
    print(f"{config.run_name} is finished already (run {finished}); --force trains it again")
    return 0


def _report(run: RunResult) -> None:
    summary = run.summary
    if run.diverged:
        print(f"diverged in epoch {summary['epochs_trained']:.0f}: the loss is not finite")
    if "best_epoch" in summary:
        interpolation = summary.get("interpolation_epoch")
        fitted = f"epoch {interpolation:.0f}" if interpolation else "never"
        print(
            f"test accuracy {summary['test_accuracy']:.2%} at τ_best = epoch "
            f"{summary['best_epoch']:.0f}; training accuracy 99.5 % reached: {fitted}; "
            f"kernel norm {summary['kernel_norm_initial']:.3g} → {summary['kernel_norm_best']:.3g}"
        )


if __name__ == "__main__":
    sys.exit(main())
