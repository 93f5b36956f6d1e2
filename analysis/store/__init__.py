"""MLflow in, tidy frames out: one row per run, and one per run and epoch."""

from analysis.store.frames import Problems, Store, StoreError, load, open_store

__all__ = ["Problems", "Store", "StoreError", "load", "open_store"]
