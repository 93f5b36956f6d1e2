"""Train one configuration and log it to MLflow: ``python -m suite.train --optimizer adam``.

The same configuration started again goes on where it was interrupted, in the same MLflow run; a
finished one says so. ``mlflow run . -P optimizer=adam`` ends here too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
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
from suite.basics.settings import ConfigError
from suite.declarations.config import RunConfig
from suite.declarations.experiments import PRESETS
from suite.declarations.machine import Machine

if TYPE_CHECKING:
    from suite.tracking.runs import Tracker

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
    add_settings(made, Machine, "the machine (never changes the numbers of a run)")
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
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        import mlflow

        _discard(run_id, mlflow.get_tracking_uri())
    return BAD_INPUT


def _discard(run_id: str, tracking_uri: str) -> None:
    from suite.tracking.discard import discard_later

    discard_later(run_id, tracking_uri)


def _train(config: RunConfig, machine: Machine, arguments: argparse.Namespace) -> int:
    from mlflow.exceptions import MlflowException

    from suite.data.parts import DataError
    from suite.engine.checkpoint import CheckpointError
    from suite.engine.device import load_data, set_threads, threads_for, torch_device
    from suite.state.leases import lease_database
    from suite.state.place import locate
    from suite.state.workspace import Workspace
    from suite.sweep.progress import Progress
    from suite.sweep.study import default_storage
    from suite.tracking.runs import Tracker
    from suite.worker.session import FINAL_WAIT, Session
    from suite.worker.stopping import StopRequest
    from suite.worker.writer import WriteError

    options = vars(arguments)
    try:
        device = torch_device(machine.device)
        data, config = load_data(config, machine)
        set_threads(machine.threads or threads_for(config, data))
    except (ConfigError, DataError) as error:
        return _refuse(error)
    try:
        tracker = Tracker(options.get("experiment", ""), options.get("tracking_uri", ""))
        workspace = Workspace.of(
            tracker,
            locate(machine.state_dir, tracker.uri),
            lease_database(tracker.uri, default_storage(tracker.uri)),
        )
        workspace.leases.check()
        session = Session(
            tracker,
            workspace,
            data,
            device,
            source=machine.source(config.dataset),
            checkpoints=machine.checkpoint == "on",
            notify=lambda line: print(line, file=sys.stderr),
        )
        session.upload_kept()
        session.writer.drain(FINAL_WAIT)
        with StopRequest() as stop, Progress() as progress:
            return _run(session, config, options, stop.requested, progress)
    except ConfigError as error:
        return _refuse(error)
    except (CheckpointError, WriteError, MlflowException, OSError) as error:
        complain(error)
        return FAILED


def _run(session: Any, config: RunConfig, options: dict[str, Any], stop: Any, progress: Any) -> int:
    """Find the run's place in MLflow, train it, and say how it went."""
    from suite.engine.checkpoint import CheckpointError
    from suite.engine.fleet import Interrupted
    from suite.worker.held_run import FleetError

    tracker: Tracker = session.tracker
    begun = os.environ.get("MLFLOW_RUN_ID")
    claim = session.claim(config)
    if claim is None:
        waits = session.workspace.has_result(config.fingerprint)
        why = "is trained and waits for MLflow" if waits else "is being trained by another process"
        print(f"{config.run_name} {why}; try again later", file=sys.stderr)
        session.writer.close()
        if begun:
            _discard(begun, tracker.uri)
        return FAILED
    finished = tracker.finished(config.fingerprint)
    if finished and not options.get("force"):
        print(f"{config.run_name} is finished already (run {finished}); --force trains it again")
        claim.lock.release()
        if begun:
            _discard(begun, tracker.uri)
        return 0
    claim.run_id = tracker.unfinished(config.fingerprint)
    if begun and claim.run_id is None:
        claim.run_id = begun
    elif begun:
        _discard(begun, tracker.uri)
    if claim.run_id and claim.run_id != begun:
        at = claim.state.epoch if claim.state else 0
        print(f"going on with run {claim.run_id} after epoch {at} of {config.epochs}")
    progress.start([config], session.data, claim.state.epoch if claim.state else 0)
    try:
        (run,) = session.train([claim], on_epoch=progress.advance, interrupted=stop)
    except Interrupted:
        session.close(interrupted=True)
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return INTERRUPTED
    except CheckpointError:
        session.close(interrupted=True)
        raise
    except FleetError as error:
        session.fail(claim, error.error)
        session.close()
        complain(error)
        return FAILED
    progress.stop()
    session.close()
    _report(run, str(claim.run_id), tracker)
    return 0


def _report(run: Any, run_id: str, tracker: Tracker) -> None:
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
    print(f"run {run_id} in experiment {tracker.experiment_name!r}; to look: mlflow ui")


if __name__ == "__main__":
    sys.exit(main())
