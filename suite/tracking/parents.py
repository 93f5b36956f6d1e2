"""Parent runs: MLflow's run for a recipe, under which its runs of all scales and seeds stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from mlflow.entities import Run, ViewType
from mlflow.tracking.context.registry import resolve_tags

from suite.basics.mlflow_client import every_page
from suite.declarations.config import RunConfig
from suite.declarations.tags import NOTE_TAG, RECIPE_FINGERPRINT_TAG, RECIPE_TAG
from suite.state.leases import Leases
from suite.tracking.runs import Tracker

# No parameters or metrics: whoever searches for optimizer = adam wants runs, not this bracket.
ABOUT = "All runs of the recipe *{}*: one for each initialization scale σw and seed."


class Parents:
    """The parent runs of one MLflow experiment, by the fingerprint of their recipe.

    Parameters
    ----------
    tracker
        The experiment.
    leases
        What keeps processes from creating a parent twice.
    """

    def __init__(self, tracker: Tracker, leases: Leases) -> None:
        self._tracker, self._leases = tracker, leases

    def open(self, configs: Iterable[RunConfig]) -> dict[str, str]:
        """Have a running parent for each recipe of these runs.

        Returns
        -------
        dict
            Fingerprint of the recipe to MLflow's id of its parent.
        """
        client = self._tracker.client
        recipes = {config.recipe_fingerprint: config.recipe_name for config in configs}
        with self._leases.exclusively("recipes"):
            there = self._by_recipe()
            ids = {}
            for fingerprint, name in recipes.items():
                if fingerprint not in there:
                    there[fingerprint] = self._create(fingerprint, name)
                elif there[fingerprint].info.status != "RUNNING":
                    client.update_run(there[fingerprint].info.run_id, status="RUNNING")
                ids[fingerprint] = str(there[fingerprint].info.run_id)
        return ids

    def _create(self, fingerprint: str, name: str) -> Run:
        tags = {
            **resolve_tags(),
            RECIPE_TAG: name,
            RECIPE_FINGERPRINT_TAG: fingerprint,
            NOTE_TAG: ABOUT.format(name),
        }
        experiment = self._tracker.experiment_id
        return self._tracker.client.create_run(experiment, tags=tags, run_name=name)

    def end(self, recipes: Collection[str], status: str) -> None:
        """End the running parents of some recipes.

        A parent without a fingerprint is ended, too. Earlier versions made these, one for each
        name of a recipe; no run is put under them any more.

        Parameters
        ----------
        recipes
            The fingerprints of the recipes.
        status
            MLflow's status to end them with, such as FINISHED.
        """
        for run in self._all():
            fingerprint = run.data.tags.get(RECIPE_FINGERPRINT_TAG)
            if run.info.status == "RUNNING" and (fingerprint is None or fingerprint in recipes):
                self._tracker.client.set_terminated(run.info.run_id, status)

    def _by_recipe(self) -> dict[str, Run]:
        """The oldest parent of each recipe, so that all machines take the same."""
        found: dict[str, Run] = {}
        for run in self._all():
            if fingerprint := run.data.tags.get(RECIPE_FINGERPRINT_TAG):
                found.setdefault(fingerprint, run)
        return found

    def _all(self) -> Iterator[Run]:
        """All parents of the experiment, the oldest first."""
        return every_page(
            self._tracker.client.search_runs,
            experiment_ids=[self._tracker.experiment_id],
            filter_string=f"tags.{RECIPE_TAG} != ''",
            run_view_type=ViewType.ACTIVE_ONLY,
            order_by=["attributes.start_time ASC"],
        )
