"""Whether the ways that `benchmarks.gpu` compares train as stock modules in float64 do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.gpu_steps import WAYS, Unavailable, Way
from benchmarks.gpu_task import Images, Run
from suite.engine.evaluation import set_precision

# Largest distance from float64, as a part of the distance that the parameters went. That rules and
# gradients are the right ones shows in fp64. In fp32 some maxima of poolings change hands, which
# Adam's first steps enlarge; what is allowed there still tells a wrong rate or moment.
TOLERANCES = {"fp64": 1e-8, "fp32": 0.2, "bf16": 0.6}
SLACK, ALWAYS_ALLOWED = 3.0, 0.15  # times stock modules' own distance; whatever that is
CHECK_BATCHES = (16, 8, 16, 8)  # with the tail that every epoch has


def check(
    ways: Sequence[str],
    optimizers: Sequence[str],
    precisions: Sequence[str],
    width: int,
    data: Images,
) -> bool:
    """Hold every way to stock modules in float64; print the distances, say whether all are near.

    The distance is ‖θ − θ₆₄‖ after some steps, as a part of ‖θ₆₄ − θ₀‖, the largest of three runs.
    A way may be `SLACK` times as far away as stock modules are in the same precision.
    """
    print("distance from stock modules in float64, as a part of the way gone")
    print(f"{'way':<14}{'optimizer':<11}{'precision':<11}{'distance':>10}{'allowed':>10}")
    fine = True
    for optimizer in dict.fromkeys(optimizers):
        runs = [
            Run("fp64", optimizer, width, seed=seed, sigma_w=s)
            for seed, s in enumerate((1.0, 0.7, 1.4))
        ]
        reference = WAYS["plain"](runs, data)
        start = _flat(reference)
        _train(reference)
        end = _flat(reference)
        for precision in dict.fromkeys(precisions):
            given = [replace(run, precision=precision) for run in runs]
            allowed = TOLERANCES.get(precision, TOLERANCES["bf16"])
            for name in dict.fromkeys(["plain", *ways]):
                label = f"{name:<14}{optimizer:<11}{precision:<11}"
                try:
                    distance = _distance(name, given, data, start, end)
                except Unavailable as reason:
                    print(f"{label}skipped: {reason}")
                    continue
                except Exception as error:  # whatever it is, the other ways are worth checking
                    print(f"{label}{failed(name, error)}")
                    fine &= name.startswith("compile")
                    continue
                near = distance <= allowed
                fine &= near
                print(f"{label}{distance:>10.1e}{allowed:>10.1e}{'' if near else '  TOO FAR'}")
                if name == "plain" and precision != "fp64":
                    allowed = max(ALWAYS_ALLOWED, min(allowed, SLACK * distance))
    return fine


def _distance(
    name: str, runs: Sequence[Run], data: Images, start: Sequence[Tensor], end: Sequence[Tensor]
) -> float:
    set_precision(runs[0])  # type: ignore[arg-type]
    way = WAYS[name](runs, data)
    _train(way)
    triples = zip(_flat(way), end, start, strict=True)
    return max(float((ours - e).norm() / (e - s).norm()) for ours, e, s in triples)


def _train(way: Way) -> None:
    stream = torch.Generator().manual_seed(1)
    for step, batch_size in enumerate(CHECK_BATCHES):
        index = torch.randint(64, (batch_size, 3), generator=stream)
        way.step(index.to(_device(way)), 1e-3 / (1 + step))


def _device(way: Way) -> torch.device:
    return next(iter(way.parameters()[0].values())).device


def _flat(way: Way) -> list[Tensor]:
    """Each run's parameters in one vector, but for biases in front of a normalization.

    Their gradient is nothing but rounding, which Adam scales up to full steps.
    """
    return [
        torch.cat(
            [
                value.double().flatten()
                for name, value in sorted(parameters.items())
                if name == "head.bias" or not name.endswith(".bias")
            ]
        )
        for parameters in way.parameters()
    ]


def failed(name: str, error: Exception) -> str:
    """One line on an error; a machine may well lack what torch.compile needs."""
    word = "skipped" if name.startswith("compile") else "failed"
    return f"{word}: {type(error).__name__}: {str(error).strip()}".split("\n", 1)[0][:120]
