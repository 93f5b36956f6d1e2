"""How settings are declared: flags, help and error lines follow from the fields alone."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from suite.basics.settings import ConfigError, Setting, Settings, unknown
from suite.declarations.config import RunConfig
from suite.declarations.machine import Machine

SUCH_AS = "give a value > 0, ≤ 250, such as 180.0"


class Oven(Settings):
    heat: Annotated[float, Field(gt=0, le=250), Setting("how hot", unit="°C")] = 180.0
    mode: Annotated[Literal["fan", "grill"], Setting("how it heats")] = "fan"
    note: Annotated[str, Setting("what is in it")] = ""
    trays: Annotated[int, Field(ge=1, lt=5), Setting("how many")] = 1


def test_a_declaration_tells_name_default_choices_and_range() -> None:
    assert Oven.names() == ("heat", "mode", "note", "trays")
    assert [Oven.default(name) for name in Oven.names()] == [180.0, "fan", "", 1]
    assert [Oven.choices(name) for name in Oven.names()] == [(), ("fan", "grill"), (), ()]
    ranges = ["> 0, ≤ 250", "fan | grill", "", "≥ 1, < 5"]
    assert [Oven.range(name) for name in Oven.names()] == ranges
    assert Oven.about("heat") == Setting("how hot", unit="°C")


@pytest.mark.parametrize("settings", [RunConfig, Machine])
def test_every_setting_is_declared_with_a_meaning_and_a_possible_default(
    settings: type[Settings],
) -> None:
    for name in settings.names():
        assert settings.about(name).help
        for other, values in settings.about(name).only_with.items():
            assert other in settings.names()
            assert set(values) <= set(settings.choices(other) or values)
    assert settings.parse({}) == settings()


def test_the_limit_of_seeds_is_not_worth_a_word_in_their_range() -> None:
    assert RunConfig.range("seed") == "≥ 0"


@pytest.mark.parametrize(
    ("given_settings", "line"),
    [
        ({"heat": -1}, f"heat: must be greater than 0, got -1; {SUCH_AS}"),
        ({"heat": 251}, f"heat: must be less than or equal to 250, got 251; {SUCH_AS}"),
        ({"mode": "gril"}, "mode: must be one of fan, grill, got 'gril'; did you mean grill?"),
        (
            {"mode": 7},
            "mode: must be one of fan, grill, got 7; give a value fan | grill, such as fan",
        ),
        ({"note": 7}, "note: must be a valid string, got 7; leave it out"),
        ({"tray": 2}, "tray: is no setting, got 2; did you mean trays?"),
    ],
)
def test_an_error_line_has_field_rule_value_and_remedy(
    given_settings: dict[str, object], line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Oven.parse(given_settings)
    assert caught.value.lines == (line,)


@given(st.text(max_size=200) | st.floats() | st.none() | st.binary(max_size=200))
def test_whatever_is_given_the_answer_is_a_number_in_range_or_one_line(value: object) -> None:
    lines: tuple[str, ...] = ()
    try:
        heat = Oven.parse({"heat": value}).heat
    except ConfigError as error:
        lines = error.lines
    if lines:
        assert re.fullmatch(
            r"heat: must be .+, got .+; give a value > 0, ≤ 250, such as 180\.0", "|".join(lines)
        )
    else:
        assert 0 < heat <= 250


@pytest.mark.parametrize(
    ("given_settings", "rule"),
    [
        (
            {"device": "gpu"},
            "device: must be auto (a GPU if there is one), cpu, cuda, cuda:N or mps, got",
        ),
        ({"device": "cuda:x"}, "device: must be auto (a GPU if there is one), cpu"),
        ({"threads": "-1"}, "threads: must be greater than or equal to 0, got '-1'"),
        ({"checkpoint": "yes"}, "checkpoint: must be one of on, off, got 'yes'"),
    ],
)
def test_the_machines_settings_are_answered_alike(
    given_settings: dict[str, object], rule: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Machine.parse(given_settings)
    assert len(caught.value.lines) == 1
    assert str(caught.value).startswith(rule)


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Oven.parse({}).heat = 200  # type: ignore[misc]


def test_one_value_is_read_as_the_whole_group_reads_it() -> None:
    assert Oven.value("heat", "2e2") == Oven.parse({"heat": "2e2"}).heat == 200.0
    assert Oven.value("mode", "grill") == "grill"
    for name, impossible in (("heat", -1), ("mode", "x"), ("trays", "1.5"), ("colour", 1)):
        with pytest.raises(ConfigError) as group:
            Oven.parse({name: impossible})
        with pytest.raises(ConfigError) as alone:
            Oven.value(name, impossible)
        assert alone.value.lines == group.value.lines


def test_an_unknown_name_far_from_all_others_is_sent_to_the_list() -> None:
    assert (
        unknown("zzz", "1", ("heat",)) == "zzz: is no setting, got '1'; --help lists all settings"
    )


@given(st.floats(0.001, 250))
def test_different_numbers_have_different_words(number: float) -> None:
    class Rate(Settings):
        heat: Annotated[float, Setting("how hot", short="T={}")] = 1.0

    assert float(Rate.word("heat", number).removeprefix("T=")) == number
    assert Rate.word("heat", 180.0) == "T=180"
    assert Rate.word("heat", 1e-3) == "T=0.001"


def test_a_value_of_a_closed_list_may_have_a_word_of_its_own() -> None:
    assert RunConfig.word("norm", "layer") == "LN"
    assert RunConfig.word("optimizer", "muon_keras") == "muon_keras"
