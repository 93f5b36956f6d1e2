"""Table 7: do tuned procedures forget? The two extreme σw of each, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analysis.exhibits.captions import DEVIATION, caption, needs
from analysis.exhibits.choice import best_source
from analysis.exhibits.columns import accuracies, with_fitting
from analysis.exhibits.exhibit import Exhibit, absent
from analysis.exhibits.source import Source

BEST = "best"
TITLE = "Tuned procedures at the two extreme σw"

Sources = Mapping[str, Source]


def table_7(sources: Sources) -> Exhibit:
    """Accuracy at both σw, their difference, and the epochs."""
    found = best_source(sources, BEST, _tuned)
    if found is None:
        what = "runs of SGD with momentum, L2 and augmentation at two σw"
        return absent("table-7", TITLE, "Table 7", needs(what, BEST))
    scales = found.scale_values()
    source = found.at([scales[0], scales[-1]])
    table = with_fitting(accuracies(source, ("learning_rate", "kernel_l2")), source)
    table = table.rename(columns=_difference)
    text = caption(
        [
            "Test accuracy at τ_best by σw.",
            DEVIATION,
            "|Δ|: absolute difference of the means at the two σw, which noise makes too large; in "
            "brackets the 95 % interval of the true difference, which allows for that. τ_interp: "
            "median over seeds, ∞ where half of them or more never reach 99.5 % train accuracy, "
            "with the median's 95 % interval (none below six seeds). τ_best: mean with its 95 % t "
            "interval.",
        ],
        [source],
        BEST,
    )
    return Exhibit("table-7", TITLE, "Table 7", source.experiment, text, None, table, "")


def _tuned(source: Source) -> bool:
    about = source.about
    tuned = (about["optimizer"] == "momentum") & (about["kernel_l2"] > 0)
    augmented: pd.Series[bool] = about["augmentation"] != "none"
    return source.several_scales() and bool((tuned & augmented).any())


def _difference(name: str) -> str:
    return name.replace("spread", "|Δ|")
