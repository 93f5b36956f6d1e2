"""Many runs' history of one metric in one request to an MLflow server, if nothing gets lost.

A server offers two such requests to its web page. One leaves points out to be quick; this one
gives all, but stops at 25,000 rows without saying so. So one request asks for no more runs than
stay well below that, and an answer of 25,000 rows is not used. This is about four times as fast as
one request for each run; a server that does not offer it is asked run by run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

ENDPOINT = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
ROWS_AT_MOST = 25_000
ROWS_ASKED_FOR = 20_000  # leaves room for epochs that were logged twice
RUNS_AT_MOST = 100

Point = tuple[str, int, int, float]  # run id, timestamp, step, value


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The runs 0, 1, … in groups whose epochs one request may ask for."""
    batch: list[int] = []
    rows = 0
    for run, length in enumerate(lengths):
        if batch and (rows + length > ROWS_ASKED_FOR or len(batch) == RUNS_AT_MOST):
            yield batch
            batch, rows = [], 0
        batch.append(run)
        rows += length
    if batch:
        yield batch


def bulk_history(uri: str, run_ids: Sequence[str], name: str) -> list[Point] | None:
    """All points of one metric of some runs; None if the server does not give all of them."""
    response: Any = http_request(  # type: ignore[no-untyped-call]
        host_creds=get_default_host_creds(uri),  # type: ignore[no-untyped-call]
        endpoint=ENDPOINT,
        method="GET",
        params={"run_id": list(run_ids), "metric_key": name, "max_results": ROWS_AT_MOST},
        raise_on_status=False,
    )
    if response.status_code != 200 or "json" not in response.headers.get("Content-Type", ""):
        return None
    found: list[dict[str, Any]] = response.json()["metrics"]
    if len(found) >= ROWS_AT_MOST:
        return None
    return [(point["run_id"], point["timestamp"], point["step"], point["value"]) for point in found]
