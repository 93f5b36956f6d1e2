"""All exhibits and verdicts of a store as files and one page: ``python -m analysis.report``."""
