"""The named experiments against the paper's tables and text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from analysis.claims.paper_file import paper
from suite.basics.settings import ConfigError
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS, GROUPS, PRESETS
from suite.declarations.factorial import Experiment

SEEDS = {0, 1, 42, 123, 456, 789, 999, 2024, 2025, 2026}
COARSE = {0.1, 0.5, 1.0, 1.8, 2.5}
OPTIMIZERS = {"sgd", "momentum", "adam", "adamw", "muon_keras"}

# Das et al. 2026, App. A: runs, the axes, and what all runs share beside the common settings.
PAPER: dict[str, tuple[int, dict[str, set[Any]], dict[str, Any]]] = {
    "main": (
        6250,
        {
            "sigma_w": {round(i / 10, 1) for i in range(1, 26)},
            "optimizer": OPTIMIZERS,
            "batch_size": {16, 32, 64, 128, 256},
            "seed": SEEDS,
        },
        {"model": "resnet9"},
    ),
    "long": (
        10,
        {"sigma_w": COARSE, "batch_size": {16, 128}},
        {
            "model": "resnet9",
            "optimizer": "sgd",
            "schedule": "constant",
            "epochs": 5000,
            "kernel_l2": 0.0,
        },
    ),
    "lr-l2": (
        1200,
        {
            "learning_rate": {1e-3, 1e-2, 1e-1},
            "kernel_l2": {0.0, 1e-3, 5e-3, 1e-2},
            "sigma_w": COARSE,
            "batch_size": {16, 128},
            "seed": SEEDS,
        },
        {"model": "resnet9", "optimizer": "sgd"},
    ),
    "norm-aug": (
        200,
        {
            "norm": {"batch", "layer"},
            "optimizer": {"sgd", "adam"},
            "sigma_w": COARSE,
            "batch_size": {16, 128},
            "seed": {0, 1, 42, 123, 456},
        },
        {"model": "resnet9", "augmentation": "flip-crop"},
    ),
    "best": (
        120,
        {"sigma_w": {0.1, 2.5}, "batch_size": {16, 128, 256}, "seed": SEEDS},
        {"model": "resnet9", "augmentation": "flip-crop", "epochs": 200},
    ),
    "depth": (
        1500,
        {
            "model": {"resnet56", "resnet110", "r9-avgpool"},
            "optimizer": OPTIMIZERS,
            "sigma_w": COARSE,
            "batch_size": {16, 128},
            "seed": SEEDS,
        },
        {},
    ),
}
COMMON = {
    "dataset": "cifar10",
    "validation_fraction": 0.2,
    "train_fraction": 1.0,
    "augmentation": "none",
    "norm": "batch",
    "sigma_b": 0.2,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "cosine_alpha": 0.01,
    "kernel_l2": 0.0,
    "epochs": 300,
    "early_stopping_patience": 0,
    "semantics": "keras",
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def runs() -> dict[str, list[RunConfig]]:
    return {name: list(experiment.configs()) for name, experiment in EXPERIMENTS.items()}


@pytest.mark.parametrize("name", PAPER)
def test_a_papers_experiment_is_the_full_factorial_of_its_axes(
    runs: dict[str, list[RunConfig]], name: str
) -> None:
    count, axes, fixed = PAPER[name]
    configs = runs[name]
    assert EXPERIMENTS[name].size == len(configs) == count
    for axis, values in axes.items():
        assert {getattr(config, axis) for config in configs} == values
    bundled = {"best": {"optimizer", "learning_rate", "kernel_l2"}}.get(name, set())
    bundled |= {"depth": {"early_stopping_patience"}}.get(name, set())
    for setting, value in (COMMON | fixed).items():
        if setting not in {*axes, *bundled}:
            assert {getattr(config, setting) for config in configs} == {value}, setting


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_two_points_of_an_experiment_are_one_run(
    runs: dict[str, list[RunConfig]], name: str
) -> None:
    fingerprints = {config.fingerprint for config in runs[name]}
    assert len(fingerprints) == len(runs[name]) == EXPERIMENTS[name].size


def test_a_point_names_every_axis_and_stands_for_its_config() -> None:
    for experiment in EXPERIMENTS.values():
        for point, config in zip(experiment.points(), experiment.configs(), strict=True):
            assert set(point) == set(experiment.axes)
            assert experiment.config(point) == config
            for name, value in point.items():
                if name not in experiment.bundles:
                    assert getattr(config, name) == value


def test_runs_that_two_experiments_share_are_one_run(runs: dict[str, list[RunConfig]]) -> None:
    """Vanilla SGD at η0 = 1e-3 without L2 is trained once for the main grid and for lr-l2."""
    main, ablation = ({config.fingerprint for config in runs[name]} for name in ("main", "lr-l2"))
    assert len(main & ablation) == len(COARSE) * 2 * len(SEEDS)


def test_weight_decay_is_the_default_of_adamw_and_muon_and_nobody_elses(
    runs: dict[str, list[RunConfig]],
) -> None:
    """Das et al. 2026, Tab 1."""
    for config in _all(runs):
        decays = config.optimizer in ("adamw", "muon_keras", "muon")
        assert config.identity().get("weight_decay") == (1e-4 if decays else None)
        expected = 0.9 if config.optimizer == "momentum" else None
        assert config.identity().get("momentum") == expected


def test_all_but_the_deep_networks_have_the_papers_width(runs: dict[str, list[RunConfig]]) -> None:
    own = {"resnet9": 64, "r9-avgpool": 64, "resnet56": 16, "resnet110": 16}
    for name in PAPER:
        assert all(config.channels == own[config.model] for config in runs[name])


def test_the_two_procedures_of_the_best_experiment(runs: dict[str, list[RunConfig]]) -> None:
    """Das et al. 2026, App. F."""
    settings = {(c.optimizer, c.learning_rate, c.momentum, c.kernel_l2) for c in runs["best"]}
    assert settings == {("momentum", 0.1, 0.9, 5e-4), ("adam", 1e-3, 0.9, 0.0)}


def test_only_the_deep_networks_stop_early(runs: dict[str, list[RunConfig]]) -> None:
    patience = {(c.model, c.early_stopping_patience) for c in runs["depth"]}
    assert patience == {("resnet56", 30), ("resnet110", 30), ("r9-avgpool", 0)}


def test_the_long_experiment_has_one_seed(runs: dict[str, list[RunConfig]]) -> None:
    assert len({config.seed for config in runs["long"]}) == 1


def test_the_demo_is_small_and_needs_no_download(runs: dict[str, list[RunConfig]]) -> None:
    configs = runs["demo"]
    assert len(configs) == 2 * 2 * 2 * 3 * 5
    assert {(c.dataset, c.width, c.epochs) for c in configs} == {("digits", 8, 100)}
    assert {c.optimizer for c in configs} == {"sgd", "adam"}
    for varied in ("learning_rate", "batch_size"):  # so that no clock stands still
        assert len({getattr(c, varied) for c in configs}) == 2


def test_presets_are_possible_runs_and_the_papers_is_of_its_main_grid(
    runs: dict[str, list[RunConfig]],
) -> None:
    demo, paper = (RunConfig.parse(PRESETS[name]) for name in ("demo", "paper"))
    assert demo == RunConfig.parse({})
    assert paper.fingerprint in {config.fingerprint for config in runs["main"]}


def test_a_recipe_changes_several_settings_together() -> None:
    experiment = Experiment(
        "two",
        "two ways",
        "here",
        axes={"way": ("slow", "fast"), "seed": (1, 2)},
        fixed={"epochs": 5, "learning_rate": 0.5},
        bundles={"way": {"slow": {"learning_rate": 0.1}, "fast": {"batch_size": 8}}},
    )
    found = [(c.learning_rate, c.batch_size, c.seed, c.epochs) for c in experiment.configs()]
    assert found == [(0.1, 64, 1, 5), (0.1, 64, 2, 5), (0.5, 8, 1, 5), (0.5, 8, 2, 5)]


def test_an_impossible_point_says_so() -> None:
    impossible = Experiment("x", "", "", axes={"sigma_w": (0.0,)})
    with pytest.raises(ConfigError, match=r"^sigma_w: must be greater than 0, got 0\.0; "):
        list(impossible.configs())


def _all(runs: dict[str, list[RunConfig]]) -> Iterator[RunConfig]:
    for configs in runs.values():
        yield from configs


@pytest.mark.parametrize("name", [name for name, one in EXPERIMENTS.items() if one.miniature_of])
def test_a_miniature_varies_what_its_experiment_varies(name: str) -> None:
    small = EXPERIMENTS[name]
    large = EXPERIMENTS[small.miniature_of]
    assert set(large.axes) <= set(small.axes) or name == "mini-long"
    assert {"sigma_w", "seed"} <= set(small.axes)
    assert set(small.axes["sigma_w"]) <= set(large.axes["sigma_w"])
    assert small.axes["sigma_w"][0] == large.axes["sigma_w"][0]
    assert small.axes["sigma_w"][-1] == large.axes["sigma_w"][-1]


@pytest.mark.parametrize("name", GROUPS["mini"])
def test_a_miniature_needs_neither_network_nor_many_images(name: str) -> None:
    for config in EXPERIMENTS[name].configs():
        assert config.dataset == "digits"
        assert config.train_fraction == 0.2
        # An epoch's lag at most, or thereabouts: at most 29 steps an epoch.
        assert config.norm == "layer" or config.norm_momentum == 0.9


def test_every_miniature_has_the_seeds_that_a_verdict_on_an_order_needs() -> None:
    small = [name for name, one in EXPERIMENTS.items() if one.miniature_of]
    seeds = {name: len(EXPERIMENTS[name].axes["seed"]) for name in small}
    assert seeds.pop("mini-main") == 10
    assert min(seeds.values()) >= paper().seeds.order


def test_cifar_small_is_a_quarter_of_cifar10_at_half_its_side() -> None:
    configs = list(EXPERIMENTS["cifar-small"].configs())
    assert {(c.dataset, c.image_side, c.train_fraction) for c in configs} == {("cifar10", 16, 0.25)}
    assert len(configs) == 100


PERTURBATIONS = {
    "mini-distribution": "kernel_distribution",
    "mini-layers": "layer_scaling",
    "mini-head": "head_scale",
    "mini-bias": "sigma_b",
}


@pytest.mark.parametrize("name", GROUPS["mini-start"])
def test_an_experiment_on_the_start_perturbs_one_initial_setting_about_its_default(
    runs: dict[str, list[RunConfig]], name: str
) -> None:
    setting = PERTURBATIONS[name]
    assert set(EXPERIMENTS[name].axes) & set(RunConfig.initials()) == {setting}
    values = {getattr(config, setting) for config in runs[name]}
    assert RunConfig.default(setting) in values
    assert len(values) >= 4
    shared = {config.fingerprint for config in runs["mini-main"]}
    usual = [c for c in runs[name] if getattr(c, setting) == RunConfig.default(setting)]
    assert {config.fingerprint for config in usual} <= shared
    # Two rules, two batch sizes, five seeds.
    assert len(usual) == 2 * 2 * 5


def test_the_transformers_have_a_twin_of_each_run_that_differs_in_its_architecture_alone(
    runs: dict[str, list[RunConfig]],
) -> None:
    architecture = {"model", "width", "norm_momentum", "patch_size"}
    transformers, twins = runs["mini-vit"], runs["mini-vit-twin"]
    assert {config.model for config in transformers} == {"vit"}
    assert {config.model for config in twins} == {"resnet9"}
    for one, other in zip(transformers, twins, strict=True):
        assert one.model_dump(exclude=architecture) == other.model_dump(exclude=architecture)
        assert one.norm_momentum == RunConfig.default("norm_momentum")  # which does not act there
    assert {config.fingerprint for config in twins}.isdisjoint(c.fingerprint for c in transformers)
    rates = {(config.optimizer, config.learning_rate) for config in transformers}
    assert len(rates) == len({optimizer for optimizer, _ in rates}) == 5
    assert {"mini-vit", "mini-vit-twin"}.isdisjoint(GROUPS["mini"])
