"""The paper's claims, each with a verdict: ``python -m analysis.claims``.

`paper.toml` holds the paper's numbers with the tolerances and their reasons, `rule` says when a
claim is reproduced, contradicted or undetermined, `evidence`, `sources` and `runs` find what
decides it, and `verdicts` puts that into a line. `reduced` judges directions, orders and thresholds
by smaller runs that stand for the paper's: `places` says which can, `miniatures` and `matching` for
which recipe.
"""
