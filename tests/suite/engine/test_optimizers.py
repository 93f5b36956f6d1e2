"""Update rules against their written-down equations, Keras's own values and torch.optim."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import timm.optim
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from torch import Tensor, nn

from suite.declarations.config import RunConfig, parse
from suite.declarations.schedule import learning_rates
from suite.engine.layout import Layout
from suite.engine.newton_schulz import is_hidden_matrix, newton_schulz
from suite.engine.optimizers import Optimizer, arranged, orthogonalised
from suite.models import build
from suite.models.specs import ParameterSpec

Array = NDArray[np.float64]
Arrays = Mapping[str, Array]

STEPS = 200
# One variable of each kind that a network has.
SPECS = (
    ParameterSpec("conv.kernel", (4, 2, 3, 3), "kernel", 18),
    ParameterSpec("norm.scale", (4,), "other", initial=1.0),
    ParameterSpec("dense.kernel", (5, 6), "kernel", 6, classifier=True),
    ParameterSpec("dense.bias", (5,), "bias"),
)
KERNELS = {"conv.kernel", "dense.kernel"}
RULES = ("sgd", "momentum", "nesterov", "adam", "adamw", "muon_keras", "muon", "lion")
ORTHOGONALISED = {"muon_keras": "dense.kernel", "muon": "conv.kernel"}


def run_of(optimizer: str, **changes: Any) -> RunConfig:
    """A run of 200 steps with the cosine schedule; 'nesterov' is a kind of momentum."""
    fixed = {"precision": "fp64", "epochs": STEPS, "batch_size": 8, "learning_rate": 1e-2}
    if optimizer == "nesterov":
        return parse(fixed | {"optimizer": "momentum", "momentum_kind": "nesterov"} | changes)
    return parse(fixed | {"optimizer": optimizer} | changes)


def start(seed: int = 1) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    return {spec.name: generator.normal(0.0, 0.5, spec.shape) for spec in SPECS}


def slope(name: str, value: Any, step: int) -> Any:
    """The loss's gradient, as in `make_keras_values.optimizers_case`."""
    phases = np.arange(value.size if isinstance(value, np.ndarray) else value.numel())
    wave = np.sin(0.1 * step + phases.reshape(tuple(value.shape)))
    return 0.5 * value + (wave if isinstance(value, np.ndarray) else torch.from_numpy(wave))


def trained(
    configs: Sequence[RunConfig],
    starts: Sequence[Arrays],
    steps: int = STEPS,
    *,
    replayable: bool = False,
    dtype: torch.dtype = torch.float64,
) -> list[list[dict[str, Array]]]:
    """The suite's parameters of each run after each step."""
    layout = Layout(arranged(configs[0].optimizer, SPECS), len(configs))
    tensors = [{name: torch.from_numpy(v) for name, v in values.items()} for values in starts]
    theta = layout.pack(tensors, torch.empty(0, dtype=dtype))
    optimizer = Optimizer(configs, layout, theta, replayable=replayable)
    rates = learning_rates(configs[0], configs[0].batch_size)
    paths: list[list[dict[str, Array]]] = [[] for _ in configs]
    for step in range(steps):
        gradient = torch.empty_like(theta)
        for name, view in layout.views(gradient).items():
            for run in range(len(configs)):
                view[run] = slope(name, layout.unpack(theta, run)[name], step)
        optimizer.step(list(layout.views(gradient).values()), float(rates[step]))
        for run, path in enumerate(paths):
            path.append({n: v.numpy().copy() for n, v in layout.unpack(theta, run).items()})
    return paths


