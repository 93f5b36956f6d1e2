"""What a run is: its identity, its recipe, and their names."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

import pytest
from config_strategies import (
    ACTS_ONLY_WITH,
    OPTIMIZERS,
    VALUES,
    acting,
    configs,
    settings,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from suite.basics.settings import ConfigError, Setting
from suite.declarations.config import RunConfig, parse
from suite.declarations.paper_experiments import PAPER_RUN

OWN_WIDTH = {"resnet9": 64, "r9-avgpool": 64, "resnet56": 16, "resnet110": 16}

# MLflow stores hold these. A change here makes every finished run unknown: never adapt them.
PINNED = {
    "the default": ({}, "5a01cd006d9f577d"),
    "the paper's": (PAPER_RUN, "edd388df9b4dff69"),
    "sgd": ({"optimizer": "sgd"}, "5a01cd006d9f577d"),
    "momentum": ({"optimizer": "momentum"}, "a24dee77ebff9ff5"),
    "adam": ({"optimizer": "adam"}, "056ad7ac4629ac1b"),
    "adamw": ({"optimizer": "adamw"}, "ddd06967cff94cf9"),
    "muon_keras": ({"optimizer": "muon_keras"}, "6de6742033a754d8"),
    "muon": ({"optimizer": "muon"}, "e17fb1eb13df24a9"),
    "a vision transformer": (
        {"model": "timm/vit_tiny_patch16_224", "dataset": "cifar10"},
        "7b4dbcced89ebcbe",
    ),
    "the suite's own vision transformer": ({"model": "vit"}, "f5ec546b3c0365ca"),
    "a folder": ({"dataset": "folder", "dataset_digest": "0123456789abcdef"}, "09e4cfe7f2fec32f"),
    "constant rate": ({"schedule": "constant"}, "2d287eee749f514d"),
}


@pytest.mark.parametrize(("given_settings", "fingerprint"), PINNED.values(), ids=PINNED)
def test_fingerprints_stay_what_they_were(given_settings: dict[str, Any], fingerprint: str) -> None:
    assert parse(given_settings).fingerprint == fingerprint


def test_a_fingerprint_is_the_sha256_of_the_acting_settings_as_canonical_json() -> None:
    canonical = (
        '{"augmentation":"none","batch_size":64,"cosine_alpha":0.01,"dataset":"digits",'
        '"early_stopping_patience":0,"epochs":60,"kernel_l2":0.0,"learning_rate":0.001,'
        '"model":"resnet9","norm":"batch","optimizer":"sgd","precision":"fp32","schedule":"cosine",'
        '"seed":0,"semantics":"keras","sigma_b":0.2,"sigma_w":1.0,"train_fraction":1.0,'
        '"validation_fraction":0.2,"width":8}'
    )
    assert parse({}).fingerprint == hashlib.sha256(canonical.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", ["sigma_w", "learning_rate", "batch_size", "epochs", "seed"])
def test_1_and_1_point_0_and_their_texts_are_one_value(name: str) -> None:
    same = [parse({name: value}) for value in (1, 1.0, "1", "1.0", " 1 ")]
    assert len({config.fingerprint for config in same}) == 1
    assert len({json.dumps(config.parameters()) for config in same}) == 1


@pytest.mark.parametrize("name", ["sigma_b", "kernel_l2", "cosine_alpha"])
def test_minus_zero_is_zero(name: str) -> None:
    same = [parse({name: value}) for value in (0, 0.0, -0.0, "-0", "-0.0", "-1e-999")]
    assert len({config.fingerprint for config in same}) == 1
    assert {config.parameters()[name] for config in same} == {"0.0"}


def test_a_number_is_the_same_however_it_is_written() -> None:
    spellings = ["0.001", "1e-3", "1E-3", "1.0e-03", 0.001, 1e-3, "+.001"]
    assert {parse({"learning_rate": s}).fingerprint for s in spellings} == {parse({}).fingerprint}


@given(configs())
def test_a_config_comes_back_from_its_parameters_and_from_its_json(config: RunConfig) -> None:
    for again in (parse(config.parameters()), parse(json.loads(config.model_dump_json()))):
        assert again == config
        assert again.fingerprint == config.fingerprint


@given(settings(), st.sampled_from(sorted(VALUES)), st.data())
def test_two_runs_are_one_exactly_if_all_acting_settings_agree(
    one: dict[str, Any], name: str, data: st.DataObject
) -> None:
    full = {n: RunConfig.default(n) for n in RunConfig.names()} | one
    other = acting(full | {name: data.draw(VALUES[name])})
    assert (parse(one).fingerprint == parse(other).fingerprint) == (_meant(one) == _meant(other))


def _meant(given_settings: dict[str, Any]) -> dict[str, Any]:
    """The acting settings, told without the suite's own notion of them."""
    meant = dict(given_settings)
    if "width" in meant:
        meant["width"] = meant["width"] or OWN_WIDTH[meant["model"]]
    if "norm_momentum" in meant:
        own = {"keras": 0.99, "torch": 0.9}[meant["semantics"]]
        meant["norm_momentum"] = meant["norm_momentum"] or own
    return meant


