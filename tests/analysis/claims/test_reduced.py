"""Claims at reduced scale, on simulated runs whose memory is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
from claim_stores import paper_store, verdict_on
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from miniature_experiments import MINIATURES, declare

from analysis.claims.command import judge, judged
from analysis.claims.frame import frame
from analysis.claims.numbers import NUMBER_ALONE, AnyNumber
from analysis.claims.paper_file import PaperFile, paper
from analysis.store.frames import Store
from suite.declarations.experiments import EXPERIMENTS

HIERARCHY = ("sgd", "momentum", "adam")
FALLING = dict(zip(HIERARCHY, (16.0, 6.0, 2.0), strict=True))
NUMBERS = ["reduced_ours", "reduced_low", "reduced_high", "reduced_n"]


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> PaperFile:
    return declare(monkeypatch)


def small_main(spreads: Mapping[str, float], batch_size: int = 8, **more: Any) -> Store:
    made = {(name, batch_size): spread for name, spread in spreads.items()}
    return paper_store("small-main", made, **more)


def verdicts(stores: Mapping[str, Store], file: PaperFile) -> pd.DataFrame:
    return frame(judged(stores, file=file))


@pytest.mark.parametrize(
    ("spreads", "kind"),
    [
        ((16.0, 6.0, 2.0), "holds"),
        ((2.0, 6.0, 16.0), "reversed"),
        ((16.0, 2.0, 6.0), "reversed"),
        ((6.0, 6.0, 6.0), "open"),
    ],
)
def test_an_order_in_a_miniature_holds_is_reversed_or_stays_open(
    spreads: tuple[float, ...], kind: str, file: PaperFile
) -> None:
    made = small_main(dict(zip(HIERARCHY, spreads, strict=True)))
    row = verdict_on(verdicts({"small-main": made}, file), "hierarchy-b16")
    assert row["reduced"] == kind
    assert row["reduced_low"] < row["reduced_ours"] < row["reduced_high"]
    assert row["reduced_n"] == 5
    assert row["verdict"] == "undetermined"
    assert row["n"] == 0


def test_the_recipes_it_was_judged_on_and_in_what_they_differ_are_named(file: PaperFile) -> None:
    row = verdict_on(verdicts({"small-main": small_main(FALLING)}, file), "hierarchy-b16")
    pairs = ", ".join(f"{name} b8 for {name} b16" for name in HIERARCHY)
    assert row["reduced_on"] == f"small-main: {pairs}"
    for words in ("digits instead of cifar10", "40 epochs instead of 300", "b8 instead of b16"):
        assert words in row["reduced_differs"]
    assert "5-point" in row["reduced_reason"]  # the main grid has 25 σw


def test_nothing_at_reduced_scale_is_ever_counted_as_reproduced(file: PaperFile) -> None:
    stores = {
        "small-main": small_main(FALLING | {"adamw": 2.0, "muon_keras": 2.0}, 64),
        "small-long": paper_store("small-long", {(64,): 16.0}),
        "main": paper_store(
            "main", {(name, 16): spread for name, spread in FALLING.items()}, changes={"epochs": 20}
        ),
    }
    claims = verdicts(stores, file)
    alone = verdicts({}, file)
    assert (claims["reduced"] == "holds").sum() >= 3
    pd.testing.assert_series_equal(claims["verdict"], alone["verdict"])
    assert not set(claims["reduced"]) & {"reproduced", "contradicted", "undetermined"}


def test_a_number_is_judged_at_the_papers_recipe_alone(file: PaperFile) -> None:
    claims = verdicts({"small-main": small_main({"sgd": 26.5}, 64)}, file)
    for claim in file.claim:
        if isinstance(claim, AnyNumber) and claim.kind == "number" and claim.value is not None:
            row = verdict_on(claims, claim.id)
            assert (row["reduced"], row["reduced_reason"]) == ("", NUMBER_ALONE)


def test_a_bound_in_points_of_the_papers_task_says_why_it_is_not_judged(file: PaperFile) -> None:
    made = paper_store(
        "small-norm-aug", {(n, "adam", b): 2 for n in ("batch", "layer") for b in (8, 64)}
    )
    row = verdict_on(verdicts({"small-norm-aug": made}, file), "augmented-adam-spread")
    assert (row["reduced"], row["reduced_reason"]) == (
        "",
        "points of accuracy are those of the paper's task",
    )


def test_every_bound_says_whether_it_is_judged_at_reduced_scale() -> None:
    bounds = [one for one in paper().claim if one.kind == "number" and one.value is None]
    assert bounds
    assert all(bool(one.reduced) != bool(one.not_reduced) for one in bounds)


def test_a_recipe_without_a_counterpart_is_named(file: PaperFile) -> None:
    row = verdict_on(verdicts({"small-main": small_main({"adam": 2.0})}, file), "adam-batch-size")
    assert row["reduced"] == ""
    assert row["reduced_reason"] == "small-main has no counterpart of batch_size=256"


def test_an_order_is_judged_on_the_terms_that_have_a_counterpart(
    file: PaperFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = MINIATURES["small-main"]
    axes = {**small.axes, "optimizer": ("sgd", "adam")}
    monkeypatch.setitem(EXPERIMENTS, small.name, dataclasses.replace(small, axes=axes))
    made = small_main({"sgd": 16.0, "adam": 2.0})
    row = verdict_on(verdicts({"small-main": made}, file), "hierarchy-b16")
    assert row["reduced"] == "holds"
    assert "SGD 16.1 pp, Adam 1.9 pp; 5-point; without momentum b16" in row["reduced_reason"]
    only = {**small.axes, "optimizer": ("sgd",)}
    monkeypatch.setitem(EXPERIMENTS, small.name, dataclasses.replace(small, axes=only))
    alone = small_main({"sgd": 16.0})
    assert verdict_on(verdicts({"small-main": alone}, file), "hierarchy-b16")["reduced"] == ""


def test_a_collapse_is_judged_on_the_batch_sizes_that_have_a_counterpart(file: PaperFile) -> None:
    made = paper_store("small-main", {("adam", b): 2.0 for b in (8, 16, 32, 64)})
    row = verdict_on(verdicts({"small-main": made}, file), "collapse-adam")
    assert row["reduced"] == "open"  # no β at all
    assert row["reduced_on"].count(" for ") == 4


def test_a_miniature_that_is_not_trained_leaves_claims_open_with_its_command(
    file: PaperFile,
) -> None:
    row = verdict_on(verdicts({}, file), "rate-order-b16")
    command = "`python -m suite.grid --experiment small-lr-l2`"
    assert row["reduced"] == "open"
    assert row["reduced_reason"] == f"needs experiment small-lr-l2: {command}"
    part = paper_store("small-main", {("sgd", 8): 16.0})
    row = verdict_on(verdicts({"small-main": part}, file), "hierarchy-b16")
    assert row["reduced"] == "open"
    assert (
        "--experiment small-main --set optimizer=momentum,adam --set batch_size=8"
        in (row["reduced_reason"])
    )


def test_an_order_across_experiments_is_judged_on_their_miniatures(file: PaperFile) -> None:
    for spread, kind in ((16.0, "holds"), (3.0, "reversed")):
        stores = {
            "small-main": small_main({"sgd": 16.0}, 64),
            "small-long": paper_store("small-long", {(64,): spread}),
        }
        row = verdict_on(verdicts(stores, file), "long-does-not-erase")
        assert row["reduced"] == kind
        assert row["reduced_on"].startswith("small-long: b64 for b128; small-main: sgd b64 for")


def test_what_a_claim_is_about_has_to_be_in_the_miniature(file: PaperFile) -> None:
    stores = {
        "small-main": small_main({"sgd": 16.0}, 64),
        "small-norm-aug": paper_store(
            "small-norm-aug", {(norm, "sgd", 64): 6.0 for norm in ("batch", "layer")}
        ),
    }
    row = verdict_on(verdicts(stores, file), "augmentation-reduces")
    assert row["reduced"] == ""
    assert row["reduced_reason"] == "small-main, small-norm-aug: all have no aug"


# ------------------------------------------------------- the paper's experiments, made smaller
def reduced_main(
    spreads: Mapping[str, float] = FALLING, batch_size: int = 16, **more: Any
) -> Store:
    changes = {"width": 8, "epochs": 20, **more.pop("changes", {})}
    made = {(name, batch_size): spread for name, spread in spreads.items()}
    return paper_store("main", made, changes=changes, **more)


@pytest.mark.parametrize(
    ("spreads", "kind"),
    [((16.0, 6.0, 2.0), "holds"), ((2.0, 6.0, 16.0), "reversed"), ((6.0, 6.0, 6.0), "open")],
)
def test_an_own_smaller_run_of_the_main_grid_is_judged_the_same_way(
    spreads: tuple[float, ...], kind: str
) -> None:
    made = reduced_main(dict(zip(HIERARCHY, spreads, strict=True)))
    row = verdict_on(judge({"main": made}), "hierarchy-b16")
    assert row["reduced"] == kind
    assert row["reduced_on"].startswith("main (width 8, 20 epochs): sgd b16, ")
    says = "width 8 instead of width 64, 20 epochs instead of 300 epochs"
    assert row["reduced_differs"] == says
    assert row["verdict"] == "undetermined"


def test_fewer_seeds_and_scales_are_reduced_scale_too() -> None:
    made = reduced_main(scales=(0.1, 1.0, 2.5), seeds=(3, 4, 5))
    row = verdict_on(judge({"main": made}), "hierarchy-b16")
    assert (row["reduced"], row["reduced_n"]) == ("holds", 3)
    assert "3-point" in row["reduced_reason"]
    two = verdict_on(judge({"main": reduced_main(seeds=(3, 4))}), "hierarchy-b16")
    assert two["reduced"] == "open"
    assert "2 of 3 seeds" in two["reduced_reason"]
    assert "--set width=8 --set epochs=20" in two["reduced_reason"]


def test_a_part_of_the_range_of_scales_is_no_reduced_scale() -> None:
    made = reduced_main(scales=(0.5, 1.0, 1.8))
    row = verdict_on(judge({"main": made}), "hierarchy-b16")
    assert row["reduced"] == "open"
    assert "σw without a run" in row["reduced_reason"]


def test_recipes_with_different_changes_are_not_compared() -> None:
    short = reduced_main({"sgd": 16.0, "momentum": 6.0})
    long = reduced_main({"adam": 2.0}, changes={"epochs": 30})
    both = _joined(short, long)
    row = verdict_on(judge({"main": both}), "hierarchy-b16")
    assert row["reduced"] == "open"
    assert "no run of" in row["reduced_reason"]


def test_of_two_scales_the_one_nearer_to_the_paper_decides_and_the_other_is_named() -> None:
    near = reduced_main(changes={"width": 64})
    far = reduced_main(dict(zip(HIERARCHY, (2.0, 6.0, 16.0), strict=True)))
    row = verdict_on(judge({"main": _joined(near, far)}), "hierarchy-b16")
    assert row["reduced"] == "holds"
    assert row["reduced_on"].startswith("main (20 epochs): ")
    assert "reversed on main (width 8, 20 epochs)" in row["reduced_reason"]


def test_a_scale_with_all_of_the_claim_goes_before_a_nearer_one_with_part_of_it(
    file: PaperFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer one is of CIFAR-10, and has no momentum."""
    small = MINIATURES["small-main"]
    axes = {**small.axes, "optimizer": ("sgd", "adam"), "batch_size": (16, 128)}
    near = dataclasses.replace(
        small, name="near", axes=axes, fixed={"epochs": 40, "dataset": "cifar10", "width": 64}
    )
    monkeypatch.setitem(EXPERIMENTS, "near", near)
    part = paper_store("near", {("sgd", 16): 2.0, ("adam", 16): 16.0})
    row = verdict_on(
        verdicts({"near": part, "small-main": small_main(FALLING)}, file), "hierarchy-b16"
    )
    assert row["reduced"] == "holds"
    assert row["reduced_reason"].endswith("; reversed on near")
    # Where none is trained, the one that is proposed is the cheap one.
    assert (
        "--experiment small-main"
        in (verdict_on(verdicts({}, file), "sgd-b128-fits-later")["reduced_reason"])
    )
    alone = verdict_on(verdicts({"near": part}, file), "hierarchy-b16")
    assert alone["reduced"] == "reversed"
    assert alone["reduced_on"] == "near: sgd b16, adam b16"


