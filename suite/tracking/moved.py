"""What a project loses sight of when its folder is moved, or its store exchanged for another."""

from __future__ import annotations

from collections.abc import Collection

from suite.basics.addresses import local_folder
from suite.basics.sqlite_address import is_sqlite, sqlite_file
from suite.state.workspace import Workspace
from suite.tracking.runs import Tracker


def notices(tracker: Tracker, workspace: Workspace, fingerprints: Collection[str]) -> list[str]:
    """A line for each thing that is not where it is looked for.

    Parameters
    ----------
    tracker, workspace
        Of the experiment.
    fingerprints
        The runs that are to be trained.
    """
    return [*_state_elsewhere(tracker, workspace, fingerprints), *_files_elsewhere(tracker)]


def _state_elsewhere(
    tracker: Tracker, workspace: Workspace, fingerprints: Collection[str]
) -> list[str]:
    """On runs that start anew though a folder of no experiment of this store has them."""
    found = workspace.elsewhere(fingerprints)
    if found:
        ours = {workspace.folder_of(place) for place in tracker.places()}
        found = {folder: count for folder, count in found.items() if folder not in ours}
    return [
        f"state_dir: {count} of the runs that start anew are half trained, or wait for MLflow, in "
        f"{folder}, which is of another store, or of this one before it was moved; to go on with "
        f"them, stop, and move their folders from there to {workspace.folder}"
        for folder, count in found.items()
    ]


def _files_elsewhere(tracker: Tracker) -> list[str]:
    """On an experiment whose files go into the folder in which it was created, which is gone."""
    if not is_sqlite(tracker.uri):
        return []
    location = tracker.client.get_experiment(tracker.experiment_id).artifact_location
    folder = local_folder(location)
    if folder is None or len(folder.parents) < 3:
        return []
    before, now = folder.parents[1], sqlite_file(tracker.uri).parent  # BEFORE/mlruns/ID
    if before.exists():
        return []
    return [
        f"tracking_uri: MLflow keeps the files of this experiment in {folder}, as when it was "
        f"created, and {before} is gone; to have them with the store: ln -s {now} {before}"
    ]
