"""The minimal model of forgetting, measured and drawn: ``python -m analysis.minimal_model``."""
