"""The command, from a store with known β(t) to its figures and words."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import mlflow
import numpy as np
import pytest
from matplotlib.figure import Figure
from store_helpers import empty_store, write

from analysis.estimates.overview import Estimates, estimate
from analysis.exhibits import phase_diagram as shown
from analysis.exhibits.phase_diagram import (
    boundary_lines,
    collapse_lines,
    recipe_table,
    unknown_lines,
)
from analysis.phase_diagram import main
from analysis.store.frames import load
from benchmarks.synthetic_store import Faults
from benchmarks.synthetic_truth import Truth
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.factorial import Experiment

SCALES, SEEDS = (0.1, 1.0, 2.5), (0, 1, 42)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "cache"))


def forgets_by_rate(config: RunConfig) -> np.ndarray:
    """SGD that loses β on the clock T_SGD, here without its schedule."""
    epoch = np.arange(1, config.epochs + 1)
    return -0.1 * np.exp(
        -epoch * (config.learning_rate / 1e-2) ** 2 * (16 / config.batch_size) ** 2
    )


def sweep(**axes: Sequence[object]) -> Experiment:
    whole = {"sigma_w": SCALES, "seed": SEEDS, "batch_size": (16, 64), **axes}
    fixed = {"dataset": "digits", "epochs": 12, "optimizer": "sgd", "schedule": "constant"}
    fixed = {name: value for name, value in fixed.items() if name not in whole}
    return dataclasses.replace(EXPERIMENTS["demo"], axes=whole, fixed=fixed)


def stored(folder: Path, faults: Faults | None = None, **axes: Sequence[object]) -> str:
    folder.mkdir(exist_ok=True)
    uri = empty_store(folder)
    configs = list(sweep(**axes).configs())
    truth = Truth(0, float(np.mean(SCALES)), chosen_beta=forgets_by_rate)
    write(uri, configs, experiment="plane", truth=truth, faults=faults)
    return uri


def estimated(uri: str) -> Estimates:
    return estimate(load("plane", uri), resamples=100)


def only_the_plane(found: Estimates, name: str) -> tuple[str, Figure]:
    """Of an experiment's figures the one that is quick to draw."""
    return "memory-plane", shown.plane(found, name)


def run(uri: str, out: Path, *more: str) -> int:
    return main(["--tracking-uri", uri, "--out", str(out), *more])


def test_a_sweep_over_rates_and_batch_sizes_is_drawn_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = stored(tmp_path, learning_rate=(1e-3, 1e-2, 1e-1))
    assert run(uri, tmp_path / "figures", "--format", "svg") == 0
    names = ["accuracy-by-sigma-w", "accuracy-map", "memory-plane", "phase-diagram", "collapse"]
    written = [f"plane-{name}.svg" for name in names]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(written)
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.removeprefix("wrote ")).name for line in lines if "wrote" in line] == written
    assert lines[0] == "experiment plane: 54 finished runs"


def test_recipes_boundary_and_collapse_of_a_known_sweep(tmp_path: Path) -> None:
    found = estimated(stored(tmp_path, learning_rate=(1e-3, 1e-2, 1e-1)))
    verdicts = found.recipes.set_index(["learning_rate", "batch_size"])["verdict"]
    assert verdicts[1e-3, 16] == verdicts[1e-3, 64] == "remembers"
    assert (verdicts.loc[1e-1] == "forgets").all()
    sgd = found.boundaries.set_index("clock").loc["T_SGD"]
    ends = found.recipes.groupby("verdict")["T_SGD"]
    assert ends.max()["remembers"] < sgd["value"] < ends.min()["forgets"]
    assert boundary_lines(found)[0].startswith(f"boundary on T_SGD: {sgd['value']:.3g} [")
    assert len(collapse_lines(found)) == 3
    table = recipe_table(found).splitlines()
    assert len(table) == 1 + 6 + 1
    assert table[1].split()[:2] == ["η=0.001", "b16"]
    assert table[1].endswith("remembers")
    assert not unknown_lines(found)


def test_memory_in_the_table_is_the_spread_of_the_means(tmp_path: Path) -> None:
    found = estimated(stored(tmp_path, learning_rate=(1e-3,)))
    means = found.scales.groupby("recipe")["mean"]
    spread = (means.max() - means.min()).reindex(found.recipes["recipe"])
    np.testing.assert_allclose(found.recipes["memory"], spread)
    words = [line.split() for line in recipe_table(found).splitlines()[1:3]]
    assert [row[1] for row in words] == [f"{100 * value:.1f}" for value in spread]


def test_half_a_sweep_is_drawn_and_what_is_missing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = Faults(missing=10, unfinished=4, diverged=2)
    uri = stored(tmp_path, faults, learning_rate=(1e-3, 1e-1))
    assert run(uri, tmp_path / "figures") == 0
    said = capsys.readouterr().out
    assert "unfinished runs: 4" in said
    assert "runs diverged: " in said
    assert (tmp_path / "figures" / "plane-phase-diagram.png").stat().st_size > 10_000


