"""Titles and captions that name the perturbed setting, whichever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.declarations.perturbation import SIGMA_W

if TYPE_CHECKING:
    from analysis.exhibits.source import Source

PERTURBED = "{perturbed}"  # where a text names it


def with_symbol(text: str, source: Source | None) -> str:
    """A text with what the perturbed setting of some runs is called; σw where there are none."""
    perturbed = SIGMA_W if source is None else source.perturbation
    return text.replace(PERTURBED, perturbed.symbol)
