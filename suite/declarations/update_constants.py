"""Constants of update rules and normalization that are Keras's or PyTorch's defaults.

Das et al. 2026, Table 1.
"""

from __future__ import annotations

# Rules that read the rate and nothing else that changes from step to step, with their moments; and
# the adaptive ones, which have Adam's moments, and T_adapt as their clock.
PLAIN: dict[str, tuple[str, ...]] = {"sgd": (), "momentum": ("velocity",)}
ADAPTIVE = ("adam", "adamw", "muon_keras", "muon")
# Decay of Adam's first and second moment in a step.
BETA1, BETA2 = 0.9, 0.999
ADAM_EPSILON = {"keras": 1e-7, "torch": 1e-8}
MUON_MOMENTUM = 0.95
# Keras adds λΣw² to the loss, gradient 2λw; torch's weight_decay adds λw.
L2_GRADIENT = {"keras": 2.0, "torch": 1.0}
# What a step keeps of BatchNorm's running statistics; PyTorch calls one minus this its momentum.
NORM_MOMENTUM = {"keras": 0.99, "torch": 0.9}
