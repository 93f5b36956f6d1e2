"""Finished runs which are not what they say, as MLflow shows: after an edit by hand, say.

A sweep counts what is FINISHED as done, so it has to say where that may be wrong. It never mends
such a run: somebody has made it so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from mlflow.entities import ViewType
from sqlalchemy import Engine, exists, select

from suite.basics.mlflow_client import every_page
from suite.basics.mlflow_tables import LISTED, latest_metrics, runs, tags, with_runs
from suite.declarations.attempts import RULE
from suite.declarations.config import RunConfig
from suite.declarations.stored import MALFORMED, read_config
from suite.declarations.tags import CONFIG_TAG, FINGERPRINT_TAG
from suite.tracking.ledger import Ledger
from suite.tracking.queries import engine_of
from suite.tracking.runs import Tracker

# MLflow's id, whether it has any metric, and its tag with all settings.
About = tuple[str, bool, str | None]

HAS_METRICS = exists().where(latest_metrics.c.run_uuid == runs.c.run_uuid)
WITHOUT_METRICS = select(runs.c.run_uuid).where(LISTED, runs.c.status == "FINISHED", ~HAS_METRICS)
CONFIGS = (
    select(tags.c.run_uuid, tags.c.value)
    .select_from(with_runs(tags))
    .where(tags.c.key == CONFIG_TAG, LISTED, runs.c.status == "FINISHED")
)


def doubts(tracker: Tracker, ledger: Ledger, configs: Iterable[RunConfig]) -> list[str]:
    """A line on each kind of finished run that may not be what it says, with an example.

    Parameters
    ----------
    configs
        The runs of the sweep.
    """
    finished = {
        ledger.finished[config.fingerprint]: config
        for config in configs
        if config.fingerprint in ledger.finished
    }
    empty, other = [], []
    for run_id, has_metrics, stored in _about(tracker, engine_of(tracker.uri)):
        if (config := finished.get(run_id)) is None:
            continue
        if not has_metrics:
            empty.append((run_id, config))
        if stored is not None and not _is_of(stored, config):
            other.append((run_id, config))
    doubled = [(run, config) for run, config in finished.items() if _others(ledger, config)]
    return [
        *_line(doubled, f"have other finished runs in MLflow, and {RULE}", "the others"),
        *_line(empty, "are FINISHED in MLflow without any metric, and count as done", "them"),
        *_line(other, "have settings not those of their fingerprint, and count as done", "them"),
    ]


def _others(ledger: Ledger, config: RunConfig) -> list[str]:
    return ledger.doubled.get(config.fingerprint, [])


def _line(found: list[tuple[str, RunConfig]], what: str, which: str) -> Iterator[str]:
    if found:
        run_id, config = found[0]
        yield (
            f"finished runs: {len(found)} {what}, such as {config.run_name} (run {run_id}); "
            f"delete {which} in MLflow if that is not meant"
        )


def _is_of(stored: str, config: RunConfig) -> bool:
    if stored == config.model_dump_json():  # all of this version's, without the time of reading
        return True
    try:
        return read_config(json.loads(stored)).fingerprint == config.fingerprint
    except MALFORMED:
        return False


def _about(tracker: Tracker, engine: Engine | None) -> Iterator[About]:
    """Every finished run of the experiment, from a database or from a server."""
    if engine is None:
        yield from _from_server(tracker)
        return
    where: Mapping[str, int] = {"experiment": int(tracker.experiment_id)}
    with engine.connect() as connection:
        empty = set(connection.execute(WITHOUT_METRICS, where).scalars())
        stored = {run_id: str(value) for run_id, value in connection.execute(CONFIGS, where)}
    for run_id in empty | stored.keys():
        yield run_id, run_id not in empty, stored.get(run_id)


def _from_server(tracker: Tracker) -> Iterator[About]:
    found = every_page(
        tracker.client.search_runs,
        experiment_ids=[tracker.experiment_id],
        filter_string=f"attributes.status = 'FINISHED' and tags.{FINGERPRINT_TAG} != ''",
        run_view_type=ViewType.ACTIVE_ONLY,
    )
    for run in found:
        yield run.info.run_id, bool(run.data.metrics), run.data.tags.get(CONFIG_TAG)
