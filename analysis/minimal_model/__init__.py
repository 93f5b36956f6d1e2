"""The minimal model of forgetting, measured and drawn: ``python -m analysis.minimal_model``.

The networks are trained by `suite.minimal_model`; `measurements` reads exponents and collapses off
their paths, `figures` draws them, and `command` writes everything and may log it to MLflow.
"""