def polar_like(matrix: Array, guard: Callable[[float], float]) -> Array:
    """Five Newton–Schulz iterations, applied to the singular values one by one."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = s / guard(float(np.linalg.norm(matrix)))
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    result: Array = (u * s) @ v
    return result


def updated(
    config: RunConfig, name: str, w: Any, g: Any, memory: dict[str, Any], step: int, rate: float
) -> Any:
    """One step of one variable by the rule's equations; `step` counts from 1."""
    keras = config.semantics == "keras"
    if name in KERNELS:
        g = g + (2 if keras else 1) * config.kernel_l2 * w
    if config.optimizer == "sgd":
        return w - rate * g
    if config.optimizer == "momentum":
        nesterov = config.momentum_kind == "nesterov"
        if keras:
            memory["v"] = 0.9 * memory.get("v", 0) - rate * g
            return w + (0.9 * memory["v"] - rate * g if nesterov else memory["v"])
        memory["v"] = 0.9 * memory.get("v", 0) + g
        return w - rate * (g + 0.9 * memory["v"] if nesterov else memory["v"])
    if config.optimizer != "adam":
        w = w - rate * config.weight_decay * w
    if config.optimizer == "lion":
        before = memory.get("m", 0)
        memory["m"] = 0.99 * before + 0.01 * g
        return w - rate * np.sign(0.9 * before + 0.1 * g)
    if ORTHOGONALISED.get(config.optimizer) == name:
        memory["m"] = 0.95 * memory.get("m", 0) + g
        ahead = (g + 0.95 * memory["m"]).reshape(len(g), -1)
        rows, columns = ahead.shape
        if keras:
            factor, direction = 0.2 * max(rows, columns) ** 0.5, polar_like(ahead, _plus_tiny)
        else:
            factor, direction = max(1, rows / columns) ** 0.5, polar_like(ahead, float)
        return w - rate * factor * direction.reshape(w.shape)
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g**2
    if keras:  # ε beside the raw root
        alpha = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        return w - alpha * memory["m"] / (np.sqrt(memory["v"]) + 1e-7)
    first, second = memory["m"] / (1 - 0.9**step), memory["v"] / (1 - 0.999**step)
    return w - rate * first / (np.sqrt(second) + 1e-8)


def _plus_tiny(norm: float) -> float:
    return norm + 1e-7


def by_equations(config: RunConfig, initial: Arrays, steps: int = STEPS) -> list[dict[str, Array]]:
    values = dict(initial)
    memory: dict[str, dict[str, Any]] = {name: {} for name in initial}
    path = []
    for step in range(steps):
        cosine = 0.5 * (1 + np.cos(np.pi * step / STEPS))
        rate = config.learning_rate * (0.01 + 0.99 * cosine)
        for name, w in values.items():
            g = slope(name, w, step)
            values[name] = updated(config, name, w, g, memory[name], step + 1, rate)
        path.append(dict(values))
    return path


def assert_same(ours: Arrays, theirs: Arrays, tolerance: float = 1e-12) -> None:
    assert set(ours) == set(theirs)
    for name in theirs:
        assert_allclose(ours[name], theirs[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("kernel_l2", [0.0, 0.03])
@pytest.mark.parametrize("semantics", ["keras", "torch"])
@pytest.mark.parametrize("rule", RULES)
def test_rule_follows_its_equations(rule: str, semantics: str, kernel_l2: float) -> None:
    config = run_of(rule, semantics=semantics, kernel_l2=kernel_l2)
    (path,) = trained([config], [start()])
    expected = by_equations(config, start())
    for step in (0, 1, 9, STEPS - 1):
        assert_same(path[step], expected[step])


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"muon"}))  # Keras has no such Muon
def test_rule_gives_the_values_that_keras_computed(rule: str, keras_values: Arrays) -> None:
    case = "optimizers/muon_equal_decay" if rule == "muon_keras" else f"optimizers/{rule}"
    names = [spec.name for spec in SPECS]
    initial = {name: keras_values[f"optimizers/init/{name}"] for name in names}
    (path,) = trained([run_of(rule)], [initial])
    for step in (1, 10, 200):
        expected = {name: keras_values[f"{case}/step_{step}/{name}"] for name in names}
        assert_same(path[step - 1], expected)


def test_schedule_is_the_one_that_keras_computed(keras_values: Arrays) -> None:
    ours = learning_rates(run_of("sgd"), 8)
    assert_allclose(ours, keras_values["optimizers/learning_rate"], rtol=0, atol=1e-15)


