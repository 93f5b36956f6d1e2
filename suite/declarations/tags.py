"""Names of what MLflow holds of a run beside its settings and metrics: tags, numbers of images.

Each name stands here alone. What writes runs, what reads them, and the stores that are made up for
tests and timing take it from here.
"""

from __future__ import annotations

# The suite's tags.
FINGERPRINT_TAG = "fingerprint"  # a run without it is not one of the suite's training runs
CONFIG_TAG = "config"  # all settings, as JSON
STATE_TAG = "state"  # running, interrupted, failed or finished
DIVERGED_TAG = "diverged"  # "true" or "false", once the run is finished
FAILURE_TAG = "failure"  # why a failed run broke
DEVICE_TAG = "device"
CODE_VERSION_TAG = "code_version"
HOST_TAG = "host"
VERSIONS_TAG = "versions"  # of the libraries
# On a parent run alone: name and fingerprint of the recipe whose runs are listed under it.
RECIPE_TAG, RECIPE_FINGERPRINT_TAG = "recipe", "recipe_fingerprint"

# Tags that MLflow understands.
NOTE_TAG = "mlflow.note.content"  # shown as the description
PARENT_TAG = "mlflow.parentRunId"  # the run under which this one is listed
NAME_TAG = "mlflow.runName"

# Parameters with the number of images in each part of the data.
SPLITS = ("train", "validation", "test")


def image_count(split: str) -> str:
    """The name of the parameter with the number of images of a split."""
    return f"{split}_images"


IMAGE_COUNTS = tuple(image_count(split) for split in SPLITS)
