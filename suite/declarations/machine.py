"""Where and how to train: what is no part of a run's identity.

A run's data, initial weights, batches and update rule do not depend on these settings. Its numbers
do, by rounding alone: another device, or another number of threads, adds up in another order. In
the runs that were compared this stays below 1e-9 in fp64; fp32 training amplifies it, most of all
under Adam (docs/LOG.md, "Another number of threads"). In the same fleet, on one device with as many
threads, they are the same bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from suite.basics.addresses import check_state_dir
from suite.basics.files import data_folder
from suite.basics.settings import Setting, Settings


class Machine(Settings):
    """The machine's side of a command."""

    device: Annotated[
        str,
        Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$"),
        Setting("auto (a GPU if there is one), cpu, cuda, cuda:N or mps"),
    ] = "auto"
    threads: Annotated[
        int,
        Field(ge=0),
        Setting(
            "CPU threads of training, on whose number rounding depends; 0 takes all cores, or one "
            "for a small network alone"
        ),
    ] = 0
    data_dir: Annotated[
        str,
        Setting(
            "folder of the data set, or where cifar10 is kept; empty is $SUITE_DATA_DIR or data"
        ),
    ] = ""
    state_dir: Annotated[
        str,
        Setting(
            "folder for the checkpoints from which interrupted runs go on, or an object store's "
            "address (s3://bucket/state, gs://…, az://…); empty is state, beside a SQLite store"
        ),
    ] = ""
    checkpoint: Annotated[
        Literal["on", "off"],
        Setting("off: an interrupted run starts again from its first epoch"),
    ] = "on"

    @field_validator("state_dir")
    @classmethod
    def _state_dir(cls, given: str) -> str:
        check_state_dir(given)
        return given

    def source(self, dataset: str) -> str:
        """Where the data set comes from, for MLflow."""
        if dataset == "digits":
            return "sklearn.datasets.load_digits"
        return str(self.data_path.resolve())

    @property
    def data_path(self) -> Path:
        """The folder in which the data sets lie."""
        return data_folder(self.data_dir)
