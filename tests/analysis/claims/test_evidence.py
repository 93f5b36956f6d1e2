"""Claims about learning curves, norms and train accuracy, on curves whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from claim_stores import paper_store, verdict_on

from analysis.claims.command import judge
from analysis.store.frames import Store
from suite.declarations.clocks import clocks
from suite.declarations.config import RunConfig
from suite.declarations.paper_experiments import PAPER_SEEDS

ADAPTIVE = ("adam", "adamw", "muon_keras")
BATCHES = (16, 32, 64, 128, 256)
SEEDS = PAPER_SEEDS[:5]


def with_epochs(store: Store, *, best: int, fitted: int, gap: float, scale: float = 0.0) -> Store:
    """The store with these τ_best, τ_interp and repair gaps (at one σw, or everywhere)."""
    runs = store.runs.copy()
    here = (runs["sigma_w"] == scale) | (scale == 0)
    wobble = np.random.default_rng(0).normal(0, 0.001, len(runs))
    runs.loc[here, "best_epoch"] = float(best)
    runs.loc[here, "interpolation_epoch"] = float(fitted)
    runs.loc[here, "repair_gap"] = (gap + wobble)[here]
    return replace(store, runs=runs)


@pytest.fixture(scope="module")
def small() -> Store:
    return paper_store("main", {(name, 16): 1.6 for name in (*ADAPTIVE, "sgd")})


@pytest.fixture(scope="module")
def large() -> Store:
    return paper_store("main", {(name, 128): 4.3 for name in (*ADAPTIVE, "sgd")})


def test_small_batches_are_best_before_they_fit(small: Store) -> None:
    claims = judge({"main": with_epochs(small, best=6, fitted=34, gap=-0.02)})
    for claim in ("best-epoch", "interpolation-epoch"):
        assert verdict_on(claims, f"adam-b16-{claim}")["verdict"] == "reproduced"
    row = verdict_on(claims, "adaptive-b16-best-before-fit")
    assert (row["verdict"], row["ours"]) == ("reproduced", -28)
    claims = judge({"main": with_epochs(small, best=60, fitted=34, gap=0.02)})
    assert verdict_on(claims, "adaptive-b16-best-before-fit")["verdict"] == "contradicted"
    assert verdict_on(claims, "adam-b16-best-epoch")["verdict"] == "contradicted"


def test_one_recipe_at_one_scale_is_enough_to_contradict(large: Store) -> None:
    kept = with_epochs(large, best=150, fitted=20, gap=0.03)
    claims = judge({"main": kept})
    assert verdict_on(claims, "adaptive-b128-repair")["verdict"] == "reproduced"
    assert verdict_on(claims, "adaptive-b128-best-after-fit")["verdict"] == "reproduced"
    runs = kept.runs.copy()
    one = (runs["optimizer"] == "adamw") & (runs["sigma_w"] == 2.5)
    runs.loc[one, "repair_gap"] = -0.03 + 0.001 * np.arange(one.sum())
    row = verdict_on(judge({"main": replace(kept, runs=runs)}), "adaptive-b128-repair")
    assert row["verdict"] == "contradicted"
    assert row["reason"] == "adamw b128 σw=2.5: disagrees with ≥ 0 pp"
    assert row["ours"] == pytest.approx(-2.8, abs=0.3)


def test_sgd_repairs_nothing(large: Store) -> None:
    flat = judge({"main": with_epochs(large, best=100, fitted=90, gap=0.0)})
    assert verdict_on(flat, "sgd-b128-repair")["verdict"] == "reproduced"
    repaired = judge({"main": with_epochs(large, best=100, fitted=90, gap=0.0, scale=0.1)})
    assert verdict_on(repaired, "sgd-b128-repair")["reason"].startswith("σw=")


def test_sgd_fits_later_at_large_scales(large: Store) -> None:
    late = with_epochs(large, best=100, fitted=90, gap=0.0)
    late = with_epochs(late, best=100, fitted=30, gap=0.0, scale=0.1)
    row = verdict_on(judge({"main": late}), "sgd-b128-fits-later")
    assert (row["verdict"], row["ours"]) == ("reproduced", 30)
    even = with_epochs(large, best=100, fitted=90, gap=0.0)
    assert verdict_on(judge({"main": even}), "sgd-b128-fits-later")["verdict"] == "contradicted"


def test_train_accuracy_has_to_hold_at_every_scale(large: Store) -> None:
    assert verdict_on(judge({"main": large}), "sgd-b128-fits")["verdict"] == "reproduced"
    history = large.history.copy()
    widest = set(large.runs.index[large.runs["sigma_w"] == 1.3])
    lower = history["run_id"].cat.codes.isin(widest)
    history.loc[lower, "train_accuracy"] -= 0.01
    row = verdict_on(judge({"main": replace(large, history=history)}), "sgd-b128-fits")
    assert row["verdict"] == "contradicted"
    assert row["reason"] == "σw=1.3: disagrees with ≥ 99.4 %"


def test_norm_memory_is_told_from_its_slope(large: Store) -> None:
    same = verdict_on(judge({"main": large}), "norm-memory-b128")
    assert same["verdict"] == "undetermined"  # all slopes are ½
    runs = large.runs.copy()
    adaptive = runs["optimizer"].isin(ADAPTIVE)
    wobble = np.exp(np.random.default_rng(1).normal(0, 0.01, len(runs)))
    runs["kernel_norm_best"] *= wobble
    runs.loc[adaptive, "kernel_norm_best"] = 20 * wobble[adaptive]
    row = verdict_on(judge({"main": replace(large, runs=runs)}), "norm-memory-b128")
    assert row["verdict"] == "reproduced"
    assert row["ours"] == pytest.approx(0.5, abs=0.03)


def decays(share: float, part: float):  # type: ignore[no-untyped-def]
    """β from −0.1 to `share` of it, within `part` of the epochs."""

    def beta(config: RunConfig) -> np.ndarray:
        epoch = np.arange(1, config.epochs + 1)
        return -0.1 * (share + (1 - share) * np.exp(-epoch / (part * config.epochs)))

    return beta


def curves_of(recipes: dict[tuple[str, int], float], beta: object) -> Store:
    return paper_store("main", recipes, truth={"beta": beta, "run_noise": 0.002})


@pytest.mark.parametrize(
    ("share", "level", "flat"),
    [(0.9, "reproduced", "reproduced"), (0.0, "contradicted", "contradicted")],
)
def test_sgds_sensitivity_stays_flat_near_a_tenth(share: float, level: str, flat: str) -> None:
    claims = judge({"main": curves_of({("sgd", 16): 20, ("sgd", 128): 20}, decays(share, 0.1))})
    assert verdict_on(claims, "beta-sgd-level")["verdict"] == level
    row = verdict_on(claims, "beta-sgd-flat")
    assert row["verdict"] == flat
    assert row["ours"] == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize(("share", "verdict"), [(0.02, "reproduced"), (0.5, "contradicted")])
def test_adaptive_sensitivity_falls_by_an_order(share: float, verdict: str) -> None:
    recipes = {(name, 16): 2.0 for name in ADAPTIVE}
    row = verdict_on(
        judge({"main": curves_of(recipes, decays(share, 0.05))}), "beta-adaptive-b16-decays"
    )
    assert row["verdict"] == verdict


def test_curves_without_any_sensitivity_tell_nothing_of_its_decay() -> None:
    none = curves_of({(name, 16): 2.0 for name in ADAPTIVE}, lambda c: np.zeros(c.epochs))
    row = verdict_on(judge({"main": none}), "beta-adaptive-b16-decays")
    assert row["verdict"] == "undetermined"
    assert "its peak does not rise above the noise" in row["reason"]


def test_holes_in_histories_are_said_and_not_filled() -> None:
    whole = curves_of({("sgd", 16): 20, ("sgd", 128): 20}, decays(0.9, 0.1))
    of_seed = set(whole.runs.index[whole.runs["seed"] == SEEDS[0]])
    first = whole.history["run_id"].cat.codes.isin(of_seed)
    late = whole.history["epoch"] > 280
    holes = replace(whole, history=whole.history[~(first & late)])
    row = verdict_on(judge({"main": holes}), "beta-sgd-level")
    assert row["verdict"] == "undetermined"
    assert "some runs lack the metric in their history" in row["reason"]


def on_clock(config: RunConfig) -> np.ndarray:
    """β that decays on T_adapt, from −0.1 to nearly 0 for the largest batch."""
    adapt = clocks(config, 1000).adapt  # the frames' own training split
    return -0.1 * np.exp(-adapt / (0.3 * clocks(config.with_(batch_size=256), 1000).adapt[-1]))


def test_a_collapse_on_the_clock_is_reproduced() -> None:
    made = paper_store("main", {("adam", b): 2.0 for b in BATCHES}, truth={"beta": on_clock})
    claims = judge({"main": made})
    row = verdict_on(claims, "collapse-adam")
    assert row["verdict"] == "reproduced"
    assert row["n"] == 5
    missing = verdict_on(claims, "collapse-sgd")
    assert missing["reason"].startswith("no run of sgd b16 (and 4 more)")


def test_curves_that_fall_together_on_epochs_contradict_the_clock() -> None:
    def by_epoch(config: RunConfig) -> np.ndarray:
        return -0.1 * np.exp(-np.arange(1, config.epochs + 1) / 100)

    made = paper_store("main", {("adam", b): 2.0 for b in BATCHES}, truth={"beta": by_epoch})
    row = verdict_on(judge({"main": made}), "collapse-adam")
    assert row["verdict"] == "contradicted"
    assert "worse than on epochs" in row["reason"]


def test_curves_that_hardly_move_neither_agree_with_the_clock_nor_contradict_it() -> None:
    """All curves are within ±0.06 decades: small errors tell them apart, and nobody's eye does."""

    def nearly_flat(config: RunConfig) -> np.ndarray:
        return -0.09 - 0.03 * np.exp(-np.arange(1, config.epochs + 1) / 100)

    made = paper_store("main", {("adam", b): 2.0 for b in BATCHES}, truth={"beta": nearly_flat})
    row = verdict_on(judge({"main": made}), "collapse-adam")
    assert row["verdict"] == "undetermined"
    assert "decades, of 0.3 needed" in row["reason"]
