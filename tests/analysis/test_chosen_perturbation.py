"""Which setting's memory a command looks at, and what it says of its choice."""

from __future__ import annotations

import pandas as pd
import pytest
from perturbed_frames import perturbed_store

from analysis.chosen_experiments import ChosenExperiments
from analysis.chosen_perturbation import perturbation_of
from suite.basics.settings import ConfigError
from suite.declarations.config import RunConfig


def runs(**values: list[float]) -> pd.DataFrame:
    defaults = {name: [RunConfig.default(name)] * 2 for name in RunConfig.initials()}
    return pd.DataFrame(defaults | values)


@pytest.mark.parametrize(
    "made",
    [
        runs(sigma_w=[0.1, 1.0]),
        runs(sigma_w=[0.1, 1.0], sigma_b=[0.0, 0.2]),
        runs(),
    ],
    ids=["alone", "beside another", "nothing varies"],
)
def test_sigma_w_is_taken_without_a_word_unless_another_setting_is_all_that_varies(
    made: pd.DataFrame,
) -> None:
    found, line = perturbation_of("made", made, "")
    assert (found.name, line) == ("sigma_w", "")


def test_the_one_initial_setting_that_varies_is_taken_and_named_in_a_line() -> None:
    found, line = perturbation_of("made", runs(sigma_b=[0.0, 0.2]), "")
    assert found.name == "sigma_b"
    assert line == ("experiment made: varies sigma_b and not sigma_w, so memory is that of sigma_b")


def test_of_two_that_vary_besides_sigma_w_none_is_picked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    initials = ("sigma_w", "sigma_b", "width")
    monkeypatch.setattr(RunConfig, "initials", classmethod(lambda _: initials))
    found, line = perturbation_of("made", runs(sigma_b=[0.0, 0.2], width=[4, 8]), "")
    assert found.name == "sigma_w"
    assert line.endswith("choose with --perturbation sigma_b or --perturbation width")


def test_what_is_asked_for_is_taken_and_that_it_has_one_value_is_said_with_a_remedy() -> None:
    found, line = perturbation_of("made", runs(sigma_w=[0.1, 1.0]), "sigma_b")
    assert found.name == "sigma_b"
    assert line == (
        "experiment made: all runs have sigma_b 0.2, so no memory of it is known; "
        "train another sigma_b, or ask for --perturbation sigma_w"
    )
    assert perturbation_of("made", runs(sigma_w=[1.0, 2.0]), "sigma_w")[1] == ""


def test_a_setting_that_acts_on_after_the_first_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="perturbation: must be a setting"):
        perturbation_of("made", runs(), "learning_rate")


def test_what_is_logged_names_the_perturbed_settings_unless_it_is_sigma_w_alone() -> None:
    stores = {
        name: perturbed_store(name, {0.5: 0.6, 1.0: 0.7}, [{"epochs": 3}])
        for name in ("sigma_b", "sigma_w")
    }
    of_one = ChosenExperiments("", "", [], {"one": stores["sigma_w"]})
    assert of_one.perturbed == []
    assert ChosenExperiments("", "", [], stores).perturbed == ["sigma_b", "sigma_w"]
