"""A sweep: from an experiment to its to-do list, its workers, its Optuna study and its outcome."""
