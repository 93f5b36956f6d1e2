"""Frames in, estimates with their uncertainty out: memory, β(t), clocks, collapses, forgetting.

Each function takes the runs (and history) frames of a store and gives a frame with one row per
recipe, or per recipe and σw or epoch. Everything is estimated inside a recipe, with the seed as the
unit of resampling. Nothing here reads a store or draws. `overview.estimate` makes all that a phase
diagram shows.
"""
