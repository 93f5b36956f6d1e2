from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from synthetic_frames import TRAIN_IMAGES, Truth, frames

from analysis.estimates.clock_axis import ADAPTIVE, axes
from analysis.estimates.forgetting_law import ForgettingLaw, TooFewRecipesError, fit_law
from analysis.estimates.memory import memory
from analysis.estimates.recipes import Recipe, find_recipes
from suite.declarations.config import ConfigError, RunConfig, parse

BASE = {"dataset": "digits", "epochs": 10}


def law_of_nature(config: RunConfig) -> float:
    """log10 memory, with known effects of every clock."""
    ends = {name: float(v[-1]) for name, v in axes(config, TRAIN_IMAGES).items()}
    if config.optimizer in ADAPTIVE:
        return -2.0 - 0.4 * np.log10(ends["T_adapt"])
    value = -1.8 - 0.2 * np.log10(ends["T_SGD"])
    if config.optimizer == "momentum":
        value -= 0.3
    if config.kernel_l2 > 0:
        value -= 0.5 + 0.6 * np.log10(ends["T_L2"])
    return float(value)


def grid(**axes_: tuple[object, ...]) -> list[RunConfig]:
    return [
        parse(BASE | dict(zip(axes_, values, strict=True)))
        for values in itertools.product(*axes_.values())
    ]


SGD = grid(
    optimizer=("sgd", "momentum"),
    learning_rate=(1e-3, 1e-2),
    kernel_l2=(0.0, 1e-3, 1e-2),
    batch_size=(16, 64, 128),
)
WHOLE = SGD + grid(optimizer=("adam", "muon"), batch_size=(16, 32, 128))


def store(
    configs: list[RunConfig], noise: float = 0.0, seed: int = 0
) -> tuple[list[Recipe], pd.DataFrame]:
    rng = np.random.default_rng(seed)
    recipes = [
        Recipe(
            str(i),
            config,
            TRAIN_IMAGES,
            np.array([0.1, 2.5]),
            np.arange(5),
            np.zeros((2, 5), dtype=np.intp),
            np.zeros((2, 5), dtype=np.bool_),
        )
        for i, config in enumerate(configs)
    ]
    logs = [law_of_nature(c) + noise * rng.standard_normal() for c in configs]
    table = pd.DataFrame(
        {
            "recipe": [c.label for c in recipes],
            "corrected": 10 ** np.array(logs),
            "noise_spread": 1e-9,
            "scales": 2,
        }
    )
    return recipes, table.assign(memory=table["corrected"])


def fitted(configs: list[RunConfig] = WHOLE, noise: float = 0.0, seed: int = 0) -> ForgettingLaw:
    return fit_law(*store(configs, noise, seed))


def test_every_known_effect_is_found() -> None:
    found = fitted().coefficients().set_index("term")["coefficient"]
    expected = {
        "log_T_SGD": -0.2,
        "log_T_adapt": -0.4,
        "log_T_L2": -0.6,
        "momentum": -0.3,
        "l2_on": -0.5,
        "intercept": -1.8,
        "adaptive": -0.2,
    }
    assert set(found.index) == set(expected)
    for term, value in expected.items():
        assert found[term] == pytest.approx(value, abs=1e-8), term


def test_factors_say_what_ten_times_the_clock_does() -> None:
    table = fitted(noise=0.1).coefficients().set_index("term")
    row = table.loc["log_T_L2"]
    assert row["factor"] == pytest.approx(10 ** row["coefficient"])
    assert row["factor_low"] < row["factor"] < row["factor_high"]
    # λ 1e-3 to 1e-2, η 1e-3 to 1e-2 and 63 against 8 steps an epoch.
    assert row["span"] == pytest.approx(2 + np.log10(63 / 8), abs=0.01)
    assert row["span_factor"] == pytest.approx(row["factor"] ** row["span"])
    assert np.isnan(table.loc["l2_on", "span"])
    assert table["recipes"].unique().tolist() == [42]


def test_intervals_of_effects_hold_the_truth() -> None:
    held = 0
    for seed in range(25):
        row = fitted(SGD, noise=0.2, seed=seed).coefficients().set_index("term").loc["log_T_L2"]
        held += row["low"] < -0.6 < row["high"]
    assert 21 <= held <= 25


