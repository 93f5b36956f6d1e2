"""The verdict on each claim of Das et al. 2026: ``python -m analysis.claims``.

Each number of the paper, and each claim about a shape or an order, is held against the finished
runs of the paper's experiments. A claim is judged as soon as its own recipes are trained, whatever
else of the experiment is missing. Runs count only with the paper's exact settings.

reproduced: the 95 % interval of our value lies inside the paper's value ± a tolerance, or inside
the bound or above 0 for an order; of several parts, all do.
contradicted: it lies wholly outside (of one part out of m, the interval at 1 − 5 %/m).
undetermined: neither, or too few runs.

Tolerances with their reasons are in `analysis/claims/paper.toml`, the rule and why it is this one
in `analysis/claims/rule.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd

from analysis.claims.next_sweep import next_sweep
from analysis.claims.paper_file import paper
from analysis.claims.runs import Source, differences, differences_text
from analysis.claims.text import markdown, table, totals
from analysis.claims.verdicts import Judged, judge_claim
from analysis.store.frames import Store, StoreError, load, open_store
from suite.basics.cli import BAD_INPUT, Parser, complain, parse_known
from suite.basics.mlflow_client import default_uri
from suite.basics.settings import ConfigError
from suite.declarations.experiments import EXPERIMENTS

FLAGS = ("experiment", "tracking_uri", "out")


def judge(stores: Mapping[str, Store], *, seed: int = 0) -> pd.DataFrame:
    """The verdict on every claim of `paper.toml`, in its order.

    Parameters
    ----------
    stores
        Experiment to its runs; claims about others are undetermined.
    seed
        Decides all resampling.

    Returns
    -------
    DataFrame
        claim (its id), place, statement, experiment (which it needs; 'none' for arithmetic), unit,
        paper (what it says), ours (the number that decided: of several parts the one nearest to,
        or farthest over, the border; of an order the difference), low, high (95 % interval), n
        (seeds; 0 without runs), verdict ('reproduced', 'contradicted' or 'undetermined'), reason.
    """
    return frame(judged(stores, seed=seed))


def paper_experiments() -> tuple[str, ...]:
    """The experiments by which claims are judged."""
    needed = {name for claim in paper().claim for name in claim.experiments}
    return tuple(name for name in EXPERIMENTS if name in needed)


def judged(stores: Mapping[str, Store], *, seed: int = 0) -> list[Judged]:
    """The same as objects, which know what is missing."""
    file = paper()
    sources = {name: Source(store) for name, store in stores.items()}
    return [judge_claim(claim, sources, file, seed) for claim in file.claim]


def frame(found: Sequence[Judged]) -> pd.DataFrame:
    """The frame of `judge`."""
    return pd.DataFrame(
        [
            {
                "claim": one.claim.id,
                "place": one.claim.place,
                "statement": one.claim.statement,
                "experiment": ", ".join(one.claim.experiments),
                "unit": one.claim.unit,
                "paper": one.claim.paper_text,
                "ours": one.ours,
                "low": one.low,
                "high": one.high,
                "n": one.n,
                "verdict": one.verdict,
                "reason": one.reason,
            }
            for one in found
        ]
    )


def parser() -> Parser:
    """The command line."""
    seeds = paper().seeds
    needed = f"A number needs {seeds.number} seeds at every σw, an order {seeds.order}."
    made = Parser(
        prog="python -m analysis.claims",
        description=f"{__doc__}\n{needed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "--experiment",
        default="",
        help="experiments, with commas between (default the paper's that are in the store)",
    )
    made.add_argument(
        "--tracking-uri", default="", help="MLflow store (default $MLFLOW_TRACKING_URI, mlflow.db)"
    )
    made.add_argument(
        "--out", default="", help="folder for claims.csv and claims.md (default none)"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 whatever the verdicts are, 2 for bad input."""
    try:
        arguments = parse_known(parser(), sys.argv[1:] if argv is None else argv, FLAGS)
        folder = _folder(arguments.out)
        stores, lines = find(arguments.experiment, arguments.tracking_uri)
        for line in lines:
            print(line)
        found = judged(stores)
        _show(found)
        if folder is not None:
            _write(frame(found), folder)
    except (ConfigError, StoreError) as error:
        complain(error)
        return BAD_INPUT
    return 0


def find(experiment: str = "", tracking_uri: str = "") -> tuple[dict[str, Store], list[str]]:
    """The experiments to judge by, and a line on each, also on those that are left out.

    Parameters
    ----------
    experiment
        Names with commas between; empty takes the paper's that the store holds.
    tracking_uri
        Empty takes MLflow's own default; that there is no store yet is no error then.

    Raises
    ------
    StoreError
        If the store cannot be read, or holds no finished run of an experiment that was named.
    """
    named_store = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    uri = named_store or default_uri()
    try:
        with closing(open_store(uri)) as backend:
            known = backend.experiments()
    except StoreError as error:
        if named_store or experiment:
            raise
        return {}, [f"no runs: {error}"]
    named = list(dict.fromkeys(name.strip() for name in experiment.split(",") if name.strip()))
    stores: dict[str, Store] = {}
    lines = []
    for name in named or [name for name in paper_experiments() if name in known]:
        try:
            stores[name] = load(name, uri)
        except StoreError as error:
            if named:
                raise
            lines.append(f"left out: {error}")
        else:
            lines.append(f"experiment {name}: {len(stores[name].runs)} finished runs")
    return stores, [*lines, *_foreign(stores, known, uri)]


def _foreign(stores: Mapping[str, Store], known: Mapping[str, str], uri: str) -> list[str]:
    """A line for the demo, where it is what there is, and for what was named and is no one's."""
    if not stores and "demo" in known:
        try:
            stores = {"demo": load("demo", uri)}
        except StoreError:
            return ["no runs of the paper's experiments"]
    lines = []
    for name, store in stores.items():
        if name in paper_experiments():
            continue
        changed = _changed(store)
        says = f" ({differences_text(changed)})" if changed else ""
        lines.append(f"experiment {name} is not the paper's{says}: no claim is judged by it")
    return lines or ([] if stores else ["no runs of the paper's experiments"])


def _changed(store: Store) -> Mapping[str, tuple[object, object]]:
    """The settings that no run of the main grid has, by the first of the store's recipes."""
    axes = EXPERIMENTS["main"].axes
    own = next(EXPERIMENTS["main"].configs())
    for cell in Source(store).cells.values():
        found = differences(own, cell.config)
        return {key: values for key, values in found.items() if key not in axes}
    return {}


def _show(found: Sequence[Judged]) -> None:
    file, claims = paper(), frame(found)
    print(f"\n{table(claims)}\n")
    print("ours: of several parts the one that decides; of an order the difference that does")
    print(totals(claims))
    if sweep := next_sweep(found, file.seeds.number):
        print(f"next, {sweep.runs:,} runs that decide {sweep.claims} more claims:")
        print(f"  {sweep.command}")


def _folder(name: str) -> Path | None:
    if not name:
        return None
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(name, error) from None
    return Path(name)


def _write(claims: pd.DataFrame, folder: Path) -> None:
    texts = {"claims.csv": claims.to_csv(index=False), "claims.md": markdown(claims)}
    for name, text in texts.items():
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise _no_folder(str(folder), error) from None
        print(f"wrote {folder / name}")


def _no_folder(name: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"out: must be a folder that can be written, got {name} ({error.strerror}); name another"
    )
