"""The training engine: R configurations in; epochs, results and checkpoints in memory out.

It knows nothing of MLflow, of Optuna, or of where files lie.
"""
