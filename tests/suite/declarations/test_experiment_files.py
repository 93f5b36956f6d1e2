"""Experiments from files and changes on the command line: what they become, what is refused."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from suite.basics.settings import ConfigError
from suite.declarations.experiment_files import apply, changed, configurations, find, find_all
from suite.declarations.experiments import EXPERIMENTS, GROUPS
from suite.declarations.paper_experiments import PAPER_SEEDS

MINE = """
name = "mine"
[fixed]
epochs = 5
[axes]
optimizer = ["sgd", "adamw"]
sigma_w = [0.1, 1, 2.5]
seed = [0, 1]
"""


def write(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("suffix", [".toml", ".yaml", ".yml"])
def test_a_name_without_its_suffix_is_answered_with_the_file_that_is_there(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, MINE, f"dem{suffix}")  # closer to a file than to the experiment demo
    with pytest.raises(ConfigError, match=rf"got 'dem'; did you mean dem\{suffix}\?"):
        find("dem")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_named_experiment_is_found_and_each_point_is_another_run(name: str) -> None:
    experiment = find(name)
    if experiment.size > 500:  # thousands of validations say no more than hundreds
        experiment = changed(experiment, "seed", experiment.axes["seed"][:1])
    points = configurations(experiment)
    assert len({config.fingerprint for _, config in points}) == experiment.size == len(points)


def test_a_group_stands_for_its_members_and_a_list_for_each_of_its_names_once() -> None:
    assert [e.name for e in find_all("mini")] == list(GROUPS["mini"])
    assert {e.miniature_of for e in find_all("mini")} == {e.name for e in find_all("paper")}
    assert [e.name for e in find_all("demo, mini-main,demo")] == ["demo", "mini-main"]
    assert [e.name for e in find_all("mini-main,mini")] == list(GROUPS["mini"])


def test_a_file_whose_name_has_a_comma_is_one_experiment(tmp_path: Path) -> None:
    (experiment,) = find_all(write(tmp_path, MINE, "a,b.toml"))
    assert experiment.name == "mine"


def test_a_toml_file_is_an_experiment(tmp_path: Path) -> None:
    experiment = find(write(tmp_path, MINE))
    assert (experiment.name, experiment.size) == ("mine", 12)
    assert experiment.axes["sigma_w"] == (0.1, 1.0, 2.5)
    assert {config.epochs for config in experiment.configs()} == {5}


def test_yaml_says_the_same_as_toml(tmp_path: Path) -> None:
    text = """
name: mine
fixed: {epochs: 5}
axes:
  optimizer: [sgd, adamw]
  sigma_w: [0.1, 1, 2.5]
  seed: [0, 1]
"""
    toml, yaml = find(write(tmp_path, MINE)), find(write(tmp_path, text, "mine.yaml"))
    assert [c.fingerprint for c in toml.configs()] == [c.fingerprint for c in yaml.configs()]


def test_a_file_may_start_from_a_named_experiment(tmp_path: Path) -> None:
    experiment = find(write(tmp_path, 'base = "main"\n[fixed]\nepochs = 7\nseed = 1\n'))
    assert experiment.name == "mine"
    assert experiment.size == EXPERIMENTS["main"].size // len(PAPER_SEEDS)
    config = next(experiment.configs())
    assert (config.dataset, config.epochs, config.seed) == ("cifar10", 7, 1)


def test_a_bundle_in_a_file_is_an_axis_by_the_earlier_word_for_it_too(tmp_path: Path) -> None:
    text = """