def test_one_scale_only_draws_accuracy_and_says_what_cannot_be_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = stored(tmp_path, sigma_w=(1.0,))
    assert run(uri, tmp_path / "figures") == 0
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["plane-accuracy-by-sigma-w.png", "plane-accuracy-map.png"]
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("sigma_w: 2 of 2 recipes have fewer than two")]
    assert not [line for line in said if line.startswith(("seed:", "collapse:"))]


def test_one_seed_only_draws_memory_without_an_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = stored(tmp_path, seed=(42,))
    assert run(uri, tmp_path / "figures") == 0
    assert (tmp_path / "figures" / "plane-phase-diagram.png").exists()
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("seed: 2 of 2 recipes have one seed")]
    rows = [line for line in said if line.startswith(("b16", "b64"))]
    assert [row.split()[-1] for row in rows] == ["unknown", "unknown"]


def test_one_recipe_has_neither_plane_nor_collapse(tmp_path: Path) -> None:
    lines = unknown_lines(estimated(stored(tmp_path, batch_size=(64,))))
    assert [line.partition(":")[0] for line in lines] == [
        "memory over learning rate × batch size",
        "collapse",
    ]


def test_the_figures_and_the_memory_of_each_recipe_are_logged_as_an_analysis(
    tmp_path: Path,
) -> None:
    uri = stored(tmp_path, learning_rate=(1e-3,))
    recipes = estimated(uri).recipes.set_index("batch_size")
    assert run(uri, tmp_path / "figures", "--format", "svg") == 0
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("analysis")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.run_name == "phase_diagram plane"
    assert logged.data.tags["kind"] == "phase_diagram"
    found = logged.data.metrics["memory_pp/plane/b16"]
    assert found == pytest.approx(100 * recipes["memory"][16])
    kept = {Path(item.path).name for item in client.list_artifacts(logged.info.run_id, "figures")}
    assert kept == {path.name for path in (tmp_path / "figures").iterdir()}
    assert load("", uri).experiment == "plane"


def test_nothing_is_logged_where_it_is_not_wanted(tmp_path: Path) -> None:
    uri = stored(tmp_path, sigma_w=(1.0,))
    assert run(uri, tmp_path / "figures", "--no-log") == 0
    assert mlflow.MlflowClient(uri).get_experiment_by_name("analysis") is None


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--format", "gif"], "error: format: must be of png, svg, pdf, got 'gif'; e.g. png,svg"),
        (["--format", ""], "error: format: must be of png, svg, pdf, got ''; e.g. png,svg"),
        (["--formt", "svg"], "error: formt: is no setting, got 'svg'; did you mean format?"),
        (["--out"], "error: --out: expected one argument; --help lists all settings"),
        (["demo"], "error: demo: is no flag; --help lists all settings"),
    ],
)
def test_a_bad_command_line_is_answered_in_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines() == [line]


def test_an_empty_store_and_an_unknown_experiment_are_answered_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = empty_store(tmp_path)
    assert run(uri, tmp_path / "figures") == 2
    assert run(uri, tmp_path / "figures", "--experiment", "maim") == 2
    empty, unknown = capsys.readouterr().err.splitlines()
    assert "holds no run" in empty
    assert "'maim'" in unknown
    assert not (tmp_path / "figures").exists()


def test_a_folder_that_cannot_be_written_is_answered_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = stored(tmp_path, sigma_w=(1.0,))
    (tmp_path / "file").write_text("")
    assert run(uri, tmp_path / "file") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out: must be a folder that can be written, got ")


def test_the_command_needs_no_torch() -> None:
    modules = "sys, analysis.phase_diagram, analysis.exhibits.phase_diagram"
    code = f"import {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_several_experiments_are_drawn_each_and_together_with_common_runs_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "figures", lambda found, name: iter([only_the_plane(found, name)]))
    uri = stored(tmp_path, learning_rate=(1e-3, 1e-2))
    more = list(sweep(learning_rate=(1e-2, 1e-1)).configs())
    truth = Truth(0, float(np.mean(SCALES)), chosen_beta=forgets_by_rate)
    write(uri, more, experiment="more", truth=truth)
    words = ["--experiment", "plane,more", "--format", "svg", "--no-log"]
    assert run(uri, tmp_path / "figures", *words) == 0
    said = capsys.readouterr().out
    assert (
        "plane,more: 6 recipes of 2 experiments together, 54 runs; "
        "18 runs are in two experiments and count once" in said
    )
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    each = {"plane-memory-plane.svg", "more-memory-plane.svg"}
    assert names == each | {"plane-more-phase-diagram.svg"}
    whole = stored(tmp_path / "whole", learning_rate=(1e-3, 1e-2, 1e-1))
    alone = recipe_table(estimated(whole)).splitlines()
    together = said[said.index("plane,more: ") :].splitlines()[1 : 1 + len(alone)]
    assert [line.split() for line in together] == [line.split() for line in alone]