def test_warmed_up_schedule_is_keras_with_its_step_of_rate_0_left_out(keras_values: Arrays) -> None:
    ours = learning_rates(run_of("sgd", warmup_epochs=50), 8)
    theirs = keras_values["optimizers/warmed_up_rate"]
    assert theirs[0] == 0
    assert_allclose(ours[:49], theirs[1:50], rtol=0, atol=1e-15)
    assert ours[49] == 1e-2
    assert_allclose(ours[50:], theirs[50:], rtol=0, atol=1e-15)


def by_torch(
    optimizers: Callable[[dict[str, nn.Parameter]], Sequence[torch.optim.Optimizer]],
    config: RunConfig,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> list[dict[str, Array]]:
    shapes = shapes or {}
    parameters = {
        name: nn.Parameter(torch.from_numpy(value.reshape(shapes.get(name, value.shape))).clone())
        for name, value in start().items()
    }
    made = optimizers(parameters)
    path = []
    for step, rate in enumerate(learning_rates(config, config.batch_size)):
        for name, parameter in parameters.items():
            parameter.grad = slope(name, parameter.detach(), step)
        for optimizer in made:
            for group in optimizer.param_groups:
                group["lr"] = float(rate)
            optimizer.step()
        path.append(
            {s.name: parameters[s.name].detach().numpy().reshape(s.shape).copy() for s in SPECS}
        )
    return path


def stock(
    rule: str, kernel_l2: float
) -> Callable[[dict[str, nn.Parameter]], Sequence[torch.optim.Optimizer]]:
    def make(parameters: dict[str, nn.Parameter]) -> Sequence[torch.optim.Optimizer]:
        coupled = [
            {
                "params": [
                    value for name, value in parameters.items() if (name in KERNELS) == kernel
                ],
                "weight_decay": kernel_l2 if kernel else 0.0,
            }
            for kernel in (True, False)
        ]
        if rule == "adam":
            return [torch.optim.Adam(coupled, foreach=False)]
        if rule == "adamw":
            return [torch.optim.AdamW(parameters.values(), weight_decay=1e-4, foreach=False)]
        if rule == "lion":
            return [timm.optim.Lion(parameters.values(), weight_decay=1e-4, foreach=False)]
        momentum = {"sgd": 0.0, "momentum": 0.9, "nesterov": 0.9}[rule]
        nesterov = rule == "nesterov"
        return [torch.optim.SGD(coupled, lr=1e-2, momentum=momentum, nesterov=nesterov)]

    return make


@pytest.mark.parametrize(
    ("rule", "kernel_l2"),
    [
        *itertools.product(("sgd", "momentum", "nesterov", "adam"), (0.0, 0.03)),
        ("adamw", 0.0),
        ("lion", 0.0),  # timm's, as torch.optim has none
    ],
)
def test_torch_semantics_are_those_of_torch_optim(rule: str, kernel_l2: float) -> None:
    config = run_of(rule, semantics="torch", kernel_l2=kernel_l2)
    (path,) = trained([config], [start()])
    expected = by_torch(stock(rule, kernel_l2), config)
    for step in (0, 9, STEPS - 1):
        assert_same(path[step], expected[step])


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_muon_in_torch_semantics_is_torch_optim_muon_but_for_its_rounding_to_bfloat16() -> None:
    def make(parameters: dict[str, nn.Parameter]) -> Sequence[torch.optim.Optimizer]:
        rest = [value for name, value in parameters.items() if name != "conv.kernel"]
        return [
            torch.optim.Muon([parameters["conv.kernel"]], weight_decay=1e-4),
            torch.optim.AdamW(rest, weight_decay=1e-4, foreach=False),
        ]

    config = run_of("muon", semantics="torch")
    (path,) = trained([config], [start()])
    expected = by_torch(make, config, {"conv.kernel": (4, 18)})
    before = start()
    for step in (0, 9, STEPS - 1):
        ours, theirs = path[step].pop("conv.kernel"), expected[step].pop("conv.kernel")
        moved = np.linalg.norm(theirs - before["conv.kernel"])
        # bfloat16 keeps eight bits, and five iterations multiply what it loses.
        assert np.linalg.norm(ours - theirs) < 0.02 * moved
        assert_same(path[step], expected[step])


def orthogonalised_by_timm(shapes: Sequence[tuple[int, ...]]) -> list[bool]:
    """Which of these parameters timm's Muon does not leave to its AdamW, by what it then holds."""
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = timm.optim.Muon(parameters)
    optimizer.step()
    return ["momentum_buffer" in optimizer.state[parameter] for parameter in parameters]


@pytest.mark.parametrize(
    ("model", "channels", "left_to_adamw"),
    [
        ("resnet9", 1, {"conv1.kernel"}),
        ("resnet9", 3, set()),
        ("timm/test_vit", 1, {"patch_embed.proj.weight"}),
        ("timm/test_vit", 3, {"patch_embed.proj.weight"}),  # of patches of one pixel: 64 × 3
        ("timm/mobilenetv3_small_050", 3, None),
        ("timm/test_convnext", 3, None),
    ],
)
def test_muon_leaves_to_adamw_the_kernels_that_timm_leaves_and_the_classifiers(
    model: str, channels: int, left_to_adamw: set[str] | None
) -> None:
    network = build(parse({"model": model}), channels, 8, 8, 10)
    kernels = [spec for spec in network.parameters if spec.kind == "kernel"]
    classifiers = {spec.name for spec in kernels if spec.classifier}
    left = {spec.name for spec in kernels if not orthogonalised("muon", spec)}
    by_timm = orthogonalised_by_timm([spec.shape for spec in kernels])
    theirs = {spec.name for spec, taken in zip(kernels, by_timm, strict=True) if not taken}
    assert left == theirs | classifiers
    assert len(classifiers) == 1
    if left_to_adamw is None:  # every depthwise convolution, and more
        depthwise = {s.name for s in kernels if len(s.shape) == 4 and s.shape[1] == 1}
        assert depthwise
        assert depthwise < left
    else:
        assert left == left_to_adamw | classifiers


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(1, 9), st.integers(1, 1200)),
            st.tuples(st.integers(1, 600), st.integers(1, 9)),
            st.tuples(*[st.integers(1, 40)] * 2, *[st.integers(1, 3)] * 2),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_hidden_matrix_is_what_timms_muon_orthogonalises(shapes: list[tuple[int, ...]]) -> None:
    assert [is_hidden_matrix(shape) for shape in shapes] == orthogonalised_by_timm(shapes)


