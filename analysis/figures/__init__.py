"""Estimate frames in, matplotlib figures out: one module for each kind of plot.

What all figures share (colours, markers, dashes, how optimizers and clocks are written) stands in
`style`. Nothing here estimates or reads a store.
"""

import analysis.output  # noqa: F401 (it chooses matplotlib's backend before matplotlib is imported)