@given(configs())
def test_every_acting_setting_is_in_the_identity_and_no_other(config: RunConfig) -> None:
    everything = {name: getattr(config, name) for name in RunConfig.names()}
    # Added later: left out where runs have what all had before.
    own = {
        "image_side": (0,),
        "warmup_epochs": (0,),
        "momentum_kind": ("heavy-ball",),
        "norm_momentum": (0, {"keras": 0.99, "torch": 0.9}[config.semantics]),
        "kernel_distribution": ("normal",),
        "layer_scaling": (0,),
        "head_scale": (1,),
        "parameterization": ("standard",),
    }
    former = {name for name, values in own.items() if everything[name] in values}
    assert set(config.identity()) == set(acting(everything)) - former


@pytest.mark.parametrize("name", ACTS_ONLY_WITH)
def test_the_default_of_a_setting_without_effect_is_not_part_of_a_run(name: str) -> None:
    """Were it, then changing that default would orphan runs that it has nothing to do with."""
    other, values = next(reversed(ACTS_ONLY_WITH[name].items()))
    without = {"model": "timm/resnet18", "schedule": "constant", "norm": "layer"}.get(
        other, RunConfig.default(other)
    )
    changed = {
        **{"dataset_digest": "f" * 16, "width": 9, "norm": "layer", "global_pool": "avg"},
        **{"patch_size": 4, "embed_dim": 64, "depth": 3, "num_heads": 8, "mlp_ratio": 2.0},
        **{"momentum_kind": "nesterov", "parameterization": "mup", "mup_base_width": 9},
    }.get(name, 0.5)
    field = RunConfig.model_fields[name]
    changed_default = type(
        "ChangedDefault",
        (RunConfig,),
        {
            "__annotations__": {name: Annotated[field.annotation, *field.metadata]},
            name: changed,
            "__module__": __name__,
        },
    )
    assert changed_default.default(name) == changed
    idle = {other: without}
    assert changed_default.parse(idle).fingerprint == parse(idle).fingerprint
    active = {other: values[0]}
    assert changed_default.parse(active).fingerprint != parse(active).fingerprint


class Later(RunConfig):
    """RunConfig with a field more; at its implicit value it is what old runs had."""

    dropout: Annotated[float, Field(ge=0, lt=1), Setting("dropped", implicit=0.0)] = 0.0


class LaterStill(RunConfig):
    dropout: Annotated[float, Field(ge=0, lt=1), Setting("dropped", implicit=0.0)] = 0.1


@given(settings())
def test_a_setting_added_later_leaves_old_runs_what_they_were(one: dict[str, Any]) -> None:
    old = parse(one).fingerprint
    assert Later.parse(one).fingerprint == old
    assert Later.parse(one | {"dropout": 0.1}).fingerprint != old
    # A new default does not change what old runs implicitly had.
    assert LaterStill.parse(one | {"dropout": 0}).fingerprint == old
    assert LaterStill.parse(one).fingerprint == Later.parse(one | {"dropout": 0.1}).fingerprint


