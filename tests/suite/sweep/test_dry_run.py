"""What a dry run counts, and the question that it hands on."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from analysis import plan
from suite.basics.cli import parse_known
from suite.data.splits import ImageData
from suite.declarations.config import RunConfig, parse
from suite.sweep import dry_run
from suite.sweep.dry_run import Cost, _costs, seeds_question


@pytest.fixture
def default_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the store that commands take by themselves."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.mark.parametrize("experiment", ["main", "my sweep"])
@pytest.mark.parametrize("other", [True, False])
def test_the_command_on_seeds_asks_the_store_of_the_sweep(
    experiment: str, other: bool, default_store: str, tmp_path: Path
) -> None:
    elsewhere = f"sqlite:///{tmp_path / 'other store.db'}"
    line = seeds_question(experiment, elsewhere if other else default_store)
    words = shlex.split(line.removeprefix("Are these seeds enough? "))
    assert words[:3] == ["python", "-m", "analysis.plan"]
    asked = parse_known(plan.parser(), words[3:], plan.FLAGS)
    assert asked.experiment == experiment
    assert asked.tracking_uri == (elsewhere if other else "")


def test_a_sweep_that_has_not_begun_has_no_runs_to_ask(default_store: str) -> None:
    assert seeds_question("", default_store).endswith("python -m analysis.plan")


def test_recipes_that_differ_in_how_they_start_are_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[RunConfig] = []

    def count(config: RunConfig, _data: ImageData) -> Cost:
        counted.append(config)
        return Cost(1.0, 2, 3)

    monkeypatch.setattr(dry_run, "cost", count)
    starts = [
        {},
        {"kernel_distribution": "orthogonal"},
        {"layer_scaling": 1, "sigma_b": 0},
        {"head_scale": 3, "sigma_w": 2},
        {"optimizer": "adam"},  # whose moments are more
    ]
    recipes = {str(start): parse(start) for start in starts}
    found = _costs(recipes, dict.fromkeys(recipes))  # type: ignore[arg-type]
    assert list(found) == list(recipes)
    assert [config.optimizer for config in counted] == ["sgd", "adam"]
