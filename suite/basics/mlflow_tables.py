"""MLflow's tables, as far as they are asked by SQL: where MLflow's own client takes too long.

The client reads histories metric by metric and run by run, and finds a tag's value by going through
that tag of all runs. The tables are MLflow's private matter and may change with any version, so
their names stand in this module alone; every query is built from it. tests/test_mlflow_insides.py
compares it with a store that MLflow has just made, and names what has changed.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    Integer,
    Join,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

# What MLflow stores for infinity; for NaN it stores 0 and sets `is_nan`.
LARGEST = sys.float_info.max
ACTIVE = "active"  # the lifecycle stage of what is not deleted

METADATA = MetaData()

experiments = Table(
    "experiments",
    METADATA,
    Column("experiment_id", Integer),
    Column("name", String),
    Column("artifact_location", String),
    Column("lifecycle_stage", String),
)
# Times are milliseconds since 1970; source and user are only written, by stores made up for tests.
runs = Table(
    "runs",
    METADATA,
    Column("run_uuid", String),
    Column("name", String),
    Column("source_type", String),
    Column("user_id", String),
    Column("status", String),
    Column("start_time", BigInteger),
    Column("end_time", BigInteger),
    Column("lifecycle_stage", String),
    Column("experiment_id", Integer),
    Column("artifact_uri", String),
)
tags = Table(
    "tags", METADATA, Column("key", String), Column("value", String), Column("run_uuid", String)
)
params = Table(
    "params", METADATA, Column("key", String), Column("value", String), Column("run_uuid", String)
)


def _metrics(name: str) -> Table:
    return Table(
        name,
        METADATA,
        Column("key", String),
        Column("value", Float),
        Column("timestamp", BigInteger),
        Column("run_uuid", String),
        Column("step", BigInteger),
        Column("is_nan", Boolean),
    )


metrics = _metrics("metrics")  # every point that was logged
latest_metrics = _metrics("latest_metrics")  # of each run and metric, the point of the last step

# Runs of one experiment that are not deleted. `experiment` is its id, as a number.
LISTED: ColumnElement[bool] = and_(
    runs.c.experiment_id == bindparam("experiment"), runs.c.lifecycle_stage == ACTIVE
)


def with_runs(table: Table) -> Join:
    """The rows of a table about runs, each beside the row of its run."""
    return table.join(runs, runs.c.run_uuid == table.c.run_uuid)


class without_index(FunctionElement[str]):  # noqa: N801  (reads as a function of SQL)
    """A column as it is, by which SQLite shall not look rows up: another index is better.

    MLflow's primary keys begin with the name of a metric, tag or parameter. By them SQLite would
    go through the rows of that name of all runs, which lie all over the file, however few runs
    are asked for: 4.6 s instead of 1.3 s for the summary metrics of 62,500 runs.
    """

    type = String()
    inherit_cache = True


@compiles(without_index)
def _as_it_is(element: without_index, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(without_index, "sqlite")
def _signed(element: without_index, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


def restored(value: float, is_nan: bool = False) -> float:
    """A metric's value as it was logged, from what MLflow stores."""
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else value