[bundles.procedure.plain]
optimizer = "sgd"
[bundles.procedure.tuned]
optimizer = "momentum"
learning_rate = 0.1
[axes]
seed = [0, 1]
"""
    experiment = find(write(tmp_path, text))
    found = {(c.optimizer, c.learning_rate, c.seed) for c in experiment.configs()}
    assert found == {(*how, s) for how in [("sgd", 1e-3), ("momentum", 0.1)] for s in (0, 1)}
    earlier = find(write(tmp_path, text.replace("[bundles.", "[recipes.")))
    assert list(earlier.configs()) == list(experiment.configs())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[axes]\nsigma = [1]", "did you mean sigma_w?"),
        ("[axes]\nsigma_w = [-1]", "sigma_w: must be greater than 0, got -1"),
        ("[axes]\nsigma_w = [1, 1.0]", "sigma_w: must have each value once, got 1.0, 1.0"),
        ("[axes]\nsigma_w = []", "sigma_w: must have a value, got none"),
        ("[fixed]\nepochs = 0\n[axes]\nseed = [1]", "epochs: must be greater than or equal to 1"),
        ("[axis]\nseed = [1]", "axis: "),
        ("axes = 3", "axes must be a table, got 3"),
        ("name = 3\n[axes]\nseed = [1]", "name must be text, got 3"),
        ("[fixed]\nepochs = 3", "axes must name one setting or more, got none; add [axes]"),
        ('base = "mian"', "did you mean main?"),
        ('base = "mine.toml"', "experiment: must be one of"),
        ("[axes\n", "must be valid toml"),
        ("[bundles.p]\na = 3\n[axes]\nseed=[1]", "bundles.p.a must be a table, got 3"),
        ("bundles = {p = 3}\n[axes]\nseed=[1]", "bundles.p must be a table, got 3"),
        ("[bundles.p.a]\nsigma = 3", "sigma: "),
        ('[axes]\noptimizer=["sgd"]\nseed=[1]\nmomentum=[0.8]', "momentum: acts only with"),
        ("[axes]\nseed = [1]\nseed = [2]", "must be valid toml"),
        ("[axes]\nseed = [true]", "seed: must be a number or a text, no truth value, got True"),
        ("[fixed]\nepochs = false\n[axes]\nseed = [1]", "epochs: must be a number or a text"),
        ("[axes]\nseed = [1]\n[fixed]\nseed = 2", "seed must be an axis or fixed, got it in both"),
        ("[bundles.p]\n[recipes.p.a]\nseed = 1", "recipes must not stand beside bundles"),
        ("[bundles.p]\n[axes]\nseed=[1]", "bundles.p must have a label with settings, got none"),
        ("[bundles.seed.a]\nepochs = 1", "bundles.seed must not be called as a setting is"),
        ('name = " "\n[axes]\nseed = [1]', "name must be a line of 1 to 200 bytes, got ' '"),
        ('name = "a\\nb"\n[axes]\nseed = [1]', "name must be a line"),
        ('"a\\nb" = 1', "a b: is no setting"),
        ("[axes]\nseed = [1" + "0" * 5000 + "]", "must be valid toml"),
        ("name = 0x1" + "0" * 5000, "name must be text, got 0x1000"),
        ("axes = " + "[" * 20_000, "nested too deeply"),
    ],
)
def test_an_impossible_file_is_refused_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        configurations(find(write(tmp_path, text)))
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "axes:\n  sigma_w: [1, 2]\naxes:\n  seed: [1]",
            "axes must stand in its table once, got it again",
        ),
        ("axes: {seed: [1], seed: [2]}", "seed must stand in its table once, got it again"),
        ("axes: {seed: [yes]}", "seed: must be a valid integer"),
        ("axes: {sigma_w: [true]}", "sigma_w: must be a valid number"),
        ("axes: {epochs: [1:30]}", "epochs: must be a valid integer"),
        ("axes: {seed: [0o10]}", "seed: must be a valid integer"),
        ("axes: {1: [2]}", "1: is no setting"),
        ("axes: {null: [2]}", "null: is no setting"),
        ("? [axes]\n: {seed: [1]}", "a key must be a text"),
        ("axes: {seed: [!!int yes]}", "could not determine a constructor"),
        ("axes: &a {seed: *a}", "seed: must be a valid integer"),
        ("axes: {seed: &a [*a]}", "seed: must be a valid integer"),
        ("[" * 20_000, "nested too deeply"),
    ],
)
def test_an_impossible_yaml_file_is_refused_in_one_line(
    tmp_path: Path, text: str, line: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        configurations(find(write(tmp_path, text, "mine.yaml")))
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_a_yaml_number_is_what_the_command_line_takes_it_for(tmp_path: Path) -> None:
    found = find(write(tmp_path, "axes: {seed: [010, 1_0_0], sigma_w: [1e-1, 2]}", "mine.yaml"))
    asked = apply(EXPERIMENTS["demo"], ["seed=010,1_0_0", "sigma_w=1e-1,2"])
    assert found.axes["seed"] == asked.axes["seed"] == (10, 100)
    assert found.axes["sigma_w"] == asked.axes["sigma_w"] == (0.1, 2.0)


def test_a_yaml_table_that_takes_over_another_may_say_more_and_otherwise(tmp_path: Path) -> None:
    text = """
bundles:
  how:
    plain: &plain {optimizer: sgd, learning_rate: 0.1}
    fast: {<<: *plain, learning_rate: 0.5}
