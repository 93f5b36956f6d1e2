"""State of runs that is in the state directory, and which this store's experiments do not find."""

from __future__ import annotations

from collections.abc import Collection

from suite.state.workspace import Workspace
from suite.tracking.runs import Tracker


def orphans(tracker: Tracker, workspace: Workspace, fingerprints: Collection[str]) -> str:
    """A line on runs that start anew though another folder has them half trained; '' if none do.

    Parameters
    ----------
    tracker, workspace
        Of the experiment.
    fingerprints
        The runs that are to be trained.
    """
    found = workspace.elsewhere(fingerprints)
    if found:
        others = {workspace.folder_of(place) for place in tracker.places()}
        found = {folder: count for folder, count in found.items() if folder not in others}
    if not found:
        return ""
    held = ", ".join(f"{count} in {folder}" for folder, count in found.items())
    return (
        f"state_dir: runs that start anew are half trained, or wait for MLflow, {held}, which is "
        "of another store, or of this one before it was moved; to go on with them, stop, and move "
        f"their folders from there to {workspace.folder}"
    )
