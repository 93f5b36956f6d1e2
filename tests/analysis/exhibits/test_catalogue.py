"""Which exhibits are made from which experiments, what they show, and what they say of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from exhibit_parts import by_name, lines, made, panels, rows
from exhibit_stores import EPOCHS, SEEDS, SPAN, demo, demo_recipes, paper, recipes_of, store
from matplotlib.colors import to_hex
from synthetic_frames import SCALES

from analysis.exhibits.ablation import figure_4, table_4
from analysis.exhibits.beyond import own_exhibits
from analysis.exhibits.catalogue import Exhibit, exhibits
from analysis.exhibits.main_grid import figure_2
from analysis.exhibits.sensitivity import figure_6
from analysis.exhibits.source import Source
from analysis.exhibits.variants import figure_5
from analysis.figures import style
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.paper_experiments import PAPER_OPTIMIZERS

NAMES = [f"figure-{n}" for n in range(1, 10)] + [f"table-{n}" for n in range(1, 8)]
OF_ANY_SWEEP = ["figure-1", "figure-2", "figure-3", "figure-6", "table-2", "table-3"]
COMMANDS = {
    "figure-4": "lr-l2",
    "figure-5": "depth",
    "figure-7": "depth",
    "figure-8": "norm-aug",
    "table-4": "lr-l2",
    "table-5": "depth",
    "table-6": "norm-aug",
    "table-7": "best",
}


@pytest.fixture(scope="module")
def of_paper() -> dict[str, Exhibit]:
    return by_name(list(islice(exhibits(paper()), len(NAMES))))


@pytest.fixture(scope="module")
def of_demo() -> dict[str, Exhibit]:
    return made({"demo": demo()})


def test_the_papers_sixteen_come_first_and_in_order_made_or_missing(
    of_paper: dict[str, Exhibit], of_demo: dict[str, Exhibit]
) -> None:
    for found in (of_paper, of_demo):
        assert list(found)[:16] == NAMES
        for exhibit in list(found.values())[:16]:
            has = exhibit.figure is not None or exhibit.table is not None
            assert has != bool(exhibit.missing)
            assert exhibit.place == exhibit.name.replace("-", " ").title()
            assert bool(exhibit.caption) == has
            assert "\n" not in exhibit.missing


def test_the_papers_experiments_supply_all_of_them(of_paper: dict[str, Exhibit]) -> None:
    assert [name for name in NAMES if of_paper[name].missing] == []
    for name in NAMES:
        assert (of_paper[name].figure is not None) == name.startswith("figure")
        assert of_paper[name].table is not None


def test_a_small_sweep_supplies_what_its_axes_allow_and_says_whose_it_is(
    of_demo: dict[str, Exhibit],
) -> None:
    for name in OF_ANY_SWEEP:
        assert of_demo[name].experiment == "demo"
        assert "The paper's runs are those of main; these are demo's." in of_demo[name].caption
        assert "n = 3 seeds" in of_demo[name].caption


def test_what_is_missing_names_the_command_that_supplies_it(of_demo: dict[str, Exhibit]) -> None:
    assert {name for name in NAMES if of_demo[name].missing} == set(COMMANDS)
    for name, experiment in COMMANDS.items():
        assert of_demo[name].missing.endswith(f"python -m suite.grid --experiment {experiment}")


def test_without_any_runs_only_what_is_declared_and_the_minimal_model_are_made() -> None:
    found = made({})
    assert {name for name in NAMES if not found[name].missing} == {"table-1", "figure-9"}
    assert all(one.missing for name, one in found.items() if name not in NAMES)


def test_an_experiment_of_ones_own_supplies_the_sweep_of_rate_and_decay() -> None:
    swept = recipes_of("lr-l2", learning_rate=(1e-3, 1e-2), kernel_l2=(0.0,), batch_size=(16,))
    mine = {"mine": Source(store("mine", swept))}
    assert figure_4(mine).experiment == table_4(mine).experiment == "mine"
    assert "these are mine's" in figure_4(mine).caption
    assert figure_5(mine).missing


def test_settings_that_are_not_the_papers_are_named(of_paper: dict[str, Exhibit]) -> None:
    said = f"Not the paper's recipes: {EPOCHS} epochs instead of 300 epochs in 15 of 15."
    assert said in of_paper["figure-1"].caption


def test_the_papers_own_recipes_are_not_said_to_differ() -> None:
    first = next(exhibits({"long": paper()["long"]}))
    assert "Not the paper's" not in first.caption
    assert "these are long's" in first.caption


def test_figure_1_shows_every_optimizer_at_two_batch_sizes(of_paper: dict[str, Exhibit]) -> None:
    shown = panels(of_paper["figure-1"])
    assert [panel.get_title() for panel in shown] == ["batch size 16"] * 3 + ["batch size 128"] * 3
    for panel in (shown[0], shown[3]):
        assert set(lines(panel)) == {style.optimizer_look(name).name for name in PAPER_OPTIMIZERS}
        sgd = lines(panel)["SGD"]
        np.testing.assert_allclose(sgd.get_ydata(), 0.9 - 0.1 * np.array(SCALES))
        assert to_hex(sgd.get_color()).upper() == style.optimizer_look("sgd").colour
    gap = of_paper["figure-1"].table.query("quantity == 'generalization_gap' and family == 'sgd'")
    drawn = lines(shown[1])["SGD"].get_ydata()
    np.testing.assert_allclose(drawn, 100 * gap[gap["batch_size"] == 16]["mean"])
    assert shown[2].get_yscale() == "log"
    dashed = [line for line in shown[2].get_lines() if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed[0].get_ydata(), 10 * np.array(SCALES), rtol=0.02)
    assert "Batch sizes 16 and 128 of 3" in of_paper["figure-1"].caption


def test_figure_2_has_a_panel_for_every_batch_size(of_paper: dict[str, Exhibit]) -> None:
    shown = panels(of_paper["figure-2"])
    assert [panel.get_title() for panel in shown] == [f"batch size {b}" for b in (16, 32, 128)]
    np.testing.assert_allclose(
        shown[0].get_images()[0].get_array()[0], 0.9 - 0.1 * np.array(SCALES)
    )
    assert len(rows(of_paper["figure-2"])) == 15 * len(SCALES)


def test_figure_3_draws_batch_sizes_in_a_column_for_each_optimizer(
    of_paper: dict[str, Exhibit],
) -> None:
    above = panels(of_paper["figure-3"])[: len(PAPER_OPTIMIZERS)]
    assert [panel.get_title() for panel in above[:2]] == ["SGD", "SGD + momentum"]
    assert {"b = 16", "b = 32", "b = 128"} <= set(lines(above[0]))
    # 1 − ½exp(−t/5σ) reaches 99.5 % at t = 5σ·ln 100, beyond 30 epochs from σw = 1.4 on.
    expected = np.ceil(5 * np.array(SCALES) * np.log(100))
    reached = np.where(expected <= EPOCHS, expected, np.nan)
    np.testing.assert_allclose(lines(above[0])["b = 16"].get_ydata(), reached)
    assert list(lines(above[0])["b = 16, never"].get_xdata()) == [1.8, 2.5]
    never = 15 * 2 * len(SEEDS)
    assert f"{never} of {15 * 5 * len(SEEDS)} runs never reach it" in of_paper["figure-3"].caption


@pytest.mark.parametrize("name", ["figure-5", "figure-7"])
def test_architectures_are_laid_beside_the_main_grids_resnet_9(
    of_paper: dict[str, Exhibit], name: str
) -> None:
    exhibit = of_paper[name]
    assert exhibit.experiment == "depth, main"
    titles = [f"{rule}, batch size {b}" for rule in ("SGD", "Adam") for b in (16, 128)]
    assert [panel.get_title() for panel in panels(exhibit)] == titles
    drawn = lines(panels(exhibit)[0])
    assert list(drawn) == ["R9-AvgPool", "ResNet-56", "ResNet-110", "ResNet-9"]
    assert drawn["ResNet-9"].get_color() == "#777777"
    assert set(rows(exhibit)["optimizer"]) == {"sgd", "momentum", "adam"}
    assert "SGD + momentum: numbers in the table only." in exhibit.caption


def test_figure_7_shows_train_accuracy_in_the_last_epoch(of_paper: dict[str, Exhibit]) -> None:
    drawn = lines(panels(of_paper["figure-7"])[0])["ResNet-9"]
    expected = 1 - 0.5 * np.exp(-0.2 * EPOCHS / np.array(SCALES))
    np.testing.assert_allclose(drawn.get_ydata(), expected)


def test_a_comparison_says_that_its_baseline_is_missing() -> None:
    alone = figure_5({"depth": Source(paper()["depth"])})
    assert alone.experiment == "depth"
    assert "Without its baseline, which main supplies." in alone.caption


def test_norms_and_augmentation_are_laid_beside_the_main_grid(
    of_paper: dict[str, Exhibit],
) -> None:
    exhibit = of_paper["figure-8"]
    assert list(lines(panels(exhibit)[0])) == ["BN, aug", "LN, aug", "BN, no aug"]
    table = rows(of_paper["table-6"], optimizer="SGD", b=16)
    kinds = list(zip(table["norm"], table["augmentation"], strict=True))
    assert kinds == [("BN", "flip-crop"), ("LN", "flip-crop"), ("BN", "none")]
    np.testing.assert_allclose(table["spread (pp)"], 10 * SPAN)


def test_table_5_tells_when_each_architecture_fits(of_paper: dict[str, Exhibit]) -> None:
    table = rows(of_paper["table-5"])
    assert len(table) == 3 * 3 * 2 + 3 * 2
    assert set(table["model"]) == {"resnet9", "r9-avgpool", "resnet56", "resnet110"}
    np.testing.assert_allclose(table["τ_interp at σw=0.1 (epochs)"], np.ceil(0.5 * np.log(100)))
    assert np.isinf(table["τ_interp at σw=2.5 (epochs)"]).all()


def test_table_7_has_the_difference_between_both_scales(of_paper: dict[str, Exhibit]) -> None:
    table = rows(of_paper["table-7"])
    assert list(table["b"]) == [16, 128, 16, 128]
    tuned = table[table["optimizer"] == "SGD + momentum"]
    np.testing.assert_allclose(tuned["|Δ| (pp)"], 2.5 * SPAN)
    np.testing.assert_allclose(tuned["σw=0.1 (%)"], 100 * (0.9 - 0.025 * 0.1))
    assert list(tuned["λ"]) == ["0.0005", "0.0005"]


def test_figure_6_has_both_families_and_each_mechanisms_clock(
    of_paper: dict[str, Exhibit],
) -> None:
    exhibit = of_paper["figure-6"]
    assert exhibit.experiment == "main, lr-l2"
    titles = [panel.get_title().splitlines()[0] for panel in panels(exhibit)]
    families = [f"{f}, batch size {b}" for b in (16, 128) for f in ("SGD family", "adaptive rules")]
    assert titles == [*families, "SGD", "SGD, η=0.01, λ=0.01", "Adam"]
    clocks = [panel.get_xlabel().split()[0] for panel in panels(exhibit)]
    assert clocks == ["epoch"] * 4 + ["T_SGD", "T_L2", "T_adapt"]
    assert {"SGD", "SGD + momentum", "SGD, η=0.01, λ=0.01"} <= set(lines(panels(exhibit)[0]))
    assert {"b = 16", "b = 32", "b = 128"} <= set(lines(panels(exhibit)[-1]))


def test_figure_6_draws_the_known_sensitivity(of_paper: dict[str, Exhibit]) -> None:
    adam = lines(panels(of_paper["figure-6"])[1])["Adam"]
    epoch = np.asarray(adam.get_xdata(), dtype=float)
    np.testing.assert_allclose(adam.get_ydata()[:5], 0.1 * np.exp(-epoch[:5] / 4), rtol=0.1)
    table = rows(of_paper["figure-6"], family="Adam", batch_size=16)
    assert (table["low"] <= table["beta"]).all()
    assert table["epoch"].iloc[-1] == EPOCHS
    assert (table["seeds"] == len(SEEDS)).all()


def test_table_2_and_3_are_at_the_extreme_scales(of_paper: dict[str, Exhibit]) -> None:
    small, large = (rows(of_paper[name], optimizer="SGD") for name in ("table-2", "table-3"))
    np.testing.assert_allclose(small["test at τ_best (%)"], 89)
    np.testing.assert_allclose(large["test at τ_best (%)"], 65)
    assert list(small["reach τ_interp"]) == [3, 3, 3]
    assert list(large["reach τ_interp"]) == [0, 0, 0]
    assert large["repair gap (pp)"].isna().all()


def test_table_1_is_what_the_experiment_declares(of_demo: dict[str, Exhibit]) -> None:
    table = rows(of_demo["table-1"])
    assert list(table["optimizer"]) == [
        style.optimizer_look(name).name for name in PAPER_OPTIMIZERS
    ]
    momentum = EXPERIMENTS["main"].config({"optimizer": "momentum"}).momentum
    assert list(table["momentum"]) == ["–", f"{momentum:g}", "–", "–", "–"]
    assert list(table["weight_decay"]) == ["–", "–", "–", "0.0001", "0.0001"]
    assert set(table["learning_rate (per step)"]) == {"0.001"}


def test_diverged_runs_are_counted_as_what_they_return() -> None:
    base = demo()
    runs = base.runs.copy()
    runs.loc[runs["sigma_w"] == SCALES[-1], "diverged"] = True
    gone = int(runs["diverged"].sum())
    map_ = figure_2({"demo": Source(replace(base, runs=runs))})
    assert f"{gone} of them diverged and count as what they return" in map_.caption
    last = rows(map_, sigma_w=SCALES[-1])
    assert (last["diverged"] == 3).all()
    assert (last["n"] == 3).all()


def test_one_seed_gives_spreads_without_intervals() -> None:
    alone = {"demo": Source(store("demo", demo_recipes(), seeds=(42,)))}
    table = rows(by_name(list(own_exhibits(alone)))["memory demo"])
    np.testing.assert_allclose(table["spread (pp)"], [10 * SPAN, 10 * SPAN, SPAN])
    assert table["spread (pp) low"].isna().all()
    for make in (figure_2, figure_6):
        assert not make(alone).missing
        assert "n = 1 seed " in make(alone).caption


def test_one_scale_allows_accuracy_alone() -> None:
    found = made({"demo": store("demo", demo_recipes(), scales=(1.0,))})
    assert {name for name in NAMES if not found[name].missing} == {"table-1", "figure-9"}
    assert not found["accuracy-by-sigma-w demo"].missing
    assert found["memory "].missing == "demo: no recipe has runs at two σw"


def test_the_same_seed_gives_the_same_numbers(of_demo: dict[str, Exhibit]) -> None:
    again = Source(demo())
    assert rows(figure_6({"demo": again})).equals(rows(of_demo["figure-6"]))
    own = {one.name: one for one in own_exhibits({"demo": again})}
    for name in ("memory", "phase-diagram"):
        assert rows(own[name]).equals(rows(of_demo[f"{name} demo"]))
