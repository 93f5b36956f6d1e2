"""What is read off the minimal model, and its command."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from analysis.minimal_model import command as minimal_model
from analysis.minimal_model import measurements
from analysis.output import OutputFolder
from suite.minimal_model import experiments


def synthetic_curves(time_of_forgetting, noise=0.0):
    """Exponential curves whose time constant is a function of the setting, for every experiment."""
    generator = np.random.default_rng(0)
    frames = []
    for experiment in experiments.CLOCKS:
        for setting in experiment.settings():
            scale = time_of_forgetting(experiment, setting) * np.exp(noise * generator.normal())
            steps = scale * np.linspace(0.0, 4.0, 2000)
            clocks = {name: setting.clock(name, steps) for name in measurements.CLOCK_NAMES}
            frame = pd.DataFrame({"fraction": np.exp(-steps / scale), **clocks})
            for column in measurements.SETTING:
                frame[column] = getattr(setting, column)
            frames.append(frame.assign(experiment=experiment.name))
    return pd.concat(frames, ignore_index=True)


def on_own_clock(experiment, setting):
    return 1.0 / setting.clock(experiment.clock, np.array([1]))[0]


@pytest.fixture(scope="module")
def perfect():
    return measurements.passing_times(synthetic_curves(on_own_clock))


def test_passing_times_are_those_of_the_exponential(perfect):
    rows = perfect[perfect["experiment"] == "finite_steps"]
    np.testing.assert_allclose(rows["T_SGD"], -np.log(rows["level"]), rtol=1e-4)
    assert set(rows["level"]) == set(experiments.CLOCKS[0].levels)


def test_a_curve_that_ends_above_a_level_has_no_passing_time():
    passed = measurements._first_passings(
        np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.8, 0.6]), (0.7, 0.5)
    )
    assert passed[0] == pytest.approx(1.5)
    assert np.isnan(passed[1])


def test_curves_that_share_a_clock_collapse_on_it_and_on_no_other(perfect):
    collapse = measurements.collapse(perfect).set_index(["experiment", "clock"])
    for experiment in experiments.CLOCKS:
        shares = collapse.loc[experiment.name, "residual_share"]
        assert shares[experiment.clock] < 1e-8
        assert shares["steps"] == 1.0
        assert (shares.drop(experiment.clock) > 0.1).all()


def test_spread_is_the_standard_deviation_of_the_log_passing_times():
    curves = synthetic_curves(on_own_clock, noise=0.3)
    passings = measurements.passing_times(curves)
    row = measurements.collapse(passings).set_index(["experiment", "clock"])
    half = passings[(passings["experiment"] == "norm_decay") & (passings["level"] == 0.5)]
    expected = np.log(half["T_L2"]).std(ddof=1)
    assert row.loc[("norm_decay", "T_L2"), "spread"] == pytest.approx(expected, rel=1e-3)
    assert 0 < row.loc[("norm_decay", "T_L2"), "spread_se"] < expected


def test_a_clock_that_stands_still_is_left_out(perfect):
    clocks = measurements.collapse(perfect).groupby("experiment")["clock"].agg(set)
    assert "T_L2" in clocks["norm_decay"]
    assert "T_L2" not in clocks["finite_steps"]


def test_collapse_without_a_common_level_is_refused(perfect):
    rows = perfect[perfect["experiment"] == "finite_steps"]
    first = (rows["learning_rate"] == 0.002) & (rows["level"] > 0.5)
    others = (rows["learning_rate"] != 0.002) & (rows["level"] < 0.5)
    with pytest.raises(ValueError, match="levels: one that every curve passes"):
        measurements.collapse(rows[first | others])


def test_exponents_of_exact_clocks_are_the_expected_ones(perfect):
    fits = measurements.clock_exponents(perfect)
    np.testing.assert_allclose(fits["exponent"], fits["expected"], atol=1e-6)


def test_exponents_and_errors_are_statsmodels_own_on_noisy_data():
    passings = measurements.passing_times(synthetic_curves(on_own_clock, noise=0.3))
    fits = measurements.clock_exponents(passings).set_index(["quantity", "axis"])
    rows = passings[passings["experiment"] == "finite_steps"]
    means = np.log(rows.set_index(measurements.SETTING)["steps"]).groupby(level=[0, 1, 2]).mean()
    fit = smf.ols("steps ~ np.log(learning_rate) + np.log(batch_size)", means.reset_index()).fit()
    for axis in ("learning_rate", "batch_size"):
        ours = fits.loc[("finite_steps", axis)]
        assert ours["exponent"] == pytest.approx(fit.params[f"np.log({axis})"])
        assert ours["standard_error"] == pytest.approx(fit.bse[f"np.log({axis})"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-1"], "seed: must be a whole number ≥ 0, got '-1'; try --seed 0"),
        (["--seed", "x"], "seed: must be a whole number ≥ 0, got 'x'; try --seed 0"),
        (
            ["--tracking-uri", "sqlite:///x.db"],
            "tracking_uri: acts only with --track, got",
        ),
        (["--out", "FILE"], "out: must be a folder that can be written, got "),
        (["--nonsense"], "nonsense: is no setting, got ''"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    arguments = [str(tmp_path / "file") if word == "FILE" else word for word in arguments]
    assert minimal_model.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"error: {message}")


def test_help_imports_no_library():
    """Nothing that takes seconds is loaded to print a usage."""
    check = (
        "import sys, contextlib\n"
        "from analysis.minimal_model.command import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "sys.exit(any(m in sys.modules for m in ('numpy', 'pandas', 'matplotlib', 'mlflow')))"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True).returncode == 0


def test_minimal_model_itself_imports_neither_torch_nor_mlflow_nor_plots():
    check = (
        "import sys, suite.minimal_model, suite.minimal_model.experiments as e\n"
        "import suite.minimal_model.orders\n"
        "rest = {m.split('.')[0] for m in sys.modules}\n"
        "sys.exit(bool(rest & {'torch', 'mlflow', 'matplotlib', 'pandas', 'statsmodels'}))"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return *minimal_model.produce(0, OutputFolder(folder, minimal_model.FORMATS)), folder


@pytest.mark.slow
def test_every_figure_and_curve_is_written(results):
    frames, files, folder = results
    assert {file.name for file in files} == {file.name for file in folder.iterdir()}
    assert {"figure9.png", "figure9.svg", "clocks.png", "clocks.svg"} <= {f.name for f in files}
    for name, frame in frames.items():
        again = pd.read_csv(folder / f"{name}.csv")
        assert list(again.columns) == list(frame.columns)
        assert len(again) == len(frame)


@pytest.mark.slow
def test_each_mechanism_collapses_on_its_own_clock_and_not_on_step_counts(results):
    collapse = results[0]["collapse"].set_index(["experiment", "clock"])["residual_share"]
    for experiment in experiments.CLOCKS:
        shares = collapse[experiment.name]
        assert shares.idxmin() == experiment.clock
        assert shares.min() < 0.03


@pytest.mark.slow
def test_fitted_exponents_are_near_the_orders(results):
    """Within the next order's reach at these rates, and with small standard errors."""
    fits = results[0]["exponents"]
    assert (np.abs(fits["exponent"] - fits["expected"]) < 0.2).all()
    assert (fits["standard_error"] < 0.05).all()