def test_prediction_intervals_hold_new_recipes() -> None:
    new = parse(BASE | {"learning_rate": 3e-3, "batch_size": 32, "kernel_l2": 3e-3})
    held = 0
    for seed in range(25):
        row = fitted(SGD, noise=0.2, seed=seed).predict([new], TRAIN_IMAGES).iloc[0]
        truth = law_of_nature(new) + 0.2 * np.random.default_rng(1000 + seed).standard_normal()
        held += row["low"] < 10**truth < row["high"]
        assert not row["outside"]
    assert 21 <= held <= 25


def test_a_recipe_beyond_the_clocks_is_marked() -> None:
    far = [parse(BASE | {"learning_rate": rate}) for rate in (5e-3, 1.0)]
    assert fitted().predict(far, TRAIN_IMAGES)["outside"].tolist() == [False, True]


def test_leaving_a_recipe_out_is_a_refit_without_it() -> None:
    left = fitted(SGD, noise=0.2).leave_one_out()
    recipes, table = store(SGD, noise=0.2)
    rest = fit_law(recipes[:7] + recipes[8:], table)
    again = rest.predict([recipes[7].config], TRAIN_IMAGES).iloc[0]
    row = left.iloc[7]
    for name in ("memory", "low", "high"):
        assert row[name] == pytest.approx(again[name])
    assert row["error"] == pytest.approx(np.log10(row["memory"] / row["observed"]))
    assert left["inside"].mean() > 0.85
    assert left["error"].std() == pytest.approx(0.2, rel=0.35)


def test_a_recipe_that_alone_carries_a_term_cannot_be_left_out() -> None:
    one = [c for c in WHOLE if c.optimizer != "momentum"] + [
        parse(BASE | {"optimizer": "momentum"})
    ]
    left = fitted(one, noise=0.1).leave_one_out()
    assert np.isnan(left["memory"].iloc[-1])
    assert not left["inside"].iloc[-1]
    assert left["memory"].notna().sum() == len(left) - 1


def test_terms_that_do_not_vary_are_left_out() -> None:
    plain = grid(batch_size=(16, 32, 64, 128, 256), learning_rate=(1e-3, 1e-2))
    assert list(fitted(plain, noise=0.1).design.columns) == ["intercept", "log_T_SGD"]


def test_architectures_have_their_own_level_once() -> None:
    deep = [c.with_(model="resnet56", width=16) for c in SGD[:12]]
    law = fitted(SGD + deep, noise=0.1)
    assert [name for name in law.design if "=" in name] == ["model=resnet56"]
    with pytest.raises(
        ConfigError, match=r"norm: must be one that the law was fitted on \(batch\)"
    ):
        law.predict([parse(BASE | {"norm": "layer"})], TRAIN_IMAGES)
    with pytest.raises(ConfigError, match=r"optimizer: .*got adaptive; add such a recipe"):
        law.predict([parse(BASE | {"optimizer": "adam"})], TRAIN_IMAGES)


def test_too_few_recipes_are_refused_with_the_number_needed() -> None:
    few = grid(optimizer=("sgd", "adam"), batch_size=(16, 128))
    with pytest.raises(TooFewRecipesError, match=r"at least 7 for the 4 terms .*, got 4; add"):
        fitted(few)


def test_recipes_whose_clocks_go_together_are_refused() -> None:
    # T_L2 and T_SGD move together where the batch size and λ are fixed.
    together = grid(learning_rate=tuple(1e-3 * 2**i for i in range(8)), kernel_l2=(1e-3,))
    with pytest.raises(TooFewRecipesError, match=r"must vary each of .* apart from the others"):
        fitted(together)


def test_cells_without_memory_are_left_out_and_named() -> None:
    recipes, table = store(SGD, noise=0.1)
    table.loc[3, "corrected"] = np.nan
    law = fit_law(recipes, table)
    assert law.left_out == ("3",)
    assert len(law.design) == len(SGD) - 1
    with pytest.raises(TooFewRecipesError, match=r"got 0 of 36; add recipes or seeds"):
        fit_law(recipes, table.assign(corrected=np.nan))


def plain_law(memory: np.ndarray, error: float, x: np.ndarray) -> ForgettingLaw:
    """The law of recipes on one clock, at 10^(−3 + x) of it, with five σw."""
    configs = [parse(BASE | {"learning_rate": float(rate)}) for rate in 1e-3 * 10 ** (x / 2)]
    recipes, table = store(configs)
    table["corrected"], table["scales"] = memory, 5
    # 2.326 is the mean range of five standard normal variables (Tippett 1925).
    table["noise_spread"] = error / np.sqrt(2) * 2.326
    return fit_law(recipes, table)