@pytest.mark.parametrize("keras", [True, False])
@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (64, 27), (10, 512)])
def test_newton_schulz_acts_on_singular_values(shape: tuple[int, int], keras: bool) -> None:
    matrices = np.random.default_rng(3).normal(size=(3, *shape)) * [[[1e-8]], [[1.0]], [[1e4]]]
    ours = newton_schulz(torch.from_numpy(matrices), keras=keras).numpy()
    guard = _plus_tiny if keras else lambda norm: max(norm, 1e-7)
    for matrix, result in zip(matrices, ours, strict=True):
        assert_allclose(result, polar_like(matrix, guard), rtol=0, atol=1e-12)


def test_newton_schulz_of_a_zero_gradient_is_zero() -> None:
    for keras in (True, False):
        zeros = torch.zeros(2, 3, 4, dtype=torch.float64)
        assert torch.equal(newton_schulz(zeros, keras=keras), zeros)


rates = st.floats(1e-4, 1e-1)
strengths = st.one_of(st.just(0.0), st.floats(1e-4, 0.3))


@settings(max_examples=60, deadline=None)
@given(
    rule=st.sampled_from(RULES),
    semantics=st.sampled_from(["keras", "torch"]),
    runs=st.lists(st.tuples(rates, strengths), min_size=2, max_size=4),
)
def test_runs_with_their_own_rate_and_l2_do_in_one_optimizer_what_they_do_alone(
    rule: str, semantics: str, runs: list[tuple[float, float]]
) -> None:
    configs = [
        run_of(rule, semantics=semantics, learning_rate=rate, kernel_l2=strength)
        for rate, strength in runs
    ]
    starts = [start(seed) for seed in range(len(runs))]
    together = trained(configs, starts, steps=5)
    for run, config in enumerate(configs):
        (alone,) = trained([config], [starts[run]], steps=5)
        assert_same(together[run][-1], alone[-1])