@pytest.mark.slow
def test_printed_imbalances_are_in_the_svg(results):
    drawing = (results[2] / "figure9.svg").read_text()
    for value in ("34.6", "3.1", "28.9", "26.6"):
        assert value in drawing


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_tracking_keeps_figures_curves_and_numbers_as_one_finished_run(
    results, tmp_path, monkeypatch
):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(minimal_model, "produce", lambda *_: results[:2])
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    minimal_model.main(["--track", "--tracking-uri", uri, "--out", str(tmp_path / "out")])
    (run,) = mlflow.MlflowClient(uri).search_runs(
        [mlflow.get_experiment_by_name("minimal_model").experiment_id]
    )
    artifacts = {item.path for item in mlflow.MlflowClient(uri).list_artifacts(run.info.run_id)}
    assert run.info.status == "FINISHED"
    assert run.data.metrics["final_imbalance/gd/eta_0.04"] == pytest.approx(-3.068, abs=1e-3)
    assert "exponent_standard_error/finite_steps/batch_size" in run.data.metrics
    assert "collapse_residual_share/norm_decay/T_L2" in run.data.metrics
    assert artifacts == {file.name for file in results[1]}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_address_that_mlflow_refuses_is_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    code = minimal_model.main(["--track", "--tracking-uri", "nonsense://x"])
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: --tracking-uri: an address that MLflow can write to")