def _joined(one: Store, other: Store) -> Store:
    runs = pd.concat([one.runs, other.runs], ignore_index=True)
    runs["run_id"] = [f"{i:032x}" for i in range(len(runs))]
    codes = [
        *one.history["run_id"].cat.codes.astype(int),
        *(other.history["run_id"].cat.codes.astype(int) + len(one.runs)),
    ]
    history = pd.concat([one.history, other.history], ignore_index=True)
    history["run_id"] = pd.Categorical.from_codes(codes, pd.Index(runs["run_id"]))
    return Store("main", runs, history, one.problems)


IRRELEVANT = st.fixed_dictionaries(
    {},
    optional={
        "precision": st.sampled_from(["bf16", "fp64"]),
        "semantics": st.just("torch"),
        "sigma_b": st.sampled_from([0.0, 0.1]),
        "train_fraction": st.sampled_from([0.2, 0.5]),
        "learning_rate": st.sampled_from([2e-3, 1e-2]),
        "early_stopping_patience": st.sampled_from([5, 7]),
    },
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=IRRELEVANT, spreads=st.permutations([2.0, 6.0, 16.0]))
def test_a_setting_that_all_runs_share_does_not_change_a_verdict(
    changes: dict[str, Any], spreads: list[float]
) -> None:
    made = dict(zip(HIERARCHY, spreads, strict=True))
    few = {"scales": (0.1, 1.0, 2.5), "seeds": (0, 1, 2)}
    plain = judge({"main": reduced_main(made, **few)})
    changed = judge({"main": reduced_main(made, **few, changes=changes)})
    kinds = ["claim", "verdict", "reduced", *NUMBERS]
    pd.testing.assert_frame_equal(plain[kinds], changed[kinds])


def test_names_and_the_order_of_runs_do_not_change_a_verdict() -> None:
    made = reduced_main(scales=(0.1, 1.0, 2.5), seeds=(0, 1, 2))
    turned = made.runs.iloc[::-1].reset_index(drop=True)
    names = {old: f"other-{old}" for old in made.runs["run_id"]}
    turned["run_id"] = turned["run_id"].map(names)
    history = made.history.copy()
    renamed = history["run_id"].astype(str).map(names)
    codes = pd.Index(turned["run_id"]).get_indexer(renamed)
    history["run_id"] = pd.Categorical.from_codes(codes, pd.Index(turned["run_id"]))
    other = Store("main", turned, history, made.problems)
    kinds = ["claim", "verdict", "reduced", *NUMBERS]
    pd.testing.assert_frame_equal(judge({"main": made})[kinds], judge({"main": other})[kinds])
