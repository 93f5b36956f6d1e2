"""Which runs the paper's claims are about: those of which the memory of σw is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.claims.numbers import NO_EXPERIMENT
from analysis.claims.paper_file import PaperFile
from analysis.store.frames import Store
from suite.declarations.perturbation import SIGMA_W, Perturbation


def about_sigma_w(stores: Mapping[str, Store]) -> dict[str, Store]:
    """The experiments by which claims can be judged."""
    return {name: one for name, one in stores.items() if one.perturbation == SIGMA_W}


def arithmetic_alone(file: PaperFile) -> PaperFile:
    """The claims that need no runs."""
    claims = [claim for claim in file.claim if claim.experiments == (NO_EXPERIMENT,)]
    return file.model_copy(update={"claim": claims})


def judged_of(stores: Mapping[str, Store], file: PaperFile) -> PaperFile:
    """The claims to judge: all, or the arithmetic ones where all runs are about another setting."""
    return arithmetic_alone(file) if stores and not about_sigma_w(stores) else file


def unjudged_line(perturbations: Mapping[str, Perturbation]) -> str:
    """That claims are not judged by experiments about other settings; '' where there are none.

    Parameters
    ----------
    perturbations
        Experiment to the setting whose memory is asked for.
    """
    others = {name: one for name, one in perturbations.items() if one != SIGMA_W}
    if not others:
        return ""
    names = " and ".join(dict.fromkeys(one.name for one in others.values()))
    return (
        f"the paper's claims on training are about {SIGMA_W.name}: none is judged by "
        f"{', '.join(others)}, where memory is that of {names}"
    )
