"""What needs no runs: Table 1 from the declarations, and Figure 9 from the minimal model."""

from __future__ import annotations

import pandas as pd

from analysis.exhibits.exhibit import Exhibit
from analysis.figures.scale_panels import optimizer_name
from suite.declarations.config import RunConfig
from suite.declarations.experiments import EXPERIMENTS
from suite.declarations.update_constants import ADAM_BASED, ADAM_EPSILON, BETA1, BETA2

SETTINGS = ("learning_rate", "schedule", "cosine_alpha", "momentum", "kernel_l2", "weight_decay")
ABSENT = "–"
MODEL = "minimal model"


def table_1() -> Exhibit:
    """The settings of the main grid's optimizers."""
    main = EXPERIMENTS["main"]
    rows = []
    for optimizer in main.axes["optimizer"]:
        config = main.config({"optimizer": optimizer})
        row: dict[str, str] = {"optimizer": optimizer_name(str(optimizer))}
        for name in SETTINGS:
            unit = RunConfig.about(name).unit
            row[f"{name} ({unit})" if unit else name] = _value(config, name)
        constants = {"β1": BETA1, "β2": BETA2, "ε": ADAM_EPSILON[config.semantics]}
        has_moments = optimizer in ADAM_BASED
        row |= {name: f"{value:g}" if has_moments else ABSENT for name, value in constants.items()}
        rows.append(row)
    epochs = main.config({}).epochs
    meanings = "; ".join(f"{name}: {RunConfig.about(name).help}" for name in SETTINGS)
    text = (
        f"As declared in suite/declarations, for {epochs} epochs at "
        f"batch sizes {', '.join(str(size) for size in main.axes['batch_size'])}; {ABSENT}: does "
        f"not act. {meanings}; β1, β2, ε: of Adam's moments, Keras's defaults and no settings "
        "(suite/declarations/update_constants.py). No measurement, so no interval."
    )
    return Exhibit(
        "table-1",
        "Settings of the main grid's optimizers",
        "Table 1",
        main.name,
        text,
        table=pd.DataFrame(rows),
    )


def figure_9(seed: int) -> Exhibit:
    """The trajectories of the minimal model, trained here; takes seconds."""
    from analysis.minimal_model.figures import figure_9 as draw
    from analysis.minimal_model.measurements import final_states, trajectories

    paths = trajectories(seed)
    ends = final_states(paths)
    text = (
        "Four optimizers on the loss (ab − 1)², from (1, 6), at two learning rates each: "
        "full-batch gradient descent, SGD on three targets in turn, full-batch Adam, Adam on "
        "targets drawn at random. D = a² − b², printed at the end of each path, is what gradient "
        "flow would keep at "
        f"−35. One path each (seed {seed} draws the targets), so no interval. All of the minimal "
        "model, the clocks included: python -m analysis.minimal_model."
    )
    return Exhibit(
        "figure-9",
        "Optimizers on a two-factor linear network",
        "Figure 9",
        MODEL,
        text,
        draw(paths, ends),
        ends,
    )


def _value(config: RunConfig, name: str) -> str:
    if not config.acts(name):
        return ABSENT
    value = getattr(config, name)
    return f"{value:g}" if isinstance(value, float) else str(value)
