from __future__ import annotations

import math
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from analysis.claims import paper_file as claim_file
from analysis.claims.command import judge
from analysis.claims.numbers import AnyNumber
from analysis.claims.paper_file import PaperFile, paper
from analysis.claims.recipes import declared_recipe
from suite.basics.settings import ConfigError
from suite.declarations.config import parse
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.paper_experiments import PAPER_RUN

# Every number that the paper's text states as a result, and how often (its unit beside it).
STATED = Counter(
    {
        **{(85.0, "%"): 1, (58.6, "%"): 1, (26.5, "pp"): 1, (99.5, "%"): 3},  # §3.1; App. D twice
        **{(99, "%"): 1},  # Figure 7
        **{(22.8, "pp"): 1, (25.7, "pp"): 1, (10.9, "pp"): 1},
        **{(4.3, "pp"): 1, (4.7, "pp"): 1, (4.0, "pp"): 1, (1.6, "pp"): 1, (5.3, "pp"): 1},
        **{(26, "pp"): 1},  # 5,000 epochs
        **{(9.7, "pp"): 1, (4.5, "pp"): 1, (23.8, "pp"): 1, (8.1, "pp"): 1},  # rates
        **{(0.3, "pp"): 2, (17.4, "pp"): 1, (1, "pp"): 2},  # L2; 5 against 25 σw
        **{(8.3, "pp"): 1, (18.9, "pp"): 1, (5.1, "pp"): 1, (15.2, "pp"): 1, (3.5, "pp"): 1},
        **{(94.2, "%"): 2, (0.0, "pp"): 5, (0.6, "pp"): 1},  # tuned; four repair gaps
        **{(24.2, "pp"): 1, (20.4, "pp"): 1},  # depth
        **{(5, "epochs"): 1, (7, "epochs"): 1, (30, "epochs"): 1, (40, "epochs"): 1},
        **{(7.3e-4, "1"): 1, (1.2e-2, "1"): 1, (4.7, "1"): 2, (0.94, "1"): 1},  # clocks
        **{(6.58, "million"): 2, (0.86, "million"): 1, (1.74, "million"): 1},
        **{(-1, "pp"): 1},  # either way
        **{(-35, "D"): 2, (-3, "D"): 1, (0, "D"): 2, (-27, "D"): 1},
    }
)
# Bounds that are our reading of a word of the paper: flat, near, an order of magnitude.
READINGS = ("1/σw", "ratio")


