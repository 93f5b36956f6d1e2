"""What an earlier version of the suite has trained is taken up by this one, and nothing is lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from earlier_store import CUT_OFF, FINISHED, NOT_UPLOADED, TRAINED, Earlier, unpack
from numpy.testing import assert_allclose
from training_commands import Ended

from analysis.store import load
from suite import grid
from suite import train as train_command
from suite.declarations.config import parse
from suite.declarations.metrics import EPOCH_METRIC_NAMES


@pytest.fixture
def earlier(tmp_path: Path) -> Earlier:
    return unpack(tmp_path)


@pytest.fixture
def train(
    earlier: Earlier, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], Ended]:
    """The training command of a seed, where the earlier version was run."""
    monkeypatch.chdir(earlier.folder)

    def run(seed: str) -> Ended:
        code = train_command.main([*TRAINED, "--seed", seed])
        return Ended(code, *capsys.readouterr())

    return run


def history(earlier: Earlier, run_id: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for epoch, (name, step, value) in enumerate(earlier.store.history(run_id)):
        assert step == epoch % 4 + 1  # each epoch once
        found.setdefault(name, []).append(value)
    return found


def test_a_finished_run_is_not_trained_again(
    train: Callable[[str], Ended], earlier: Earlier
) -> None:
    before = earlier.run(FINISHED)
    ended = train(FINISHED)
    assert (ended.code, ended.err) == (0, "")
    assert "is finished already" in ended.out
    assert before[0] in ended.out
    assert earlier.run(FINISHED) == before


@pytest.mark.parametrize("seed", [CUT_OFF, NOT_UPLOADED])
def test_a_run_that_was_killed_ends_in_its_own_mlflow_run_with_the_numbers_of_one_that_was_not(
    train: Callable[[str], Ended], earlier: Earlier, seed: str
) -> None:
    run_id, status = earlier.run(seed)
    assert status == "RUNNING"
    ended = train(seed)
    assert ended.code == 0, ended.err
    assert earlier.run(seed) == (run_id, "FINISHED")
    found = history(earlier, run_id)
    assert set(found) == set(EPOCH_METRIC_NAMES)
    for name, values in earlier.uninterrupted(seed).items():
        assert_allclose(found[name], values, rtol=1e-9)


def test_a_cut_off_run_goes_on_from_its_checkpoint(
    train: Callable[[str], Ended], earlier: Earlier
) -> None:
    assert "after epoch 2 of 4" in train(CUT_OFF).out


def test_a_run_of_an_experiment_that_was_renamed_goes_on_under_the_new_name(
    train: Callable[[str], Ended], earlier: Earlier, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier.store.execute("UPDATE experiments SET name = 'renamed' WHERE name = 'earlier'")
    monkeypatch.setattr(
        sys.modules[__name__], "TRAINED", [word.replace("earlier", "renamed") for word in TRAINED]
    )
    ended = train(CUT_OFF)
    assert ended.code == 0, ended.err
    assert "after epoch 2 of 4" in ended.out
    assert "state_dir" not in ended.err


def test_a_cut_off_run_whose_store_was_moved_since_is_named_with_where_its_state_lies(
    train: Callable[[str], Ended], earlier: Earlier
) -> None:
    """The version before named the folder by a path, so nobody can know that it is the same."""
    folder = earlier.state("earlier")
    folder.rename(folder.with_name("earlier-01234567"))
    ended = train(CUT_OFF)
    assert ended.code == 0, ended.err
    line = ended.err.splitlines()[0]
    assert line.startswith("state_dir: 1 of the runs that start anew are half trained")
    assert f"in {earlier.folder}/state/earlier-01234567, which is of another store" in line
    assert "after epoch 0 of 4" in ended.out


@pytest.mark.usefixtures("in_this_process")
def test_a_finished_sweep_has_nothing_to_do_and_more_seeds_are_all_that_is_trained(
    earlier: Earlier, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def sweep(*more: str) -> str:
        sizes = ["--workers", "1", "--fleet", "2", "--threads", "1"]
        assert grid.main(["--experiment", "earlier-sweep.toml", *sizes, *more]) == 0
        captured = capsys.readouterr()
        return captured.out + captured.err

    def trials() -> list[str]:
        storage = f"sqlite:///{earlier.folder / 'optuna.db'}"
        studies = optuna.get_all_study_summaries(storage)
        (name,) = (study.study_name for study in studies if study.n_trials == 8)
        found = optuna.load_study(study_name=name, storage=storage).trials
        return sorted(trial.user_attrs["fingerprint"] for trial in found)

    for name, value in grid.QUIET.items():  # set here, so that they are undone
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SUITE_CACHE_DIR", str(earlier.folder / "cache"))
    monkeypatch.chdir(earlier.folder)
    runs = load("earlier-sweep", earlier.store.uri, cache=False).runs
    assert trials() == sorted(runs["fingerprint"])
    assert "nothing to do" in sweep()
    assert trials() == sorted(runs["fingerprint"])
    assert "4 of 12 runs to do" in sweep("--set", "seed=0,1,2")
    after = load("earlier-sweep", earlier.store.uri, cache=False).runs
    assert len(after) == 12
    assert set(runs["run_id"]) < set(after["run_id"])


def test_the_analysis_reads_what_an_earlier_version_wrote(earlier: Earlier) -> None:
    found = load("earlier-sweep", earlier.store.uri, cache=False)
    assert not found.problems
    assert len(found.history) == 8 * 3
    fields = [name for name in found.runs.columns if name in parse({}).names()]
    for row in found.runs.to_dict("records"):
        assert parse({name: row[name] for name in fields}).fingerprint == row["fingerprint"]