axes: {seed: [1]}
"""
    found = {(c.optimizer, c.learning_rate) for c in find(write(tmp_path, text, "m.yml")).configs()}
    assert found == {("sgd", 0.1), ("sgd", 0.5)}


def test_aliases_that_hold_billions_are_refused_in_a_short_line(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))]
    text = "axes: {seed: [{" + ", ".join(lines) + "}]}"
    with pytest.raises(ConfigError, match="seed: must be a valid integer"):
        find(write(tmp_path, text, "mine.yaml"))


@pytest.mark.parametrize("name", ["mine.toml", "mine.yaml"])
def test_a_mark_of_the_byte_order_is_no_part_of_a_file(tmp_path: Path, name: str) -> None:
    text = MINE if name == "mine.toml" else "axes: {seed: [0, 1]}"
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert find(str(tmp_path / name)).axes["seed"] == (0, 1)


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.toml")
    with pytest.raises(ConfigError, match=r"experiment: must be a file, got .*mine\.toml"):
        find(str(tmp_path / "mine.toml"))


WORDS = st.sampled_from(
    ["name", "base", "fixed", "axes", "bundles", "recipes", "seed", "sigma_w", "optimizer", "demo"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.text() | WORDS
TREES = st.recursive(
    SCALARS,
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(WORDS | SCALARS, inside, max_size=3)
    ),
    max_leaves=12,
)
TOKENS = st.sampled_from(
    [
        *"[]{}=:,.'\"#&*!?|>-<~\n\t\\ ",
        *("axes", "seed", "sigma_w", "yes", "010", "1:30", "[axes]\n"),
    ]
)
TEXTS = st.one_of(
    TREES.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True)),
    TREES.map(lambda tree: json.dumps(tree, default=str, skipkeys=True)),
    st.lists(TOKENS, max_size=30).map("".join),
    st.text(),
)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, suffix=st.sampled_from([".toml", ".yaml"]))
@example(text="axes: {seed: [1], sigma_w: [1]}", suffix=".yaml")
def test_any_text_is_an_experiment_or_refused_in_one_line(text: str, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"mine{suffix}")
        path.write_bytes(text.encode(errors="surrogatepass"))
        refused: list[ConfigError] = []
        try:
            experiment = find(str(path))
            if experiment.size < 100:
                assert len(configurations(experiment)) == experiment.size > 0
        except ConfigError as error:
            refused.append(error)
        for error in refused:
            assert len(str(error).splitlines()) == len(error.lines) == 1
            assert len(str(error)) < 2_000


@pytest.mark.parametrize(
    ("name", "line"),
    [("dmeo", "did you mean demo?"), ("nowhere.toml", "must be readable"), ("x.json", "--list")],
)
def test_an_unknown_experiment_is_refused_in_one_line(name: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        find(name)


@pytest.mark.parametrize("name", ["mine.toml", "mine.yaml"])
def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="must be valid"):
        find(str(tmp_path / name))


def test_set_narrows_an_axis_replaces_a_fixed_setting_and_adds_an_axis() -> None:
    demo = EXPERIMENTS["demo"]
    narrowed = apply(demo, ["sigma_w=0.1,2.5", "epochs=3", "learning-rate=0.1, 0.2"])
    assert narrowed.size == demo.size * 2 // 3
    assert narrowed.axes["sigma_w"] == (0.1, 2.5)
    assert narrowed.axes["learning_rate"] == (0.1, 0.2)
    assert {config.epochs for config in narrowed.configs()} == {3}


def test_set_overrules_what_a_recipe_says() -> None:
    best = apply(EXPERIMENTS["best"], ["learning_rate=0.5"])
    assert {config.learning_rate for config in best.configs()} == {0.5}
    assert {config.optimizer for config in best.configs()} == {"momentum", "adam"}


def test_set_chooses_among_the_values_of_a_recipe() -> None:
    best = apply(EXPERIMENTS["best"], ["procedure=adam"])
    assert {config.optimizer for config in best.configs()} == {"adam"}
    with pytest.raises(ConfigError, match="procedure: must be one of sgd, adam, got 'lion'"):
        apply(EXPERIMENTS["best"], ["procedure=lion"])
    with pytest.raises(ConfigError, match="procedure: must have each value once"):
        apply(EXPERIMENTS["best"], ["procedure=adam,adam"])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("sigma_w", "set: must be NAME=VALUE,VALUE, got 'sigma_w'"),
        ("sigma_w=", "sigma_w: must have a value, got none"),
        ("sigma_w=a", "sigma_w: must be"),
        ("seed=1,1", "seed: must have each value once"),
        ("sed=1", "did you mean seed?"),
        ("=1", "set: must be NAME=VALUE,VALUE, got '=1'"),
    ],
)
def test_an_impossible_change_is_refused_in_one_line(change: str, line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        apply(EXPERIMENTS["demo"], [change])
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_axis_without_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match="drop the axis that has no effect"):
        configurations(apply(EXPERIMENTS["demo"], ["width=0,64"]))


@given(values=st.lists(st.integers(0, 2**62), min_size=1, max_size=6, unique=True))
def test_a_change_is_the_same_as_text_or_as_numbers(values: list[int]) -> None:
    demo = EXPERIMENTS["demo"]
    text = apply(demo, [f"seed={','.join(map(str, values))}"])
    assert text.axes["seed"] == changed(demo, "seed", values).axes["seed"] == tuple(values)
