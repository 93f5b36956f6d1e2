"""Records into MLflow, and what MLflow says is done already."""
