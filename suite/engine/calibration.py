"""How many runs to train at once: measured on this machine, remembered for the next start.

Fusing runs pays where launches and small kernels dominate and costs where arithmetic does, so no
rule of thumb decides: a few real steps at several fleet sizes do.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from suite.basics.errors import first_line, remedy_for
from suite.basics.files import cache_folder, write_text
from suite.basics.locks import LONG_PATIENCE, locked
from suite.data.splits import ImageData
from suite.declarations.config import RunConfig
from suite.declarations.stored import MALFORMED
from suite.engine.device_memory import peak_memory, release_memory
from suite.engine.fleet import Fleet, Interrupted
from suite.engine.runs import FUSABLE

SIZES = (1, 2, 4, 8, 16, 25, 50)
WARM_UP, COUNTED = 2, 6  # steps at least
# Small steps go on for so long: six of a millisecond may all fall into another process's turn.
LONG_ENOUGH = 0.2  # seconds
ENGINE = 3  # counts changes of the engine after which old measurements say nothing
NOTEWORTHY_WAIT = 60.0  # seconds; that workers wait while one of them measures is as it should be
MEMORY_SHARE = 0.6  # of the machine's or the GPU's memory
# Larger sizes are tried until two in a row stay below this part of the best speed: one may have met
# the machine's other work.
WORTH_A_TRY = 0.8


@dataclass(frozen=True)
class Speed:
    """What one fleet size reached: runs at once, images per second over all of them.

    0 images per second stand for a fleet that does not fit in memory.
    """

    runs: int
    images_per_second: float

    def __str__(self) -> str:
        reached = f"{self.images_per_second:,.0f}" if self.images_per_second else "out of memory"
        return f"{self.runs}: {reached}"


@dataclass(frozen=True)
class Calibration:
    """The measurement of one kind of fleet."""

    speeds: tuple[Speed, ...]

    @property
    def best(self) -> Speed:
        """The fastest size."""
        return max(self.speeds, key=lambda speed: speed.images_per_second)

    def __str__(self) -> str:
        tried = ", ".join(str(speed) for speed in self.speeds)
        return f"{self.best.runs} runs at once (images/s by fleet size: {tried})"


class Calibrator:
    """Finds fleet sizes, and keeps what it found in the user's cache folder.

    Parameters
    ----------
    data, device
        What the fleets train on, and where.
    workers
        Processes that share the device.
    notify
        Called with the result of each measurement.
    interrupted
        Whether to stop; asked before every step, and while another process measures.
    """

    def __init__(
        self,
        data: ImageData,
        device: torch.device,
        workers: int,
        notify: Callable[[str], None],
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.data, self.device, self.workers, self.notify = data, device, workers, notify
        self.interrupted = interrupted
        self.memory = peak_memory(device)
        self._told: set[str] = set()
        self._file = cache_file()
        self._measured: dict[str, Calibration] = {}  # where nothing can be kept
        self._forgetful = False

    def calibrate(self, config: RunConfig, most: int) -> Calibration:
        """The speeds of fleets of runs like `config`.

        Parameters
        ----------
        config
            One of the runs.
        most
            Runs there are; larger fleets are not tried.

        Raises
        ------
        Interrupted
            If asked to stop; what was measured so far is not kept.
        """
        key = self._key(config)
        # One worker measures, the others wait and read: two at once would disturb each other.
        with self._exclusively():
            known = self._known()
            if key in known and _covers(known[key], most):
                self._tell(config, known[key])
                return known[key]
            found = self._measure(config, most)
            self._keep(known | {key: found})
        self._tell(config, found)
        return found

    def _tell(self, config: RunConfig, found: Calibration) -> None:
        self._say(f"{config.recipe_name}: {found}")

    def _say(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self.notify(line)

    def too_large(self, config: RunConfig, runs: int) -> None:
        """Remember that a fleet of so many runs like `config` does not fit in memory."""
        key = self._key(config)
        with self._exclusively():
            known = self._known()
            fitting = [s for s in known.get(key, Calibration(())).speeds if s.runs < runs]
            if fitting:  # else the next start measures
                self._keep(known | {key: Calibration((*fitting, Speed(runs, 0.0)))})

    def _keep(self, known: Mapping[str, Calibration]) -> None:
        content = {k: [asdict(speed) for speed in c.speeds] for k, c in known.items()}
        try:
            write_text(self._file, json.dumps(content, indent=1))
        except OSError as error:
            self._measured |= known
            self._say_forgotten(error)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Keep others of this machine from measuring; from nothing where no file can be made."""

        def look() -> None:
            if self.interrupted():
                raise Interrupted

        with ExitStack() as stack:
            try:
                stack.enter_context(
                    locked(
                        Path(f"{self._file}.lock"),
                        "measures the speed of fleets",
                        seconds=LONG_PATIENCE,
                        line_after=NOTEWORTHY_WAIT,
                        between_looks=look,
                        say=self._say,
                    )
                )
            except TimeoutError:
                raise
            except OSError as error:
                self._say_forgotten(error)
            yield

    def _say_forgotten(self, error: OSError) -> None:
        if self._forgetful:  # the lock and the file may say it in different words
            return
        self._forgetful = True
        self._say(
            f"fleet sizes are measured, but cannot be kept for the next start in "
            f"{self._file.parent} ({error.strerror or first_line(error)}); "
            + remedy_for(error, "set SUITE_CACHE_DIR to a folder that can be written")
        )

    def _known(self) -> dict[str, Calibration]:
        return _read(self._file) | self._measured

    def known(self, config: RunConfig) -> Calibration | None:
        """What an earlier start measured for runs like `config`, if one did."""
        return self._known().get(self._key(config))

    def _measure(self, config: RunConfig, most: int) -> Calibration:
        if self.memory.caveat:
            self._say(self.memory.caveat)
        speeds: list[Speed] = []
        before = used = 0
        for runs in (size for size in SIZES if size <= max(1, most)):
            # A fleet's memory grows in proportion to its runs.
            if speeds and not self._fits(before, used * runs / speeds[-1].runs):
                break
            before = self.memory.reset()
            try:
                speeds.append(Speed(runs, self._speed(config, runs)))
            except torch.OutOfMemoryError as error:
                release_memory(error)
                # One run alone has to be tried all the same: training says then what is wrong.
                return Calibration((*speeds, Speed(runs, 0.0)))
            used = self.memory.peak() - before
            best = max(speed.images_per_second for speed in speeds)
            last = speeds[-2:]
            if len(last) == 2 and all(s.images_per_second < WORTH_A_TRY * best for s in last):
                break
        return Calibration(tuple(speeds))

    def _speed(self, config: RunConfig, runs: int) -> float:
        configs = [config.with_(seed=config.seed + index) for index in range(runs)]
        fleet = Fleet(
            configs, self.data, self.device, interrupted=self.interrupted, notify=self.notify
        )
        seconds = fleet.measure(WARM_UP + COUNTED, LONG_ENOUGH)[WARM_UP:]
        # The fastest step is the one that other processes disturbed least.
        return runs * config.batch_size / min(seconds)

    def _fits(self, before: int, fleet: float) -> bool:
        """Whether a fleet's memory, beside what is taken without it, stays within the share."""
        return before + fleet < MEMORY_SHARE * self.memory.total() / self.workers

    def _key(self, config: RunConfig) -> str:
        device = self.device.type
        if device == "cuda":
            device = torch.cuda.get_device_name(self.device)
        shape = (self.data.channels, self.data.height, self.data.width, self.data.num_classes)
        about = {
            **{n: v for n, v in config.identity().items() if n not in (*FUSABLE, "epochs")},
            "l2": bool(config.kernel_l2),
            "shape": shape,
            "device": device,
            "host": platform.node(),
            "threads": torch.get_num_threads(),
            "workers": self.workers,
            "torch": torch.__version__,
            "engine": ENGINE,
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def cache_file() -> Path:
    """Where measurements are kept."""
    return cache_folder() / "fleet-sizes.json"


def _read(file: Path) -> dict[str, Calibration]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {
            key: Calibration(tuple(_speed_read(speed) for speed in speeds))
            for key, speeds in content.items()
            if speeds
        }
    except (OSError, *MALFORMED):
        return {}  # not there yet; or unusable, and it is only a cache: measured again


def _speed_read(content: Mapping[str, Any]) -> Speed:
    speed = Speed(**content)
    if type(speed.runs) is not int or type(speed.images_per_second) not in (int, float):
        raise TypeError(f"speed: must be of numbers, got {speed!r}")
    return speed


def _covers(known: Calibration, most: int) -> bool:
    """Whether the sizes tried answer the question for `most` runs."""
    tried = [speed.runs for speed in known.speeds]
    wanted = [size for size in SIZES if size <= most]
    stopped_early = known.best.runs < tried[-1]
    return stopped_early or not wanted or tried[-1] >= wanted[-1]
