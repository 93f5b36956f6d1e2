"""What exists, each declared once: settings of a run, experiments, data sets, metrics and clocks.

Everything here is light: neither torch nor MLflow is needed to read it.
"""
