"""Constants of update rules and normalization that are Keras's or PyTorch's defaults.

Das et al. 2026, Table 1.
"""

from __future__ import annotations

# Every rule is in one of these two, by what its update needs: rules that read the rate and nothing
# else that changes from step to step, with the names of their moments; and those that leave some
# parameters or all to Adam, and have its moments.
PLAIN: dict[str, tuple[str, ...]] = {"sgd": (), "momentum": ("velocity",), "lion": ("first",)}
ADAM_BASED = ("adam", "adamw", "muon_keras", "muon")
# By their clock: these run on T_adapt, all others are the SGD family.
ADAPTIVE = (*ADAM_BASED, "lion")
# Rules with decoupled weight decay.
DECAYING = ("adamw", "muon_keras", "muon", "lion")
# Decay of Adam's first and second moment in a step.
BETA1, BETA2 = 0.9, 0.999
ADAM_EPSILON = {"keras": 1e-7, "torch": 1e-8}
MUON_MOMENTUM = 0.95
# Lion's part of the momentum in the direction of a step, and what a step keeps of the momentum.
LION_BETA1, LION_BETA2 = 0.9, 0.99
# Keras adds λΣw² to the loss, gradient 2λw; torch's weight_decay adds λw.
L2_GRADIENT = {"keras": 2.0, "torch": 1.0}
# What a step keeps of BatchNorm's running statistics; PyTorch calls one minus this its momentum.
NORM_MOMENTUM = {"keras": 0.99, "torch": 0.9}
