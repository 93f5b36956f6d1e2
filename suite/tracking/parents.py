"""MLflow's runs for recipes: under each, the runs of all its scales and seeds are listed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mlflow.entities import Run, ViewType
from mlflow.tracking.context.registry import resolve_tags

from suite.basics.mlflow_client import every_page
from suite.declarations.tags import NOTE_TAG, RECIPE_TAG
from suite.state.leases import Leases
from suite.tracking.runs import Tracker

# No parameters or metrics: whoever searches for optimizer = adam wants runs, not this bracket.
ABOUT = "All runs of the recipe *{}*: one for each initialization scale σw and seed."


class Recipes:
    """The recipes of one MLflow experiment.

    Parameters
    ----------
    tracker
        The experiment.
    leases
        What keeps processes from creating a recipe twice.
    """

    def __init__(self, tracker: Tracker, leases: Leases) -> None:
        self._tracker, self._leases = tracker, leases

    def open(self, names: Iterable[str]) -> dict[str, str]:
        """MLflow's run of each recipe, created if need be, and running."""
        client = self._tracker.client
        with self._leases.alone("recipes"):
            there = self._there()
            ids = {}
            for name in dict.fromkeys(names):
                if name not in there:
                    tags = {**resolve_tags(), RECIPE_TAG: name, NOTE_TAG: ABOUT.format(name)}
                    run = client.create_run(self._tracker.experiment_id, tags=tags, run_name=name)
                    there[name] = run
                elif there[name].info.status != "RUNNING":
                    client.update_run(there[name].info.run_id, status="RUNNING")
                ids[name] = str(there[name].info.run_id)
        return ids

    def end(self, names: Collection[str], status: str) -> None:
        """End those of the recipes that are running."""
        for name, run in self._there().items():
            if name in names and run.info.status == "RUNNING":
                self._tracker.client.set_terminated(run.info.run_id, status)

    def _there(self) -> dict[str, Run]:
        """The oldest run of each recipe, so that all machines take the same."""
        found: dict[str, Run] = {}
        parents = every_page(
            self._tracker.client.search_runs,
            experiment_ids=[self._tracker.experiment_id],
            filter_string=f"tags.{RECIPE_TAG} != ''",
            run_view_type=ViewType.ACTIVE_ONLY,
            order_by=["attributes.start_time ASC"],
        )
        for run in parents:
            found.setdefault(run.data.tags[RECIPE_TAG], run)
        return found
