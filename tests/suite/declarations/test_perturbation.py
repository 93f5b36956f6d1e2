"""Which settings can be asked about, what they are called, and the order of their values."""

from __future__ import annotations

import pytest

from suite.basics.settings import ConfigError
from suite.declarations.config import RunConfig, parse
from suite.declarations.perturbation import SIGMA_W, declared, perturbation


def test_sigma_w_is_what_is_perturbed_unless_another_is_named() -> None:
    assert perturbation("") == perturbation("sigma_w") == SIGMA_W
    assert (SIGMA_W.name, SIGMA_W.symbol, SIGMA_W.numeric) == ("sigma_w", "σw", True)
    assert SIGMA_W.label == "initialization scale σw"
    assert SIGMA_W.word(0.5) == "σw=0.5"


def test_every_initial_setting_can_be_asked_about_under_a_sign_or_name_of_its_own() -> None:
    found = [perturbation(name) for name in RunConfig.initials()]
    assert len({one.symbol for one in found}) == len({one.label for one in found}) == len(found)
    assert all(one.symbol and one.label for one in found)
    assert perturbation("sigma_b").symbol == "σb"


def test_a_closed_list_is_of_categories_in_the_order_of_their_declaration() -> None:
    norm = declared(RunConfig, "norm")
    assert not norm.numeric
    assert norm.ordered(["layer", "batch", "layer"]) == ["batch", "layer"]
    assert SIGMA_W.ordered([2.5, 0.1, 2.5]) == [0.1, 2.5]


@pytest.mark.parametrize("name", ["learning_rate", "seed", "sigma", "no-such"])
def test_a_setting_that_acts_on_after_the_first_step_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        perturbation(name)
    (line,) = error.value.lines
    assert line.startswith("perturbation: must be a setting that acts before the first step only")
    assert f"({', '.join(RunConfig.initials())}), got" in line
    assert f"got '{name}'" in line


def test_a_recipe_of_another_perturbation_holds_sigma_w_and_lacks_the_perturbed_setting() -> None:
    config = parse({"sigma_w": 0.5, "sigma_b": 0.7, "seed": 3})
    identity = config.identity()
    assert config.recipe_of("sigma_b") == {
        name: value for name, value in identity.items() if name not in ("sigma_b", "seed")
    }
    assert config.recipe_of("sigma_w") == config.recipe
    assert "σw=0.5" not in config.recipe_name
