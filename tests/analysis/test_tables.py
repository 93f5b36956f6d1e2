"""Frames as Markdown, LaTeX and CSV."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from analysis import tables


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "recipe": ["sgd b128", "a|b_c"],
            "σw=0.1 (%)": [85.04, np.nan],
            "σw=0.1 (%) sd": [0.31, np.nan],
            "spread (pp)": [26.52, 4.0],
            "spread (pp) low": [25.13, np.nan],
            "spread (pp) high": [27.94, np.nan],
            "τ_interp (epochs)": [34.0, np.inf],
            "n": [10, 1],
            "fits": [True, False],
            "T_SGD": [0.000277123, 1.0],
        }
    )


def test_uncertainty_stands_beside_its_number(frame: pd.DataFrame) -> None:
    shown = tables.joined(frame)
    assert list(shown["σw=0.1 (%) ± sd"]) == ["85.0 ± 0.3", "–"]
    assert list(shown["spread (pp) [95 %]"]) == ["26.5 [25.1, 27.9]", "4.0"]
    assert list(shown["τ_interp (epochs)"]) == ["34.0", "∞"]
    assert list(shown["T_SGD"]) == ["0.0002771", "1"]
    assert list(shown["fits"]) == ["yes", "no"]
    assert list(shown["n"]) == ["10", "1"]
    assert shown.shape == (2, 7)


def test_a_p_value_shows_no_more_digits_than_permutations_know() -> None:
    shown = tables.joined(pd.DataFrame({"p value": [1 / 2001, 0.39434, np.nan]}))
    assert list(shown["p value"]) == ["0.0005", "0.39", "–"]


def test_never_is_written_once() -> None:
    one = pd.DataFrame(
        {"t (epochs)": [np.inf], "t (epochs) low": [3.0], "t (epochs) high": [np.inf]}
    )
    assert tables.joined(one).iloc[0, 0] == "∞ [3.0, ∞]"
    assert tables.joined(one.assign(**{"t (epochs) low": np.inf})).iloc[0, 0] == "∞"


def test_markdown_is_one_table_with_pipes_escaped_and_numbers_to_the_right(
    frame: pd.DataFrame,
) -> None:
    head, rule, first, second = tables.markdown(frame).splitlines()
    assert head.startswith("| recipe | σw=0.1 (%) ± sd | spread (pp) [95 %] |")
    assert rule == "| :-- | --: | --: | --: | --: | :-- | --: |"
    assert first.startswith("| sgd b128 | 85.0 ± 0.3 | 26.5 [25.1, 27.9] |")
    assert second.startswith("| a\\|b_c | – | 4.0 | ∞ |")


def test_latex_has_booktabs_rules_and_nothing_that_latex_would_take_for_itself(
    frame: pd.DataFrame,
) -> None:
    text = tables.latex(frame, caption="Spread of 5 % & more, σw in {0.1}", label="t")
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:t}", r"\begin{tabular}{l"):
        assert rule in text
    assert r"\caption{Spread of 5 \% \& more, $\sigma_w$ in \{0.1\}}" in text
    assert r"a\textbar{}b\_c & -- & 4.0 & $\infty$" in text
    assert r"85.0 $\pm$ 0.3" in text
    assert r"$\tau_{\mathrm{interp}}$ (epochs)" in text
    assert text.isascii()


@pytest.mark.parametrize("sign", [*"#$%&_{}~^\\", "λ", "η", "≥", "−", "‖W‖", "R²", "|Δ|"])
def test_latex_escapes(sign: str) -> None:
    escaped = tables.escape(sign)
    assert escaped.isascii()
    assert escaped != sign


def test_csv_keeps_every_number_in_full_and_writes_it_behind(frame: pd.DataFrame) -> None:
    back = pd.read_csv(io.StringIO(tables.csv(frame)))
    numbers = [name for name in frame if name not in ("recipe", "fits")]
    pd.testing.assert_frame_equal(back[numbers], frame[numbers])
    assert back.loc[0, "spread (pp) [95 %]"] == "26.5 [25.1, 27.9]"
    assert list(back)[:7] == [
        "recipe",
        "σw=0.1 (%)",
        "σw=0.1 (%) sd",
        "σw=0.1 (%) ± sd",
        "spread (pp)",
        "spread (pp) low",
        "spread (pp) high",
    ]


def test_a_named_index_and_headings_of_two_rows_become_columns() -> None:
    columns = pd.MultiIndex.from_tuples([("σw=0.1", "mean"), ("σw=0.1", "")])
    frame = pd.DataFrame([[1.0, 2]], columns=columns, index=pd.Index(["sgd"], name="rule"))
    assert list(tables.joined(frame)) == ["rule", "σw=0.1 mean", "σw=0.1"]


def test_a_frame_without_rows_is_a_table_without_rows(frame: pd.DataFrame) -> None:
    assert len(tables.markdown(frame.head(0)).splitlines()) == 2
    assert r"\toprule" in tables.latex(frame.head(0), caption="", label="t")
    assert len(tables.csv(frame.head(0)).splitlines()) == 1


def test_columns_are_as_wide_as_their_text_and_never_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    long = "a recipe with a long name " * 8
    rows = [("sgd b16", "26.5 [25.1, 27.9]", "remembers"), (long.strip(), "–", "[bold]no[/]")]
    lines = tables.aligned(("recipe", "memory [95 %]", "verdict"), rows)
    width = len(long.strip())
    assert lines == [
        f"{'recipe':{width}}  {'memory [95 %]':>17}  verdict",
        f"{'sgd b16':{width}}  26.5 [25.1, 27.9]  remembers",
        f"{long.strip()}  {'–':>17}  [bold]no[/]",
    ]
