"""All experiments by name: the demo, those of Das et al. 2026, and these at reduced scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from suite.declarations.factorial import Experiment
from suite.declarations.miniatures import (
    ADAM_L2,
    CIFAR_SMALL,
    FEWER_SEEDS,
    MINIATURE_RUN,
    MINIATURES,
    VIT,
    VIT_TWIN,
)
from suite.declarations.paper_experiments import PAPER_EXPERIMENTS, PAPER_RUN
from suite.declarations.start_miniatures import STARTS

# What a single run starts from: the settings' own defaults, or the paper's.
PRESETS: Mapping[str, Mapping[str, Any]] = {"demo": {}, "paper": PAPER_RUN}

# Few σw and more seeds: of as many runs these have the narrower intervals, as memory is seen at the
# ends of σw.
DEMO = Experiment(
    "demo",
    "SGD fits its labels and remembers σw, less so at a higher rate; Adam forgets: some minutes",
    "§3.1 in miniature",
    axes={
        "optimizer": ("sgd", "adam"),
        "learning_rate": (1e-2, 5e-2),
        "batch_size": (16, 64),
        "sigma_w": (0.1, 1.0, 2.5),
        "seed": FEWER_SEEDS,
    },
    fixed={"epochs": 100},
).on(MINIATURE_RUN)

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        *(DEMO, *PAPER_EXPERIMENTS, *MINIATURES, ADAM_L2, *STARTS),
        *(VIT, VIT_TWIN, CIFAR_SMALL),
    )
}
# Names that stand for several experiments.
GROUPS: Mapping[str, Sequence[str]] = {
    "mini": tuple(experiment.name for experiment in MINIATURES),
    "mini-start": tuple(experiment.name for experiment in STARTS),
    "paper": tuple(experiment.name for experiment in PAPER_EXPERIMENTS),
}


def expand(names: str) -> list[str]:
    """Names of experiments from a text with commas, each group replaced by its members, once each.

    Whether there is an experiment of such a name is not looked at.
    """
    given = (name.strip() for name in names.split(","))
    return list(dict.fromkeys(one for name in given if name for one in GROUPS.get(name, (name,))))