def raw() -> dict[str, object]:
    text = Path(claim_file.__file__).with_name("paper.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def test_every_number_that_the_paper_states_is_in_the_file_and_no_other() -> None:
    found: Counter[tuple[float, str]] = Counter()
    for claim in paper().claim:
        if isinstance(claim, AnyNumber) and claim.unit not in READINGS:
            for bound in set(claim.bounds):
                signed = claim.unit == "epochs" and bound == 0
                found[(bound, claim.unit)] += math.isfinite(bound) and not signed
    found[(85, "%")] -= 1  # of the adaptive rules in Table 3, as of SGD at the smallest σw
    assert +found == STATED


def test_claims_of_shape_and_order_stand_beside_the_numbers() -> None:
    ids = {claim.id for claim in paper().claim}
    assert {"hierarchy-b16", "hierarchy-b128", "long-does-not-erase", "l2-threshold"} <= ids
    assert {"depth-order", "rate-order-b16", "beta-sgd-flat", "collapse-adam"} <= ids


def test_every_paper_experiment_has_claims() -> None:
    needed = {name for claim in paper().claim for name in claim.experiments}
    assert needed == {"main", "long", "lr-l2", "norm-aug", "best", "depth", "none"}


def test_a_number_is_written_as_the_paper_prints_it() -> None:
    claims = judge({}).set_index("claim")["paper"]
    assert claims["sgd-b128-accuracy-smallest"] == "85.0"
    assert claims["long-b128-spread"] == "26"
    assert claims["muon-b128-spread"] == "4.0"
    assert claims["sgd-b128-fits"] == "≥ 99.5"
    assert claims["adam-b16-interpolation-epoch"] == "30 to 40"
    assert claims["l2-5e-3-b128-spread"] == "< 1"
    assert claims["depth-order"] == "R9 > R56 > R110"


def test_a_recipe_is_the_papers_run_with_the_axes_it_names() -> None:
    found = declared_recipe(
        "depth", {"architecture": "resnet110", "optimizer": "adam", "batch_size": 16}
    )
    expected = {"model": "resnet110", "width": 16, "early_stopping_patience": 30}
    expected |= {"optimizer": "adam", "batch_size": 16}
    assert found.config.fingerprint == parse({**PAPER_RUN, **expected}).fingerprint
    assert found.scales == EXPERIMENTS["depth"].axes["sigma_w"]
    tuned = declared_recipe("best", {"procedure": "sgd", "batch_size": 128})
    assert (tuned.config.optimizer, tuned.config.kernel_l2) == ("momentum", 5e-4)


@pytest.mark.parametrize(
    ("experiment", "point", "scales", "says"),
    [
        ("main", {"optimizer": "sgd"}, (), "recipe: must give optimizer, batch_size"),
        ("main", {"optimizer": "sgd", "batch_size": 17}, (), "batch_size: must be one of"),
        ("main", {"optimizer": "sgd", "batch_size": 16}, (0.15,), "scales: must be σw of main"),
        ("mian", {}, (), "experiment: must be of"),
    ],
)
def test_a_recipe_that_the_experiment_does_not_have_is_refused(
    experiment: str, point: dict[str, object], scales: tuple[float, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        declared_recipe(experiment, point, scales)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"quantity": "spraed"}, "a quantity of"),
        ({"unit": "%"}, "spread is in pp"),
        ({"at_most": 3.0}, "exactly one of"),
        ({"tolerance": "generous"}, "a declared tolerance"),
        ({"recipe": {"optimizer": "sgd"}}, "must give optimizer, batch_size"),
        ({"statement": "x" * 60}, "at most 47"),
        ({"place": "somewhere"}, "match pattern"),
        ({"sedes": 3}, "Extra inputs"),
        ({"reduced": "a sign"}, "no word on reduced scale"),
        ({"value": None, "at_most": 3}, "why a bound is judged at reduced scale"),
        ({"about": ["widht"]}, "about settings of a run, got widht"),
    ],
)
def test_a_mistake_in_the_file_is_found_on_loading(change: dict[str, object], says: str) -> None:
    content = raw()
    claims = content["claim"]
    assert isinstance(claims, list)
    (spread,) = [claim for claim in claims if claim["id"] == "sgd-b128-spread"]
    spread |= change
    content["claim"] = [
        {key: value for key, value in claim.items() if value is not None} for claim in claims
    ]
    with pytest.raises(ValidationError, match=says):
        PaperFile.model_validate(content)


def test_ids_are_unique() -> None:
    content = raw()
    claims = content["claim"]
    assert isinstance(claims, list)
    claims.append(claims[0])
    with pytest.raises(ValidationError, match="every id once"):
        PaperFile.model_validate(content)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[miniature.mini-mian]\n", "paper.toml: miniature: must be an experiment that is one"),
        ("[seeds\n", "paper.toml: must be TOML; "),
        ("[tolerance.wide]\nabsolute = 'much'\nreason = 'r'\n", "tolerance.wide.absolute: "),
    ],
)
def test_a_file_with_a_mistake_is_refused_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    shipped = Path(claim_file.__file__).with_name("paper.toml").read_text(encoding="utf-8")
    path = tmp_path / "paper.toml"
    path.write_text(f"{shipped}\n{text}", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        claim_file.read(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_tolerance_says_why() -> None:
    assert all(len(tolerance.reason) > 20 for tolerance in paper().tolerance.values())