@pytest.mark.parametrize("strengths", [(0.0, 0.0), (0.03, 0.03), (0.0, 0.03)], ids=str)
@pytest.mark.parametrize("rates", [(1e-2, 1e-2), (1e-2, 3e-3)], ids=str)
@pytest.mark.parametrize("semantics", ["keras", "torch"])
@pytest.mark.parametrize("rule", RULES)
def test_rules_with_their_factors_in_tensors_are_the_same(
    rule: str, semantics: str, rates: tuple[float, ...], strengths: tuple[float, ...]
) -> None:
    decay = {"weight_decay": 0.1} if rule in ("adamw", "muon", "muon_keras", "lion") else {}
    configs = [
        run_of(rule, semantics=semantics, learning_rate=rate, kernel_l2=strength, **decay)
        for rate, strength in zip(rates, strengths, strict=True)
    ]
    starts = [start(1), start(2)]
    expected = trained(configs, starts, steps=30)
    ours = trained(configs, starts, steps=30, replayable=True)
    # Fused kernels take such factors in single precision only.
    rough = trained(configs, starts, steps=30, replayable=True, dtype=torch.float32)
    for run in (0, 1):
        for step in (0, 1, 29):
            assert_same(ours[run][step], expected[run][step])
            assert_same(rough[run][step], expected[run][step], tolerance=2e-6)


def test_factors_in_tensors_are_those_the_rule_reads() -> None:
    layout = Layout(arranged("sgd", SPECS), 1)
    theta = torch.zeros(layout.size)
    for rule, semantics, expected in [
        ("sgd", "keras", {"rate"}),
        ("adam", "keras", {"adam"}),
        ("adamw", "torch", {"rate", "count", "decay"}),
        ("muon", "keras", {"rate", "adam", "decay"}),
        ("lion", "keras", {"rate", "decay"}),
    ]:
        place = Layout(arranged(rule, SPECS), 1)
        config = run_of(rule, semantics=semantics)
        factors = Optimizer([config], place, theta, replayable=True).factors
        assert set(factors) == expected


def test_moments_are_laid_out_as_their_layouts_say() -> None:
    configs = [run_of("muon"), run_of("muon", kernel_l2=0.1)]
    layout = Layout(arranged("muon", SPECS), 2)
    theta = torch.zeros(layout.size, dtype=torch.float64)
    optimizer = Optimizer(configs, layout, theta)
    gradient = layout.pack(
        [{n: torch.from_numpy(v) for n, v in start(seed).items()} for seed in (1, 2)], theta
    )
    gradients: list[dict[str, Tensor]] = [layout.unpack(gradient.clone(), r) for r in (0, 1)]
    optimizer.step(list(layout.views(gradient).values()), 1e-2)
    for run, own in enumerate(gradients):
        first = optimizer.moment_layouts["first"].unpack(optimizer.moments["first"], run)
        second = optimizer.moment_layouts["second"].unpack(optimizer.moments["second"], run)
        assert set(second) == {spec.name for spec in SPECS} - {"conv.kernel"}
        for name, moment in second.items():
            torch.testing.assert_close(moment, 0.001 * own[name] ** 2, rtol=1e-12, atol=0)
            torch.testing.assert_close(first[name], 0.1 * own[name], rtol=1e-12, atol=0)
        torch.testing.assert_close(first["conv.kernel"], own["conv.kernel"], rtol=0, atol=0)