def test_a_third_of_the_recipes_unseen_neither_flattens_the_slope_nor_spoils_its_interval() -> None:
    rng = np.random.default_rng(3)
    x, error, slopes, held = np.linspace(0, 2, 12), 4e-3, [], []
    for _ in range(60):
        truth = 10 ** (-1 - x + 0.1 * rng.standard_normal(12))
        law = plain_law(truth + error * rng.standard_normal(12), error, x)
        assert law.unseen.sum() >= 2
        row = law.coefficients().set_index("term").loc["log_T_SGD"]
        slopes.append(row["coefficient"])
        held.append(row["low"] < -1 < row["high"])
    assert np.mean(slopes) == pytest.approx(-1, abs=0.05)
    assert np.mean(held) >= 0.88  # of 95 %, 2.5 binomial errors below


def test_no_prediction_lies_above_the_largest_memory_seen() -> None:
    # Memory is full until a clock near 1, and e-fold after: a power law knows no such ceiling.
    x = np.linspace(-0.5, 1, 12)
    law = plain_law(0.26 * np.exp(-(10**x)), 1e-3, x)
    far = parse(BASE | {"learning_rate": 1e-3 * 10**-0.75})  # a decade to the left
    row = law.predict([far], TRAIN_IMAGES).iloc[0]
    assert row["capped"]
    assert row["memory"] == pytest.approx(0.26 * np.exp(-(10**-0.5)), rel=1e-9)
    assert row["high"] < 1
    left = law.leave_one_out()
    assert (left["memory"] <= left["observed"].max() + 1e-12).all()


def test_unseen_memories_are_counted_and_are_not_asked_for_a_logarithm() -> None:
    recipes, table = store(SGD)
    table.loc[[0, 1], "corrected"] = [-0.001, 0.0005]
    table["noise_spread"] = 0.002
    law = fit_law(recipes, table)
    # Of two σw the mean range is 2/√π, and an error √2 of that of one mean.
    np.testing.assert_allclose(law.error, 0.002 * np.sqrt(np.pi / 2))
    np.testing.assert_array_equal(law.unseen, table["corrected"] < 2 * law.error)
    assert law.memory[0] == -0.001
    assert law.coefficients()["unseen"].iloc[0] == law.unseen.sum()
    assert np.isnan(law.leave_one_out()["error"][0])
    with pytest.raises(ConfigError, match="memory: must have a known noise where it is not above"):
        fit_law(recipes, table.assign(noise_spread=np.nan))
    with pytest.raises(TooFewRecipesError, match="with a memory above its noise, got 0 of 36"):
        fit_law(recipes, table.assign(noise_spread=1e3))


def test_what_only_unseen_memories_carry_is_not_told() -> None:
    recipes, table = store(WHOLE)
    adaptive = [r.config.optimizer in ADAPTIVE for r in recipes]
    table.loc[adaptive, "corrected"] = [0, -2e-4, 1e-4, 0, 0, -1e-4]
    table.loc[adaptive, "noise_spread"] = 1e-3
    found = fit_law(recipes, table).coefficients().set_index("term")
    assert np.isinf(found.loc["adaptive", ["low", "high"]].to_numpy(dtype=float)).all()
    assert found.loc["log_T_L2", "coefficient"] == pytest.approx(-0.6, abs=1e-6)


def test_memories_measured_on_runs_give_the_law_of_their_making() -> None:
    configs = [c for c in SGD if c.optimizer == "sgd"]
    recipes = [
        {
            "batch_size": c.batch_size,
            "learning_rate": c.learning_rate,
            "kernel_l2": c.kernel_l2,
            "epochs": 10,
        }
        for c in configs
    ]
    truth = Truth(
        test_accuracy=lambda config, s: 0.9 - 10 ** law_of_nature(config) * (s - 0.1) / 2.4,
        test_noise=1e-4,
    )
    runs, _ = frames(recipes, truth, np.random.default_rng(0))
    law = fit_law(find_recipes(runs), memory(runs, permutations=100))
    found = law.coefficients().set_index("term")
    assert found.loc["log_T_SGD", "coefficient"] == pytest.approx(-0.2, abs=0.05)
    assert found.loc["log_T_L2", "coefficient"] == pytest.approx(-0.6, abs=0.05)
