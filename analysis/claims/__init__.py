"""The paper's claims, each with a verdict: ``python -m analysis.claims``."""