def test_an_added_setting_without_implicit_value_makes_all_runs_new() -> None:
    class Careless(RunConfig):
        dropout: Annotated[float, Field(ge=0, lt=1), Setting("dropped")] = 0.0

    assert Careless.parse({}).fingerprint != parse({}).fingerprint


@pytest.mark.parametrize("model", OWN_WIDTH)
def test_width_0_is_the_papers_width(model: str) -> None:
    own = OWN_WIDTH[model]
    named, left = parse({"model": model, "width": own}), parse({"model": model, "width": 0})
    assert named.fingerprint == left.fingerprint
    assert (named.channels, left.channels) == (own, own)
    assert parse({"model": model, "width": own + 1}).fingerprint != left.fingerprint


def test_a_timm_model_has_no_width() -> None:
    vit = {"model": "timm/vit_tiny_patch16_224"}
    assert parse(vit | {"width": 0}).fingerprint == parse(vit).fingerprint


def test_changing_a_config_validates_it_anew_and_leaves_it_as_it_was() -> None:
    config = parse({"optimizer": "momentum", "momentum": 0.8})
    assert config.with_(seed=3) == parse({"optimizer": "momentum", "momentum": 0.8, "seed": 3})
    assert config.with_(seed=3).fingerprint != config.fingerprint
    with pytest.raises(ConfigError, match="acts only with optimizer=momentum"):
        config.with_(optimizer="adam")
    assert config.seed == 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_name_tells_what_a_person_looks_for(optimizer: str) -> None:
    config = parse({"optimizer": optimizer, "sigma_w": 2.5, "batch_size": 16, "seed": 2024})
    assert config.run_name == f"{optimizer} b16 σw=2.5 seed 2024"
    other = config.with_(model="resnet56", learning_rate=0.1, kernel_l2=5e-4)
    assert other.run_name == f"resnet56 {optimizer} b16 η=0.1 λ=0.0005 σw=2.5 seed 2024"


def test_a_recipe_is_what_runs_of_other_scales_and_seeds_share() -> None:
    one = parse({"optimizer": "adam", "sigma_w": 0.1, "seed": 1})
    assert one.recipe == one.with_(sigma_w=2.5, seed=42).recipe
    assert one.recipe != one.with_(batch_size=16).recipe


def test_a_recipes_name_says_all_in_which_it_differs_from_the_defaults() -> None:
    small = parse({"width": 8, "epochs": 10})
    large = parse({"width": 64, "epochs": 300, "sigma_b": 1})
    assert small.recipe_name == "sgd b64 10 epochs"
    assert large.recipe_name == "sgd b64 width 64 σb=1 300 epochs"
    assert parse({"optimizer": "momentum", "momentum": 0.8}).recipe_name == "momentum b64 μ=0.8"
    nesterov = {"optimizer": "momentum", "momentum_kind": "nesterov", "warmup_epochs": 5}
    assert parse(nesterov).recipe_name == "momentum b64 warm-up 5 Nesterov"


@given(st.data())
def test_recipes_of_one_name_are_one_recipe(data: st.DataObject) -> None:
    one = data.draw(configs(dataset=st.sampled_from(("digits", "cifar10"))))
    changed = data.draw(st.sampled_from(sorted(VALUES.keys() - {"dataset", "dataset_digest"})))
    other = parse(acting(one.model_dump() | {changed: data.draw(VALUES[changed])}))
    for first, second in ((one, other), (one, one.with_(seed=1, sigma_w=3.0))):
        same = first.recipe == second.recipe
        assert (first.recipe_name == second.recipe_name) == same
        assert (first.recipe_fingerprint == second.recipe_fingerprint) == same


@given(configs())
def test_a_recipe_is_the_identity_without_scale_and_seed(config: RunConfig) -> None:
    left_out = config.identity().keys() - config.recipe.keys()
    assert left_out == {"sigma_w", "seed"}
    assert config.run_name.startswith(f"{config.recipe_name} σw=")
