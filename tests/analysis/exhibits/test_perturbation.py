"""Figures, tables and their texts name the setting that is perturbed, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from figure_frames import panels
from perturbed_frames import perturbed_store

from analysis.estimates.overview import estimate
from analysis.exhibits import phase_diagram
from analysis.exhibits.beyond import own_exhibits
from analysis.exhibits.catalogue import FIGURES_OF_RUNS, TABLES_OF_RUNS
from analysis.exhibits.exhibit import Exhibit
from analysis.exhibits.source import Source

RECIPES = [{"batch_size": size, "epochs": 12} for size in (16, 64)]
CATEGORIES = ["fp32", "bf16"]


def made(source: Source) -> Iterator[Exhibit]:
    sources = {source.experiment: source}
    for make in (*FIGURES_OF_RUNS, *TABLES_OF_RUNS):
        yield make(sources)
    yield from own_exhibits(sources)


@pytest.fixture(scope="module")
def of_biases() -> dict[str, Exhibit]:
    accuracies = {0.0: 0.8, 0.2: 0.75, 2.0: 0.6}
    store = perturbed_store("sigma_b", accuracies, RECIPES, scales=(0.5, 1.0), noise=0.004)
    return {one.name: one for one in made(Source(store))}


@pytest.fixture(scope="module")
def of_formats() -> dict[str, Exhibit]:
    store = perturbed_store("precision", {"bf16": 0.6, "fp32": 0.8}, RECIPES, noise=0.004)
    return {one.name: one for one in made(Source(store))}


def there(exhibits: dict[str, Exhibit]) -> list[Exhibit]:
    return [one for one in exhibits.values() if not one.missing]


def words(exhibit: Exhibit) -> str:
    if exhibit.figure is None:
        return ""
    shown = [exhibit.figure.get_suptitle()]
    for panel in exhibit.figure.axes:
        shown += [panel.get_xlabel(), panel.get_ylabel()]
    return " ".join(shown)


def test_no_text_of_an_exhibit_of_sigma_b_calls_it_sigma_w(of_biases: dict[str, Exhibit]) -> None:
    for one in there(of_biases):
        assert "σw" not in one.title + one.caption + words(one)
        assert "σb" in one.caption  # at the least, at how many of them there are runs
    assert "σb" in of_biases["figure-1"].title + of_biases["figure-2"].title


def test_no_text_is_left_with_a_place_to_fill(
    of_biases: dict[str, Exhibit], of_formats: dict[str, Exhibit]
) -> None:
    for one in (*of_biases.values(), *of_formats.values()):
        assert "{" not in one.name + one.title + one.caption + one.missing + words(one)


def test_all_kinds_but_the_law_and_norms_are_made_of_sigma_b(
    of_biases: dict[str, Exhibit],
) -> None:
    wanted = {"figure-1", "figure-2", "figure-3", "figure-6", "table-2", "table-3"}
    wanted |= {"accuracy-by-sigma-b", "memory", "phase-diagram", "collapse", "forgetting-times"}
    wanted |= {"memory-by-epoch", "dose-response", "variance"}
    assert wanted <= {one.name for one in there(of_biases)}
    assert "no term" in of_biases["forgetting-law"].missing


def test_tables_have_columns_of_sigma_b_and_rows_of_each_sigma_w(
    of_biases: dict[str, Exhibit],
) -> None:
    accuracies = of_biases["accuracy-by-sigma-b"].table
    assert "sigma_b" in accuracies
    assert "sigma_w" not in accuracies
    memory = of_biases["memory"].table
    assert sorted(memory["σw"]) == ["0.5", "0.5", "1", "1"]
    assert set(memory["σb"]) == {3}
    assert "slope (pp per σb)" in of_biases["dose-response"].table


def test_categories_have_a_memory_and_shares_and_nothing_that_needs_a_slope(
    of_formats: dict[str, Exhibit],
) -> None:
    memory = of_formats["memory"].table
    assert memory["spread (pp)"].to_numpy() == pytest.approx([20.0, 20.0], abs=1)
    assert "precision (%)" in of_formats["variance"].table
    assert not any("noise at" in name for name in of_formats["variance"].table)
    for name in ("figure-6", "collapse", "forgetting-times", "dose-response"):
        assert (
            of_formats[name].missing == "made: precision has categories, on which there is no slope"
        )


def test_categories_stand_along_axes_in_the_order_of_their_declaration(
    of_formats: dict[str, Exhibit],
) -> None:
    for name in ("accuracy-by-precision", "figure-1", "figure-2"):
        bottom = panels(of_formats[name].figure)[-1]
        assert [tick.get_text() for tick in bottom.get_xticklabels()] == CATEGORIES
    line = panels(of_formats["accuracy-by-precision"].figure)[0].get_lines()[0]
    assert line.get_xdata().tolist() == [0, 1]
    assert line.get_ydata().tolist() == pytest.approx([0.8, 0.6], abs=0.01)


def test_the_phase_diagram_says_what_it_leaves_out_of_categories() -> None:
    store = perturbed_store("precision", {"fp32": 0.8, "bf16": 0.6}, RECIPES)
    found = estimate(store, resamples=10)
    lines = phase_diagram.unknown_lines(found)
    assert sum("precision has categories" in line for line in lines) == 1
    names = [name for name, _ in phase_diagram.figures(found, "made")]
    assert names == ["accuracy-by-precision", "accuracy-map", "memory-plane", "phase-diagram"]
