"""A PostgreSQL store, read by COPY: rows of fixed size that NumPy understands as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from analysis.store.backend import StoreError
from analysis.store.history import Slots
from analysis.store.sql import SqlListing
from suite.basics.addresses import without_password
from suite.basics.mlflow_tables import metrics
from suite.declarations.metrics import EPOCH_METRIC_NAMES

# COPY's binary form: 11 bytes signature, flags, length of an extension; then rows of (number of
# fields, then length and big-endian bytes of each); then -1 as number of fields.
SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER_BYTES, TRAILER_BYTES = 19, 2
ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("slot_bytes", ">i4"),
        ("slot", ">i8"),
        ("time_bytes", ">i4"),
        ("time", ">i8"),
        ("value_bytes", ">i4"),
        ("value", ">f8"),
    ]
)
QUERY = f"""
    COPY (
        SELECT wanted.first + {metrics.c.step} - 1, {metrics.c.timestamp},
               CASE WHEN {metrics.c.is_nan} THEN 'NaN'::float8 ELSE {metrics.c.value} END
        FROM {metrics.name}
        JOIN unnest(%s::text[], %s::bigint[], %s::bigint[]) AS wanted (run_id, first, length)
          ON {metrics.c.run_uuid} = wanted.run_id
        WHERE {metrics.c.key} = %s AND {metrics.c.step} BETWEEN 1 AND wanted.length
    ) TO STDOUT (FORMAT BINARY)
"""


class PostgresqlStore(SqlListing):
    """See :class:`analysis.store.backend.Backend`."""

    def __init__(self, uri: str) -> None:
        url = make_url(uri).set(drivername="postgresql+psycopg")
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        address = without_password(plain)
        try:
            engine = create_engine(url)
        except ImportError as error:
            raise StoreError(
                f"tracking_uri: PostgreSQL needs a driver, got {address} ({error}); "
                "pip install 'psycopg[binary]'"
            ) from None
        super().__init__(engine, address)
        self.errors = (SQLAlchemyError, engine.dialect.loaded_dbapi.Error)
        self.connection.rollback()
        # One state of the store for the list of runs and for their histories.
        self.connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))

    def read(self, slots: Slots) -> None:
        """See :class:`analysis.store.backend.Backend`."""
        wanted = [slots.run_ids, slots.first.tolist(), slots.lengths.tolist()]
        for key in EPOCH_METRIC_NAMES:
            rows = self._copy([*wanted, key])
            place, time = rows["slot"].astype(np.int64), rows["time"].astype(np.int64)
            value = rows["value"].astype(np.float64)
            if len(np.unique(place)) < len(place):  # an epoch logged twice: the later stays
                order = np.lexsort((value, time))
                place, value = place[order], value[order]
            slots.put(key, place, value)

    def _copy(self, parameters: list[Any]) -> NDArray[Any]:
        raw: Any = self.connection.connection.driver_connection
        with raw.cursor() as cursor, cursor.copy(QUERY, parameters) as copy:
            data = b"".join(copy)
        count, rest = divmod(len(data) - HEADER_BYTES - TRAILER_BYTES, ROW.itemsize)
        rows = np.frombuffer(data, ROW, count, HEADER_BYTES)
        if rest or not data.startswith(SIGNATURE) or (rows["fields"] != 3).any():
            raise StoreError(
                f"tracking_uri: PostgreSQL answers COPY in an unknown form, got {self.address}; "
                "read the store through an MLflow server"
            )
        return rows
